"""The networks; each readable in one file."""
