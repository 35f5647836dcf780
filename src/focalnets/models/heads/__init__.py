"""Heads that answer for places in an image, and the table of networks that have one."""
