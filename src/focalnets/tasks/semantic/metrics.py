"""What is measured of class maps: counted exactly over the whole set, pixel by pixel, at the size of the photos.

Axes: K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["ClassFigures", "SegmentationMetrics", "class_figures", "confusions"]

_IGNORED = 255


class SegmentationMetrics(Metric):
    """Mean intersection over union, and the fractions of pixels and of each class's pixels that are right.

    Means are over the classes that the data or the answers hold.

    Args:
        classes: K.
    """

    full_state_update = False
    confusion: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("confusion", torch.zeros(classes, classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, answer: Tensor, truth: Tensor) -> None:
        """Take an image: labels (H, W) of both; pixels whose truth is 255 do not count."""
        self.confusion += confusions(answer, truth, self.classes)

    def compute(self) -> dict[str, Tensor]:
        """Return ``miou``, ``pixel_accuracy`` and ``mean_accuracy``, 0-d float32 each."""
        figures = class_figures(self.confusion.cpu().numpy())
        return {name: torch.tensor(value, dtype=torch.float32) for name, value in figures.means().items()}


def confusions(answer: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Count pixels by their true class (rows) and the one named (columns), (K, K) int64; 255 in truth is left out."""
    counts = truth != _IGNORED
    pairs = truth[counts].long() * classes + answer[counts].long()
    return torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


class ClassFigures:
    """Figures of each class from counts of pixels.

    Attributes:
        confusion: Pixels by true class and class named, (K, K) int64.
        iou: Intersection over union of each class, NaN for one that neither data nor answers hold.
        recall, precision: Of each class; NaN where there is none.
        pixels: True pixels of each class.
    """

    def __init__(self, confusion: np.ndarray) -> None:
        self.confusion = confusion
        hits, truth, named = np.diag(confusion), confusion.sum(1), confusion.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.iou = hits / (truth + named - hits)
            self.recall, self.precision = hits / truth, hits / named
        self.pixels = truth

    def means(self) -> dict[str, float]:
        """Return the figures over all classes, by name."""
        total = int(self.confusion.sum())
        return {
            "miou": _mean(self.iou),
            "pixel_accuracy": float(np.trace(self.confusion) / total) if total else 0.0,
            "mean_accuracy": _mean(self.recall),
        }


def class_figures(confusion: Any) -> ClassFigures:
    """Compute figures from counts (K, K)."""
    return ClassFigures(np.asarray(confusion))


def _mean(values: np.ndarray | Sequence[float]) -> float:
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
