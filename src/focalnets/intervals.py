"""How sure are figures measured on a sample: intervals of a fraction and of a mean over seeds, and the bootstrap.

Axes: N images, M methods, T thresholds, R resamples. Imports no torch.
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
    "estimates",
    "mean_interval",
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
