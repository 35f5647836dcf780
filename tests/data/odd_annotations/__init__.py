"""Odd, broken and hostile annotations of each format: files of a small place, and what must be said of them."""
