"""Boxes as published detectors handle them: anchors, differences, suppression, matching and sampling.

What differs here from torchvision's detection package is what makes published FocalNet checkpoints exact: anchors are
not rounded, differences are limited on both sides, and suppression within groups always shifts the groups apart.

Axes: N boxes, M objects, A anchors at a place, h w height and width of a map [tokens]. A box is left, top, right,
bottom [px of the input]. Source: Ren et al., Faster R-CNN, NeurIPS 2015, in the form of mmdetection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_area, box_iou, nms

__all__ = ["IGNORED", "Anchors", "Differences", "assign_objects", "clip", "sample_balanced", "suppress_within"]

IGNORED = -1
"""Stands for a box that is neither an object nor background: it overlaps too much for the one, too little for the
other, or it lies in a crowd or in padding."""

_MOST_SHIFTED = 10_000
"""From so many boxes on, groups are suppressed one after the other."""


class Anchors(AnchorGenerator):
    """Boxes of some sizes and proportions around every place of every map.

    Args:
        sizes: Square root of the areas [px], a tuple for each map.
        ratios: Height over width, the same for all maps.
        strides: Pixels between the places of each map.
    """

    def __init__(self, sizes: Sequence[Sequence[float]], ratios: Sequence[float], strides: Sequence[int]) -> None:
        super().__init__(tuple(map(tuple, sizes)), (tuple(ratios),) * len(sizes))
        self.strides = tuple(strides)

    def generate_anchors(
        self,
        scales: Sequence[float],  # type: ignore[override]
        aspect_ratios: Sequence[float],  # type: ignore[override]
        dtype: torch.dtype = torch.float32,
        device: torch.device = torch.device("cpu"),  # noqa: B008 - as in the class above
    ) -> Tensor:
        """Make the boxes around the origin (A, 4), unrounded."""
        # Not on the device meta, where a network may be built before its weights are read.
        heights = torch.tensor(aspect_ratios, dtype=dtype, device="cpu").sqrt()
        lengths = torch.tensor(scales, dtype=dtype, device="cpu")
        width, height = ((side[:, None] * lengths).flatten() for side in (1 / heights, heights))
        return torch.stack([-0.5 * width, -0.5 * height, 0.5 * width, 0.5 * height], 1)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:  # type: ignore[override]
        """Make the anchors of maps (B, C, h, w): (h w A, 4) float32 for each map, row by row."""
        device = maps[0].device
        self.set_cell_anchors(torch.float32, device)
        strides = [[torch.tensor(stride, device=device)] * 2 for stride in self.strides]
        return self.grid_anchors([list(features.shape[-2:]) for features in maps], strides)


class Differences(BoxCoder):
    """Boxes as differences to others: shifts in units of the other's size, logarithms of the ratios of sizes."""

    def __init__(self, deviations: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> None:
        """Take the standard deviations that differences are divided by, of x, y, width and height."""
        super().__init__(tuple(1 / deviation for deviation in deviations), math.log(1000 / 16))  # type: ignore[arg-type]

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Turn differences (N, 4 K) to boxes (N, 4) into boxes (N, 4 K); ratios of sizes stay within 16 / 1000."""
        weights = rel_codes.new_tensor(self.weights).repeat(rel_codes.shape[-1] // 4)
        limits = self.bbox_xform_clip * weights
        limits[0::4], limits[1::4] = math.inf, math.inf
        return super().decode_single(torch.maximum(rel_codes, -limits), boxes)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Keep boxes (..., 4) within an image of that height and width [px]."""
    height, width = size
    return torch.stack(
        [boxes[..., 0].clamp(0, width), boxes[..., 1].clamp(0, height),
         boxes[..., 2].clamp(0, width), boxes[..., 3].clamp(0, height)], -1,
    )  # fmt: skip


def suppress_within(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Drop boxes that overlap a better one of their group.

    Args:
        boxes: (N, 4) float32, none below 0.
        scores: (N,).
        groups: (N,) whole numbers from 0 up.
        threshold: Largest intersection over union of two boxes that both stay.

    Returns:
        Numbers of the boxes that stay, the best first.
    """
    if len(boxes) < _MOST_SHIFTED:
        shifts = groups.to(boxes) * (boxes.max() + 1) if len(boxes) else groups.to(boxes)
        return nms(boxes + shifts[:, None], scores, threshold)
    kept = []
    for group in groups.unique():
        members = (groups == group).nonzero()[:, 0]
        kept.append(members[nms(boxes[members], scores[members], threshold)])
    chosen = torch.cat(kept)
    return chosen[scores[chosen].sort(descending=True)[1]]


def assign_objects(
    boxes: Tensor,
    objects: Tensor,
    crowd: Tensor,
    *,
    least: float,
    most_background: float,
    match_all: bool,
) -> Tensor:
    """Find the object that each box stands for.

    Args:
        boxes: (N, 4).
        objects: (M, 4).
        crowd: (M,) bool: regions that are no single object; what lies in them by more than half is ignored.
        least: Intersection over union from which a box stands for an object.
        most_background: Below it a box is background; between the two it is ignored.
        match_all: Give each object the boxes that fit it best, however badly.

    Returns:
        (N,) int64: number of the object plus 1, 0 for background, :data:`IGNORED` for none of both.
    """
    found = boxes.new_zeros(len(boxes), dtype=torch.int64)
    single = (~crowd).nonzero()[:, 0]
    if len(single) and len(boxes):
        matches = Matcher(least, most_background, allow_low_quality_matches=match_all)(box_iou(objects[single], boxes))
        found = torch.where(matches >= 0, single[matches.clamp(min=0)] + 1, 0)
        found[matches == Matcher.BETWEEN_THRESHOLDS] = IGNORED
    if len(single) < len(objects) and len(boxes):
        regions = objects[crowd]
        low, high = torch.maximum(boxes[:, None, :2], regions[:, :2]), torch.minimum(boxes[:, None, 2:], regions[:, 2:])
        shared = (high - low).clamp(min=0).prod(-1).amax(1)
        found[(found == 0) & (shared > 0.5 * box_area(boxes))] = IGNORED
    return found


def sample_balanced(found: Tensor, count: int, fraction: float, *, at_random: bool) -> tuple[Tensor, Tensor]:
    """Choose some of the boxes to learn from.

    Args:
        found: (N,) as :func:`assign_objects` returns it.
        count: How many to choose, if there are so many.
        fraction: At most this part of them stands for objects.
        at_random: By torch's random numbers; otherwise evenly spread over all, which measures without chance.

    Returns:
        Numbers of boxes that stand for objects, and of background.
    """
    if at_random:
        chosen, background = BalancedPositiveNegativeSampler(count, fraction)([found])
        return chosen[0].nonzero()[:, 0], background[0].nonzero()[:, 0]
    objects, rest = (found > 0).nonzero()[:, 0], (found == 0).nonzero()[:, 0]
    objects = _spread(objects, int(count * fraction))
    return objects, _spread(rest, count - len(objects))


def _spread(numbers: Tensor, count: int) -> Tensor:
    if len(numbers) <= count:
        return numbers
    return numbers[torch.arange(count, device=numbers.device) * len(numbers) // count]
