"""Texts to learn from: found, read, turned into tokens and cut into passages."""
