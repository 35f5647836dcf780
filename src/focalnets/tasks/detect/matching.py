"""Which detections are right, and what is wrong with the others.

Axes: N detections, M objects. A box is left, top, right, bottom [px].
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchvision.ops import box_area, box_iou

__all__ = ["CORRECT", "DOUBLED", "KINDS", "PASSED_OVER", "SPURIOUS", "WRONG_CLASS", "Matched", "ObjectCounts", "match"]

CORRECT, DOUBLED, WRONG_CLASS, SPURIOUS, PASSED_OVER = range(5)
"""What a detection is: right; a second one of an object; on an object of another class; on none; or in a region of
many objects, where none counts."""

KINDS = ("correct", "doubled", "wrong class", "spurious", "passed over")

_LEAST_OVERLAP = 0.5
"""Intersection over union from which a detection lies on an object."""


@dataclasses.dataclass(frozen=True, eq=False)
class Matched:
    """What became of the detections and objects of one image.

    Attributes:
        kinds: What each detection is (N,), see :data:`CORRECT`.
        objects: Number of the object that each detection lies on (N,); -1 for none.
        missed: Objects (M,) that no detection of their class lies on; regions of many are never missed.
    """

    kinds: Tensor
    objects: Tensor
    missed: Tensor


def match(boxes: Tensor, labels: Tensor, objects: Tensor, classes: Tensor, crowd: Tensor) -> Matched:
    """Compare detections, the best first, with objects.

    Each takes the object of its class that it overlaps most and that no better one has taken.

    Args:
        boxes: (N, 4).
        labels: (N,).
        objects: (M, 4).
        classes: (M,).
        crowd: (M,) bool: regions of many objects.
    """
    overlap = box_iou(boxes, objects)
    taken = torch.zeros(len(objects), dtype=torch.bool)
    kinds, places = torch.full((len(boxes),), SPURIOUS), torch.full((len(boxes),), -1)
    low, high = torch.maximum(boxes[:, None, :2], objects[:, :2]), torch.minimum(boxes[:, None, 2:], objects[:, 2:])
    covered = (high - low).clamp(min=0).prod(-1) / box_area(boxes).clamp(min=1e-6)[:, None]
    in_crowd = ((covered >= _LEAST_OVERLAP) & crowd & (labels[:, None] == classes)).any(1)
    for number in range(len(boxes)):
        on_it = torch.where(crowd, 0.0, overlap[number])
        own = classes == labels[number]
        for kind, possible in ((CORRECT, own & ~taken), (DOUBLED, own), (WRONG_CLASS, ~own)):
            among = torch.where(possible, on_it, 0.0)
            if len(among) and float(among.max()) >= _LEAST_OVERLAP:
                kinds[number], places[number] = kind, int(among.argmax())
                break
            if kind == DOUBLED and in_crowd[number]:
                kinds[number] = PASSED_OVER
                break
        if kinds[number] == CORRECT:
            taken[places[number]] = True
    return Matched(kinds, places, ~taken & ~crowd)


class ObjectCounts(Metric):
    """Counts objects found, missed, found twice, and detections that lie on none, from a score on.

    Args:
        classes: How many there are.
        least_score: Detections below it do not count.
    """

    full_state_update = False
    correct: Tensor
    doubled: Tensor
    spurious: Tensor
    missed: Tensor

    def __init__(self, classes: int, least_score: float) -> None:
        super().__init__()
        self.classes, self.least_score = classes, least_score
        for name in ("correct", "doubled", "spurious", "missed"):
            self.add_state(name, torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: list[dict[str, Any]], target: list[dict[str, Any]]) -> None:
        """Count one batch: ``boxes``, ``scores`` and ``labels`` against ``boxes``, ``labels`` and ``crowd``."""
        for found, known in zip(preds, target, strict=True):
            counted = found["scores"] >= self.least_score
            labels = found["labels"][counted].cpu()
            objects, classes, crowd = (known[name].cpu() for name in ("boxes", "labels", "crowd"))
            matched = match(found["boxes"][counted].cpu(), labels, objects, classes, crowd)
            for name, kinds in (
                ("correct", (CORRECT,)),
                ("doubled", (DOUBLED,)),
                ("spurious", (SPURIOUS, WRONG_CLASS)),
            ):
                chosen = torch.isin(matched.kinds, torch.tensor(kinds))
                counts = torch.bincount(labels[chosen], minlength=self.classes)
                setattr(self, name, getattr(self, name) + counts.to(self.device))
            missed = torch.bincount(classes[matched.missed], minlength=self.classes)
            self.missed = self.missed + missed.to(self.device)

    def compute(self) -> dict[str, Tensor]:
        """Sum over the classes; of another class than the object counts as spurious."""
        return {name: getattr(self, name).sum().float() for name in ("missed", "spurious", "doubled")}
