"""Generated scenes: drawn pictures whose objects are known to the pixel."""
