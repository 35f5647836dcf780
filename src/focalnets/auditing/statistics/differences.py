"""How far two fractions are apart, with 95 % intervals: of different images, or of the same images twice."""

from __future__ import annotations

import math

import numpy as np

from focalnets.intervals import Estimate, wilson_interval

__all__ = ["difference", "paired_difference", "paired_shares", "points"]


def difference(successes: float, trials: float, other_successes: float, other_trials: float) -> Estimate:
    """Compute the difference of two independent fractions.

    Args:
        successes: Of the first; a weighted fraction counts as its effective number of trials.
        trials: Above 0.
        other_successes: Of the second, which is subtracted.
        other_trials: Above 0.

    Source: Newcombe, Interval estimation for the difference between independent proportions, 1998, method 10.
    """
    fraction, other = successes / trials, other_successes / other_trials
    low, high = wilson_interval(successes, trials)
    other_low, other_high = wilson_interval(other_successes, other_trials)
    value = fraction - other
    return Estimate(
        value,
        value - math.hypot(fraction - low, other_high - other),
        value + math.hypot(high - fraction, other - other_low),
    )


def paired_difference(both: int, first_only: int, second_only: int, neither: int) -> Estimate:
    """Compute the difference of two fractions of the same images.

    Args:
        both: Images that count in both.
        first_only: Images that count in the first alone.
        second_only: Images that count in the second alone, which is subtracted.
        neither: All others. There is at least one image.

    Source: Newcombe, Improved confidence intervals for the difference between binomial proportions based on paired
    data, 1998, method 10.
    """
    images = both + first_only + second_only + neither
    first, second = both + first_only, both + second_only
    low, high = wilson_interval(first, images)
    other_low, other_high = wilson_interval(second, images)
    margins = first * (images - first) * second * (images - second)
    agreement: float = both * neither - first_only * second_only
    if agreement > 0:
        agreement = max(agreement - images / 2, 0)
    correlation = agreement / math.sqrt(margins) if margins else 0.0
    value = (first_only - second_only) / images

    def distance(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))

    return Estimate(
        value,
        value - distance(first / images - low, other_high - second / images),
        value + distance(high - first / images, second / images - other_low),
    )


def paired_shares(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Compute the difference of how often two things hold for the same images, booleans (N,) each."""
    return paired_difference(
        int((first & second).sum()),
        int((first & ~second).sum()),
        int((~first & second).sum()),
        int((~first & ~second).sum()),
    )


def points(gap: Estimate) -> str:
    """Write a difference in points with its interval, as sentences have it."""
    return f"{100 * gap.value:+.1f} points, 95 % interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
