"""Cells of the tables, and the columns that several of them have."""

from __future__ import annotations

from focalnets.intervals import Estimate
from focalnets.report.parts import Column, Emphasis, WithInterval

__all__ = ["ADJUSTED_P", "IMAGES", "emphasis", "interval", "share_of"]

IMAGES = Column("images", "number", ",")
ADJUSTED_P = Column("adjusted p", "number", ".2g")


def interval(estimate: Estimate) -> WithInterval:
    """Write a figure with its interval."""
    return WithInterval(estimate.value, estimate.low, estimate.high)


def emphasis(found: bool) -> Emphasis:
    """Let rows stand out that were found."""
    return "strong" if found else ""


def share_of(named: tuple[str, float]) -> str:
    """Write a name with its share."""
    return f"{named[0]} ({named[1]:.0%})"
