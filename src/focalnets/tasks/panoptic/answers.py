"""What is kept of each image while a network is measured, and the evaluation that is made of it."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np
import torch

from focalnets.tasks.evaluation import Measured
from focalnets.tasks.panoptic.metrics import Matches, match_segments, qualities
from focalnets.tasks.panoptic.results import ClassQuality, Evaluation, ImageQuality
from focalnets.tasks.panoptic.segments import Segments
from focalnets.tasks.running import path_of
from focalnets.tasks.semantic.pixels import sampled

__all__ = ["Answer", "answer_of", "make_evaluation"]

_SMALL_PX = 320


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What was said of one image.

    Attributes:
        matches: Which segments match.
        labels, scores: Class and confidence of each segment of the answer.
        truth: Class of each segment of the data.
        shape: Height and width of the map, at most 320 px.
        packed: Numbers of the answer's segments there, uint16, compressed.
    """

    matches: Matches
    labels: tuple[int, ...]
    scores: tuple[float, ...]
    truth: tuple[int, ...]
    shape: tuple[int, int]
    packed: bytes

    @property
    def surest(self) -> float:
        """Confidence of the surest segment that the data do not have; 0 if there is none."""
        return max((self.scores[number] for number in self.matches.spurious), default=0.0)


def answer_of(found: Segments, truth: Segments) -> Answer:
    """Sum up what was said of an image."""
    height, width = found.ids.shape
    scale = min(1.0, _SMALL_PX / max(height, width))
    shape = (max(1, round(scale * height)), max(1, round(scale * width)))
    small = sampled(torch.from_numpy(found.ids), shape).numpy().astype(np.uint16)
    packed = zlib.compress(small.tobytes(), 1)
    return Answer(match_segments(found, truth), found.labels, found.scores, truth.labels, shape, packed)


def make_evaluation(measured: Measured, *, stuff: frozenset[int], worst: int) -> Evaluation:
    """Put an evaluation together.

    Args:
        measured: What one pass gathered.
        stuff: Classes that are kinds of ground.
        worst: Images to keep, those with the surest spurious segments, at most.
    """
    metric: Any = measured.metrics["panoptic"]
    counts = metric.counts.cpu().numpy()
    rows = qualities(metric.overlap.cpu().numpy(), counts)
    answers: list[Answer] = list(measured.answers)
    wrong = [place for place, answer in enumerate(answers) if answer.matches.spurious or answer.matches.missed]
    ranked = sorted(wrong, key=lambda place: (-answers[place].surest, -len(answers[place].matches.missed)))
    return Evaluation(
        inputs=len(answers),
        metrics={name: float(value) for name, value in measured.metrics.compute().items()},
        loss=measured.loss,
        classes=tuple(
            _class_quality(name, label not in stuff, rows[label], counts[:, label])
            for label, name in enumerate(measured.labels)
        ),
        worst=tuple(_image_quality(measured, place) for place in ranked[:worst]),
        preprocessing=measured.preprocessing,
        left_out=measured.left_out,
        model=measured.model,
        seconds=measured.seconds,
    )


def _class_quality(name: str, is_thing: bool, row: np.ndarray, counts: np.ndarray) -> ClassQuality:
    panoptic, segmentation, recognition = (None if np.isnan(value) else float(value) for value in row)
    matched, spurious, missed = map(int, counts)
    return ClassQuality(
        class_name=name, is_thing=is_thing, pq=panoptic, sq=segmentation, rq=recognition, matched=matched,
        spurious=spurious, missed=missed,
    )  # fmt: skip


def _image_quality(measured: Measured, place: int) -> ImageQuality:
    answer, names, index = measured.answers[place], measured.labels, measured.indices[place]
    spurious = [(names[answer.labels[number]], answer.scores[number]) for number in answer.matches.spurious]
    return ImageQuality(
        index=index,
        path=path_of(measured.data, index),
        spurious=tuple(sorted(spurious, key=lambda pair: -pair[1])),
        missed=tuple(names[answer.truth[number]] for number in answer.matches.missed),
        said=np.frombuffer(zlib.decompress(answer.packed), dtype=np.uint16).reshape(answer.shape),
        labels=answer.labels,
    )
