"""Panoptic quality, counted segment by segment over the whole set.

Axes: K classes, H W height and width of a photo [px].

Source: Kirillov et al., Panoptic Segmentation, CVPR 2019: a segment of the answer and one of the data match if they are
of one class and share more than half of their union. Pixels of which the data says nothing count nowhere; a segment of
the answer that lies mostly on such pixels is no error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from focalnets.tasks.panoptic.segments import Segments

__all__ = ["Matches", "PanopticMetrics", "match_segments", "qualities"]

_WHOLE = 2**32
"""What a share of 1 counts: whole numbers sum exactly, in any order and on devices without float64."""


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """Which segments of an image match.

    Attributes:
        pairs: Segment of the answer, of the data, and their intersection over union; both counted from 0.
        spurious: Segments of the answer without a match, that count as errors.
        missed: Segments of the data without a match.
    """

    pairs: tuple[tuple[int, int, float], ...]
    spurious: tuple[int, ...]
    missed: tuple[int, ...]


def match_segments(answer: Segments, truth: Segments) -> Matches:
    """Match the segments of an answer with those of the data."""
    columns = len(truth.labels) + 1
    pairs = answer.ids.astype(np.int64).ravel() * columns + truth.ids.ravel()
    shared = np.bincount(pairs, minlength=(len(answer.labels) + 1) * columns).reshape(-1, columns)
    answer_areas, truth_areas = shared.sum(1), shared.sum(0)
    found: list[tuple[int, int, float]] = []
    for said, known in zip(*np.nonzero(shared[1:, 1:]), strict=True):
        if answer.labels[said] != truth.labels[known]:
            continue
        both = shared[said + 1, known + 1]
        union = answer_areas[said + 1] + truth_areas[known + 1] - both - shared[said + 1, 0]
        if 2 * both > union:
            found.append((int(said), int(known), float(both / union)))
    matched = {said for said, _, _ in found}, {known for _, known, _ in found}
    spurious = tuple(
        number
        for number in range(len(answer.labels))
        if number not in matched[0]
        and answer_areas[number + 1]
        and 2 * shared[number + 1, 0] <= answer_areas[number + 1]
    )
    missed = tuple(number for number in range(len(truth.labels)) if number not in matched[1])
    return Matches(tuple(found), spurious, missed)


class PanopticMetrics(Metric):
    """Panoptic, segmentation and recognition quality, and panoptic quality of objects and of kinds of ground.

    Means are over the classes of which the data or the answers have a segment.

    Args:
        classes: K.
        stuff: Those that are kinds of ground.
    """

    full_state_update = False
    overlap: Tensor
    counts: Tensor

    def __init__(self, classes: int, stuff: frozenset[int]) -> None:
        super().__init__()
        self.stuff = stuff
        self.add_state("overlap", torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(3, classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, answer: Segments, truth: Segments) -> None:
        """Take an image."""
        matches = match_segments(answer, truth)
        for said, _, share in matches.pairs:
            self.overlap[answer.labels[said]] += round(share * _WHOLE)
            self.counts[0, answer.labels[said]] += 1
        for said in matches.spurious:
            self.counts[1, answer.labels[said]] += 1
        for known in matches.missed:
            self.counts[2, truth.labels[known]] += 1

    def compute(self) -> dict[str, Tensor]:
        """Return ``pq``, ``sq``, ``rq``, ``pq_things`` and ``pq_stuff``, 0-d float32 each."""
        rows = qualities(self.overlap.cpu().numpy() / _WHOLE, self.counts.cpu().numpy())
        things = [label not in self.stuff for label in range(len(rows))]
        groups = {
            "pq": (rows[:, 0], None), "sq": (rows[:, 1], None), "rq": (rows[:, 2], None),
            "pq_things": (rows[:, 0], True), "pq_stuff": (rows[:, 0], False),
        }  # fmt: skip
        return {
            name: torch.tensor(_mean(values, things, wanted), dtype=torch.float32)
            for name, (values, wanted) in groups.items()
        }


def qualities(overlap: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Compute panoptic, segmentation and recognition quality of each class, (K, 3); NaN where there is no segment.

    Args:
        overlap: Sum of the intersections over union of matches, (K,).
        counts: Matched, spurious and missed segments, (3, K).
    """
    matched, spurious, missed = counts.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        recognition = matched / (matched + spurious / 2 + missed / 2)
        segmentation = np.where(matched > 0, overlap / matched, 0.0)
    return np.stack([recognition * segmentation, np.where(np.isnan(recognition), np.nan, segmentation), recognition], 1)


def _mean(values: np.ndarray, things: Sequence[bool], wanted: bool | None) -> float:
    chosen = [
        value for value, thing in zip(values, things, strict=True) if not np.isnan(value) and wanted in (None, thing)
    ]
    return float(np.mean(chosen)) if chosen else 0.0
