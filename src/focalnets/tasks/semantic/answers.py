"""What is kept of each image while a network is measured, and the evaluation that is made of it.

Axes: K classes, h w [tokens], H W height and width of a photo [px].
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from focalnets.tasks.evaluation import Measured
from focalnets.tasks.running import path_of
from focalnets.tasks.semantic.metrics import ClassFigures, class_figures
from focalnets.tasks.semantic.pixels import confident_map, sampled
from focalnets.tasks.semantic.results import ClassResult, Evaluation, ImageResult

__all__ = ["Answer", "answer_of", "answer_of_labels", "make_evaluation"]

_SMALL_PX = 320
_IGNORED = 255


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What was said of one image, at no more than 320 px.

    Attributes:
        iou: Mean intersection over union of the classes that it shows or that were named.
        wrong: Fraction of its pixels that are wrong.
        confidence: Mean probability of what was said of these; None if none is wrong.
        shape: Height and width of the map.
        packed: Labels of the map, uint16, compressed.
    """

    iou: float
    wrong: float
    confidence: float | None
    shape: tuple[int, int]
    packed: bytes

    def labels(self) -> np.ndarray:
        """Return the class of each pixel, (h, w) uint16."""
        return np.frombuffer(zlib.decompress(self.packed), dtype=np.uint16).reshape(self.shape)


def answer_of(logits: Tensor, truth: Tensor) -> Answer:
    """Sum up what was said of an image.

    Args:
        logits: (K, h, w).
        truth: Class of each pixel of the photo, (H, W) with 255 for those that do not count.
    """
    size = _small_size(truth)
    return _answer(*confident_map(logits.float().cpu(), size), sampled(truth.cpu(), size), len(logits))


def answer_of_labels(labels: np.ndarray, sureness: np.ndarray, truth: Tensor, *, classes: int) -> Answer:
    """Sum up what was said of an image of any size.

    Args:
        labels: Class of each pixel (H, W).
        sureness: Probability of that class, in 255ths (H, W) uint8.
        truth: As for :func:`answer_of`.
        classes: K.
    """
    size = _small_size(truth)
    said, probability = (sampled(torch.from_numpy(np.asarray(values)), size) for values in (labels, sureness))
    return _answer(said.long(), probability.float() / 255, sampled(truth, size), classes)


def _small_size(truth: Tensor) -> tuple[int, int]:
    scale = min(1.0, _SMALL_PX / max(truth.shape))
    return max(1, round(scale * truth.shape[0])), max(1, round(scale * truth.shape[1]))


def _answer(said: Tensor, probability: Tensor, known: Tensor, classes: int) -> Answer:
    """Compare what was said, and how surely, with the truth, (h, w) each."""
    counted = known != _IGNORED
    wrong = counted & (said != known)
    pairs = torch.bincount(known[counted] * classes + said[counted], minlength=classes * classes)
    figures = class_figures(pairs.reshape(classes, classes).numpy())
    return Answer(
        iou=figures.means()["miou"],
        wrong=float(wrong.sum() / counted.sum().clamp(min=1)),
        confidence=float(probability[wrong].mean()) if bool(wrong.any()) else None,
        shape=(known.shape[0], known.shape[1]),
        packed=zlib.compress(said.numpy().astype(np.uint16).tobytes(), 1),
    )


def make_evaluation(measured: Measured, *, worst: int) -> Evaluation:
    """Put an evaluation together.

    Args:
        measured: What one pass gathered.
        worst: Images to keep, those understood worst, at most. Among them those come first of which a large part is
            wrong and said with confidence.
    """
    metric: Any = measured.metrics["segmentation"]
    figures = class_figures(metric.confusion.cpu().numpy())
    answers: list[Answer] = list(measured.answers)
    ranked = sorted(range(len(answers)), key=lambda place: -answers[place].wrong * (answers[place].confidence or 0.0))
    kept = [place for place in ranked[:worst] if answers[place].confidence is not None]
    return Evaluation(
        inputs=len(answers),
        metrics={name: float(value) for name, value in measured.metrics.compute().items()},
        loss=measured.loss,
        classes=tuple(_class_result(figures, label, measured.labels) for label in range(len(measured.labels))),
        confusion=tuple(tuple(map(int, row)) for row in figures.confusion),
        worst=tuple(
            ImageResult(
                index=measured.indices[place],
                path=path_of(measured.data, measured.indices[place]),
                miou=answers[place].iou,
                wrong=answers[place].wrong,
                confidence=answers[place].confidence,
                said=answers[place].labels(),
            )
            for place in kept
        ),
        preprocessing=measured.preprocessing,
        left_out=measured.left_out,
        model=measured.model,
        seconds=measured.seconds,
    )


def _class_result(figures: ClassFigures, label: int, names: tuple[str, ...]) -> ClassResult:
    others = figures.confusion[label].copy()
    others[label] = 0
    return ClassResult(
        class_name=names[label],
        iou=_known(figures.iou[label]),
        recall=_known(figures.recall[label]),
        precision=_known(figures.precision[label]),
        pixels=int(figures.pixels[label]),
        confused_with=names[int(others.argmax())] if others.any() else None,
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
