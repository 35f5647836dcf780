"""What classification returns: plain, frozen values that survive JSON. Imports no torch."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from pathlib import Path
from typing import Any

__all__ = ["ClassFigures", "Evaluation", "Failure", "Prediction", "wilson_interval"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says about one image.

    Attributes:
        path: The file.
        class_names: The likeliest classes, likeliest first.
        class_indices: Their numbers among the network's outputs.
        confidences: Their probabilities after softmax, from 0 to 1.
    """

    path: Path
    class_names: tuple[str, ...]
    class_indices: tuple[int, ...]
    confidences: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        rows = zip(self.class_names, self.class_indices, self.confidences, strict=True)
        return {
            "path": str(self.path),
            "classes": [{"name": name, "index": index, "confidence": share} for name, index, share in rows],
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """An image that could not be read, and why in one sentence."""

    path: Path
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"path": str(self.path), "reason": self.reason}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """How well one class is recognised.

    Attributes:
        name: The class.
        images: How many images of it were seen.
        recall: Share of them recognised; None without images.
        precision: Share of the images called so that are of the class; None if none was called so.
    """

    name: str
    images: int
    recall: float | None
    precision: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A network measured on labelled images.

    Attributes:
        images: Number of images, each counted once.
        top1, top5: Share whose class is the likeliest, or among the five likeliest (all, where there are fewer).
        top1_interval: Wilson's 95 % confidence interval of ``top1``.
        loss: Mean cross-entropy [nats].
        per_class: One entry a class.
        confusion: Counts, one row for each true class, one column for each predicted one.
        preprocessing: How the images were prepared, with ``input_size_px``; figures without it mean nothing.
        left_out: Images that could not be read and are not counted.
        model: Where the weights came from, in words.
        seconds: Duration, with reading the images.
    """

    images: int
    top1: float
    top5: float
    top1_interval: tuple[float, float]
    loss: float
    per_class: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    preprocessing: dict[str, Any]
    left_out: tuple[Failure, ...] = ()
    model: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **dataclasses.asdict(self),
            "top1_interval": list(self.top1_interval),
            "per_class": [dataclasses.asdict(figures) for figures in self.per_class],
            "confusion": [list(row) for row in self.confusion],
            "left_out": [failure.to_dict() for failure in self.left_out],
        }

    def per_class_csv(self) -> str:
        """The figures of the classes as CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["class", "images", "recall", "precision"])
        for figures in self.per_class:
            shares = ["" if share is None else f"{share:.6f}" for share in (figures.recall, figures.precision)]
            writer.writerow([figures.name, figures.images, *shares])
        return text.getvalue()


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Confidence interval of a share, also sensible near 0 and 1; ``z`` = 1.96 covers 95 %.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    assert 0 <= successes <= trials, "there cannot be more successes than trials"
    assert trials > 0, "a share needs at least one trial"
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    margin = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, centre - margin), min(1.0, centre + margin)
