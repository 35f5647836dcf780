"""Finding objects: a box, a class and a score for each."""
