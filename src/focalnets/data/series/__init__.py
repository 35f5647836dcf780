"""Series of numbers: found, read and put into one form."""
