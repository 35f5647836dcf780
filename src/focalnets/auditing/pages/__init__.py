"""Sections of an audit's page."""
