"""How sure are figures measured on a sample: intervals of fractions, differences, means of seeds, F1; the bootstrap.

Axes: N images, M methods, T thresholds, R resamples, K classes. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

__all__ = [
    "MOST_SEEDS",
    "Estimate",
    "bootstrap",
    "difference",
    "estimates",
    "f1_scores",
    "mean_interval",
    "paired_difference",
    "paired_shares",
    "points",
    "student_interval",
    "wilson_interval",
]


def wilson_interval(successes: float, trials: float, z: float = 1.959964) -> tuple[float, float]:
    """Compute the interval of a fraction, also sensible near 0 and 1; ``z`` = 1.96 covers 95 %.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    assert 0 <= successes <= trials, "there cannot be more successes than trials"
    assert trials > 0, "a fraction needs at least one trial"
    fraction = successes / trials
    scale = 1 + z * z / trials
    centre = (fraction + z * z / (2 * trials)) / scale
    margin = z * math.sqrt(fraction * (1 - fraction) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, centre - margin), min(1.0, centre + margin)


# 97.5 % quantiles of Student's distribution for 1 to 9 degrees of freedom.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


MOST_SEEDS = len(_STUDENT) + 1


def mean_interval(scores: Mapping[int, float], images: int | None) -> tuple[float, float] | None:
    """Compute the 95 % interval of the mean of scores from 0 to 1.

    Over seeds by Student's distribution: what another seed would change. Of one seed by Wilson's formula: what other
    images would change.

    Args:
        scores: By seed.
        images: Of how many each is the fraction that is right; None if it is no such fraction, and one seed then has no
            interval.
    """
    values = list(scores.values())
    if len(values) == 1:
        if images is None:
            return None
        return wilson_interval(round(values[0] * images), images)
    interval = student_interval(values)
    assert interval is not None
    return max(0.0, interval[0]), min(1.0, interval[1])


def student_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Compute the 95 % interval of the mean of a few values of any size; None for a single one."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    margin = _STUDENT[len(values) - 2] * statistics.stdev(values) / math.sqrt(len(values))
    return mean - margin, mean + margin


_RESAMPLES_AT_ONCE = 100


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap(means_of: np.ndarray, best_of: np.ndarray, *, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the images anew, with putting back, and score each drawing as if it were the data.

    All methods are scored on the same drawings, so that differences between them can be taken one by one.

    Args:
        means_of: Scores whose mean over the images counts (N, ...).
        best_of: Scores (N, M, T) of which the best mean over the T thresholds counts; each drawing chooses its own, so
            that the interval tells also how uncertain that choice is.
        resamples: Number R of drawings.
        seed: Chooses other drawings.

    Returns:
        The means (R, ...) and the best means (R, M), float64.
    """
    images = len(means_of)
    flat, curves = means_of.reshape(images, -1), best_of.reshape(images, -1)
    means, best = [], []
    for counts in _draw_counts(images, resamples, seed):
        weights = counts / images
        means.append(weights @ flat)
        best.append((weights @ curves).reshape(-1, *best_of.shape[1:]).max(-1))
    return np.concatenate(means).reshape(resamples, *means_of.shape[1:]), np.concatenate(best)


def estimates(values: np.ndarray, drawn: np.ndarray) -> list[Estimate]:
    """Put figures (M,) beside the 2.5 and 97.5 % quantiles of what was drawn for them (R, M)."""
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return [Estimate(*map(float, row)) for row in zip(values, low, high, strict=True)]


def _draw_counts(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw how often each image is taken, (at most 100, N) at a time."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        yield random.multinomial(images, np.full(images, 1 / images), size=min(_RESAMPLES_AT_ONCE, resamples - start))


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


def f1_scores(counts: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> tuple[Estimate | None, ...]:
    """Compute F1 of each class and, last, its mean over the classes, with 95 % intervals.

    The inputs are drawn anew, with putting back; the intervals are the 2.5 and 97.5 % quantiles of what comes out.

    Args:
        counts: How often which class was taken for which (K, K), rows are the true classes; at least one.
        resamples: Number R of drawings.
        seed: Chooses other drawings.

    Returns:
        K + 1 estimates; None for a class that is neither true nor named.
    """
    classes, inputs = len(counts), int(counts.sum())
    rows, columns = np.nonzero(counts)
    filled = counts[rows, columns]
    drawn = np.random.default_rng(seed).multinomial(inputs, filled / inputs, size=resamples)
    scores = [_f1_of(cells, rows, columns, classes) for cells in (filled[None], drawn)]
    found: list[Estimate | None] = []
    for place in range(classes + 1):
        value, values = float(scores[0][0, place]), scores[1][:, place]
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, (2.5, 97.5)) if len(values) else (math.nan, math.nan)
        found.append(None if math.isnan(value) else Estimate(value, float(low), float(high)))
    return tuple(found)


def _f1_of(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray, classes: int) -> np.ndarray:
    """Compute F1 of each class and its mean (R, K + 1) from counts (R, cells) of those rows and columns."""
    right, named = (np.zeros((len(cells), classes)) for _ in range(2))
    for cell, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        named[:, row] += cells[:, cell]
        named[:, column] += cells[:, cell]
        if row == column:
            right[:, row] += cells[:, cell]
    scores = np.divide(2 * right, named, out=np.full(right.shape, np.nan), where=named > 0)
    seen = np.isfinite(scores)
    mean = np.where(seen, scores, 0.0).sum(1, keepdims=True) / seen.sum(1, keepdims=True)
    return np.concatenate([scores, mean], 1)
