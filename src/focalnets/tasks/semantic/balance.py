"""Weights of classes from how many pixels each has."""

from __future__ import annotations

from typing import Any

import numpy as np

from focalnets.errors import DataError

__all__ = ["balanced_weights"]

_MOST_IMAGES = 500
_LARGEST = 10.0


def balanced_weights(data: Any, classes: int) -> list[float]:
    """Weigh each class by one over the root of its fraction of pixels, so that the mean over pixels is 1.

    The root lies between leaving rare classes to chance and letting a few pixels decide; no weight is above 10.

    Args:
        data: Annotated images, of which at most 500 are read, evenly spread.
        classes: How many there are.

    Raises:
        DataError: If all pixels are ignored.
    """
    count = min(len(data), _MOST_IMAGES)
    counts = np.zeros(classes, dtype=np.int64)
    for place in range(count):
        labels = data.annotation(place * len(data) // count).semantic
        counts += np.bincount(labels[labels < classes].ravel(), minlength=classes)[:classes]
    if not counts.sum():
        raise DataError("Every pixel of the training data is ignored, so classes cannot be balanced.")
    fractions = counts / counts.sum()
    weights = 1 / np.sqrt(fractions.clip(1e-6))
    weights = weights / (weights * fractions).sum()
    return [float(weight) for weight in weights.clip(max=_LARGEST)]
