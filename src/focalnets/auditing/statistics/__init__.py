"""Intervals and tests of an audit; each file names its source."""
