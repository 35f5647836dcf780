"""Whether a classifier is right as often as it is sure. Imports no torch.

Axes: N images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

__all__ = ["Calibration", "CalibrationBin", "measure_calibration"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Images of similar confidence.

    Attributes:
        low, high: The bin's confidences, from 0 to 1.
        images: How many images fell into it.
        confidence, accuracy: Their mean confidence, and the fraction of them that is right; None without images.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None

    @property
    def gap(self) -> float:
        """How far confidence and accuracy lie apart; 0 without images."""
        return 0.0 if self.confidence is None or self.accuracy is None else abs(self.accuracy - self.confidence)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """The confidence of the likeliest class against how often it is the true one.

    Attributes:
        equal_width: Bins of the same width from 0 to 1, low <= confidence < high; the last includes 1.
        equal_count: Bins that hold the same number of images, give or take one.
        ece_equal_width, ece_equal_count: Expected calibration error: the mean gap of the bins, weighted by images.
        largest_gap: The largest gap of a bin of equal width (maximum calibration error).
        mean_confidence: Over all images. Above the accuracy, the network is too sure.

    Source: Guo et al., On calibration of modern neural networks, 2017; bins of equal count: Nixon et al., Measuring
    calibration in deep learning, 2019.
    """

    equal_width: tuple[CalibrationBin, ...]
    equal_count: tuple[CalibrationBin, ...]
    ece_equal_width: float
    ece_equal_count: float
    largest_gap: float
    mean_confidence: float


def measure_calibration(confidences: Sequence[float], correct: Sequence[bool], *, bins: int = 15) -> Calibration:
    """Compare confidence with accuracy.

    Args:
        confidences: Probability of the likeliest class, N numbers from 0 to 1; at least one.
        correct: Whether that class is the true one, N.
        bins: How many bins of equal width; there are as many of equal count, but no more than images.
    """
    sure, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=bool)
    assert sure.shape == right.shape, "a confidence for each image"
    assert len(sure) > 0, "calibration needs at least one image"
    edges = np.linspace(0.0, 1.0, bins + 1)
    places = np.searchsorted(edges[1:-1], sure, side="right")
    equal_width = tuple(
        _make_bin(float(edges[place]), float(edges[place + 1]), sure[places == place], right[places == place])
        for place in range(bins)
    )
    groups = np.array_split(np.argsort(sure, kind="stable"), min(bins, len(sure)))
    equal_count = tuple(
        _make_bin(float(sure[group[0]]), float(sure[group[-1]]), sure[group], right[group]) for group in groups
    )
    return Calibration(
        equal_width=equal_width,
        equal_count=equal_count,
        ece_equal_width=_expected_error(equal_width),
        ece_equal_count=_expected_error(equal_count),
        largest_gap=max(group.gap for group in equal_width),
        mean_confidence=float(sure.mean()),
    )


def _make_bin(low: float, high: float, sure: np.ndarray, right: np.ndarray) -> CalibrationBin:
    filled = len(sure) > 0
    return CalibrationBin(
        low=low,
        high=high,
        images=len(sure),
        confidence=float(sure.mean()) if filled else None,
        accuracy=float(right.mean()) if filled else None,
    )


def _expected_error(bins: Sequence[CalibrationBin]) -> float:
    return sum(group.gap * group.images for group in bins) / sum(group.images for group in bins)
