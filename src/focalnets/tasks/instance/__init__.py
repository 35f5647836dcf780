"""Finding objects and the pixels of each."""
