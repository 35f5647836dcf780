"""Naming one small thing in a picture: the demonstration of classification."""
