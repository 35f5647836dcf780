"""How large a gap must be for an audit to see it."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import ndtri

__all__ = ["POWER", "detectable_gap"]

POWER = 0.8
"""Chance with which a gap that is called detectable is found."""


def detectable_gap(trials: float, fraction: float, other_trials: float, *, alpha: float, least: float) -> float | None:
    """Compute by how much a group must fall behind to be found with a chance of 80 %.

    Args:
        trials: Images of the group.
        fraction: What is expected of it, from 0 to 1.
        other_trials: Images of the rest.
        alpha: Level of the one-sided test, divided by the number of tests.
        least: Gap below which nothing is called found.

    Returns:
        The gap; None if even a group that is always wrong would not be found.

    Source: normal approximation of two fractions, as in Fleiss, Statistical methods for rates and proportions, 1981.
    """
    everyone = trials + other_trials
    critical, reserve = -float(ndtri(alpha)), float(ndtri(POWER))

    def shortfall(gap: float) -> float:
        behind = fraction - gap
        pooled = (trials * behind + other_trials * fraction) / everyone
        by_chance = math.sqrt(pooled * (1 - pooled) * (1 / trials + 1 / other_trials))
        spread = math.sqrt(behind * (1 - behind) / trials + fraction * (1 - fraction) / other_trials)
        needed = max(least, critical * by_chance)
        return gap - needed - reserve * spread

    if fraction <= 0 or shortfall(fraction) < 0:
        return None
    return float(brentq(shortfall, 0.0, fraction))
