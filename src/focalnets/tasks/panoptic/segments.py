"""From queries to segments that share out the pixels of a photo, and the segments that its annotations say.

Axes: Q queries, K classes, h w [tokens], H W height and width of the photo [px].
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.tasks.semantic.pixels import enlarged_bands

__all__ = ["Segments", "segments_of_annotation", "segments_of_queries"]


@dataclasses.dataclass(frozen=True, eq=False)
class Segments:
    """Segments that share out the pixels of an image.

    Attributes:
        ids: Number of each pixel's segment, (H, W) int32; 0 for none.
        labels: Class of each segment, segment 1 first.
        scores: Confidence of each, from 0 to 1.
    """

    ids: np.ndarray
    labels: tuple[int, ...]
    scores: tuple[float, ...]

    def areas(self) -> np.ndarray:
        """Pixels of each segment, (N,) int64."""
        return np.bincount(self.ids.ravel(), minlength=len(self.labels) + 1)[1:]

    def classes(self, ignored: int) -> np.ndarray:
        """Class of each pixel, (H, W) int64, ``ignored`` where there is no segment."""
        return np.array([ignored, *self.labels], dtype=np.int64)[self.ids]


def segments_of_queries(
    classes: Tensor,
    masks: Tensor,
    size: tuple[int, int],
    *,
    stuff: frozenset[int],
    threshold: float = 0.5,
    overlap: float = 0.8,
) -> Segments:
    """Give each pixel to the query that is surest of it.

    Args:
        classes: (Q, K + 1) logits, the last for no object.
        masks: (Q, h, w) logits.
        size: Height and width of the photo [px].
        stuff: Classes of which all queries make one segment.
        threshold: Queries that are less sure of their class say nothing.
        overlap: Queries that keep less than this fraction of their mask, because others are surer, say nothing either.

    Source: panoptic inference of Mask2Former, with its usual overlap; there the threshold is 0.8.
    """
    scores, labels = classes.softmax(-1).max(-1)
    kept = torch.nonzero((labels < classes.shape[-1] - 1) & (scores > threshold)).flatten()
    if not len(kept):
        return Segments(np.zeros(size, dtype=np.int32), (), ())
    scores, labels, masks = scores[kept], labels[kept], masks[kept]
    winners, sure = [], []
    drawn = torch.zeros(len(kept), dtype=torch.int64)
    for band in enlarged_bands(masks, size):
        probability = band.sigmoid()
        best = (probability * scores[:, None, None]).max(0).indices
        winners.append(best)
        sure.append(probability.gather(0, best[None])[0] >= 0.5)
        drawn += (probability >= 0.5).sum((1, 2))
    winner, inside = torch.cat(winners), torch.cat(sure)
    won = torch.bincount(winner.flatten(), minlength=len(kept))
    seen = torch.bincount(winner[inside], minlength=len(kept))
    numbers = torch.zeros(len(kept), dtype=torch.int64)
    found: list[tuple[int, float]] = []
    grounds: dict[int, int] = {}
    for query in scores.argsort(descending=True).tolist():
        if not int(seen[query]) or int(won[query]) < overlap * int(drawn[query]):
            continue
        label, score = int(labels[query]), float(scores[query])
        if label in stuff and label in grounds:
            numbers[query] = grounds[label]
            continue
        found.append((label, score))
        numbers[query] = grounds[label] = len(found)
    ids = torch.where(inside, numbers[winner], 0).to(torch.int32).numpy()
    return Segments(ids, tuple(label for label, _ in found), tuple(score for _, score in found))


def segments_of_annotation(annotated: AnnotatedImage, stuff: frozenset[int]) -> Segments:
    """Read the segments of a photo: each object, and each kind of ground that its class map has.

    Crowds and ignored pixels have none.
    """
    width, height = annotated.size
    ids = np.zeros((height, width), dtype=np.int32)
    labels: list[int] = []
    if annotated.semantic is not None:
        for label in np.unique(annotated.semantic).tolist():
            if label in stuff:
                labels.append(label)
                ids[annotated.semantic == label] = len(labels)
    crowds = [thing for thing in annotated.objects if thing.crowd]
    single = [thing for thing in annotated.objects if not thing.crowd and thing.label >= 0]
    for thing in crowds:
        if thing.mask is not None:
            ids[thing.mask] = 0
    for thing in sorted(single, key=lambda each: -_box_area(each.box_xyxy)):
        mask = thing.mask
        if mask is not None and mask.any():
            labels.append(thing.label)
            ids[mask] = len(labels)
    there = np.unique(ids[ids > 0])
    renumbered = np.zeros(len(labels) + 1, dtype=np.int32)
    renumbered[there] = np.arange(1, len(there) + 1)
    kept = tuple(labels[number - 1] for number in there.tolist())
    return Segments(renumbered[ids], kept, (1.0,) * len(kept))


def _box_area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
