"""The task of naming the class of each pixel."""
