"""What is kept of each image while a network is measured, and the evaluation that is made of it.

Axes: N detections, M objects. A box is left, top, right, bottom [px of the photo].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from focalnets.tasks.detect.matching import CORRECT, KINDS, PASSED_OVER, ObjectCounts, match
from focalnets.tasks.detect.metrics import AveragePrecision
from focalnets.tasks.detect.results import ClassResult, Evaluation, Mistake
from focalnets.tasks.evaluation import Measured
from focalnets.tasks.running import path_of

__all__ = ["Answer", "make_evaluation"]


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What was found in one image, and what is there.

    Attributes:
        boxes: (N, 4), the surest first.
        scores: (N,).
        labels: (N,).
        objects: (M, 4).
        classes: (M,).
        crowd: (M,) bool: regions of many objects.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    objects: Tensor
    classes: Tensor
    crowd: Tensor

    @classmethod
    def of(cls, found: Mapping[str, Any], known: Mapping[str, Any]) -> Answer:
        """Take what is needed of detections and objects."""
        return cls(
            boxes=found["boxes"],
            scores=found["scores"],
            labels=found["labels"],
            objects=known["boxes"],
            classes=known["labels"],
            crowd=known["crowd"],
        )


def make_evaluation(measured: Measured, *, counted_from: float, worst: int) -> Evaluation:
    """Make the evaluation of what one pass gathered.

    Args:
        measured: What was gathered.
        counted_from: Score from which detections count as found or spurious.
        worst: Confident errors to keep, at most.
    """
    precision: Any = measured.metrics["precision"]
    counts: Any = measured.metrics["counts"]
    assert isinstance(precision, AveragePrecision)
    assert isinstance(counts, ObjectCounts)
    figures = precision.by_class(len(measured.labels))
    objects = torch.zeros(len(measured.labels), dtype=torch.int64)
    for answer in measured.answers:
        objects += torch.bincount(answer.classes[~answer.crowd], minlength=len(objects))
    classes = tuple(
        ClassResult(
            class_name=name,
            objects=int(objects[label]),
            figures={key: values[label] for key, values in figures.items()},
            correct=int(counts.correct[label]),
            missed=int(counts.missed[label]),
            spurious=int(counts.spurious[label]),
            doubled=int(counts.doubled[label]),
        )
        for label, name in enumerate(measured.labels)
    )
    return Evaluation(
        inputs=len(measured.answers),
        metrics={name: float(value) for name, value in measured.metrics.compute().items()},
        loss=measured.loss,
        counted_from=counted_from,
        classes=classes,
        mistakes=_mistakes(measured, counted_from, worst),
        preprocessing=measured.preprocessing,
        left_out=measured.left_out,
        model=measured.model,
        seconds=measured.seconds,
    )


def _mistakes(measured: Measured, counted_from: float, most: int) -> tuple[Mistake, ...]:
    """Choose confident errors: half of them detections, the surest, and half objects that nothing hints at."""
    made_up: list[Mistake] = []
    missed: list[Mistake] = []
    for answer, index in zip(measured.answers, measured.indices, strict=True):
        path = path_of(measured.data, index)
        for mistake in _mistakes_of(answer, index, path, measured.labels, counted_from):
            (missed if mistake.kind == "missed" else made_up).append(mistake)
        made_up = sorted(made_up, key=lambda mistake: -mistake.score)[:most]
        missed = sorted(missed, key=lambda mistake: (mistake.score, -_area(mistake)))[:most]
    half = most // 2
    shown = min(len(missed), max(half, most - len(made_up)))
    return (*made_up[: most - shown], *missed[:shown])


def _mistakes_of(
    answer: Answer, index: int, path: Path, labels: tuple[str, ...], counted_from: float
) -> Iterator[Mistake]:
    counted = answer.scores >= counted_from
    boxes, scores, named = answer.boxes[counted], answer.scores[counted], answer.labels[counted]
    matched = match(boxes, named, answer.objects, answer.classes, answer.crowd)
    for number, kind in enumerate(matched.kinds.tolist()):
        if kind not in (CORRECT, PASSED_OVER):
            place = int(matched.objects[number])
            truth = labels[int(answer.classes[place])] if place >= 0 else None
            name = labels[int(named[number])]
            yield Mistake(
                index=index, path=path, kind=KINDS[kind], class_name=name, score=float(scores[number]),
                box=tuple(boxes[number].tolist()), truth=truth if truth != name else None,
            )  # fmt: skip
    overlap = box_iou(answer.objects, answer.boxes)
    for place in matched.missed.nonzero()[:, 0].tolist():
        hints = answer.scores[(overlap[place] >= 0.5) & (answer.labels == answer.classes[place])]
        yield Mistake(
            index=index, path=path, kind="missed", class_name=labels[int(answer.classes[place])],
            score=float(hints.max()) if len(hints) else 0.0, box=tuple(answer.objects[place].tolist()),
        )  # fmt: skip


def _area(mistake: Mistake) -> float:
    left, top, right, bottom = mistake.box
    return (right - left) * (bottom - top)
