"""Continuing texts: which token comes next."""
