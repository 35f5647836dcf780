"""Classifying series of numbers."""
