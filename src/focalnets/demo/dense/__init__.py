"""Finding things and naming every pixel: the demonstrations of tasks that answer for places in an image."""
