"""Images of any size: read by regions, computed by bands of rows or by tiles, written piece by piece."""
