"""How sure are scores that were measured on a sample of images? Percentile intervals of the bootstrap.

Axes: N images, M methods, T thresholds, R resamples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

__all__ = ["Estimate", "bootstrap", "estimates"]

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
    for counts in _drawings(images, resamples, seed):
        weights = counts / images
        means.append(weights @ flat)
        best.append((weights @ curves).reshape(-1, *best_of.shape[1:]).max(-1))
    return np.concatenate(means).reshape(resamples, *means_of.shape[1:]), np.concatenate(best)


def estimates(values: np.ndarray, drawn: np.ndarray) -> list[Estimate]:
    """Figures (M,) with the 2.5 and 97.5 % quantiles of what was drawn for them (R, M)."""
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return [Estimate(*map(float, row)) for row in zip(values, low, high, strict=True)]


def _drawings(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is drawn, (at most 100, N) at a time."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        yield random.multinomial(images, np.full(images, 1 / images), size=min(_RESAMPLES_AT_ONCE, resamples - start))
