"""Heads that stand on a pyramid of maps; they see only maps and their channels."""
