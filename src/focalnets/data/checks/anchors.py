"""Sizes of images and anchors that suit the boxes of some data, by the best overlap of each box with an anchor.

Axes: N boxes, K anchors.
"""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ["AnchorProposal", "best_overlaps", "propose_anchors"]

_RATIOS = ((1.0,), (0.5, 1.0, 2.0), (0.33, 1.0, 3.0))
_SMALLEST_OBJECT_PX = 16.0
_SIDES_PX = (256, 320, 384, 448, 512, 640, 800, 1024, 1280)
_MOST_BOXES = 20_000


@dataclasses.dataclass(frozen=True)
class AnchorProposal:
    """What suits the boxes.

    Attributes:
        shorter_side_px: Shorter side of images at which all but the smallest tenth of the boxes have 16 px, of some
            usual ones.
        sizes_px: Side of the anchor of each stage [px], each double the one before, at that size.
        ratios: Heights of anchors over their widths.
        overlap: Mean over the boxes of the best intersection over union with an anchor in the same place.
        usual_overlap: The same of the usual anchors, 32 to 512 px with ratios 1/2, 1 and 2.
    """

    shorter_side_px: int
    sizes_px: tuple[int, ...]
    ratios: tuple[float, ...]
    overlap: float
    usual_overlap: float


def best_overlaps(boxes: np.ndarray, sizes_px: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Compute the best intersection over union of each box with an anchor that has the same middle.

    Args:
        boxes: Width and height of each box, (N, 2) float64 [px].
        sizes_px: Square roots of the areas of the anchors [px].
        ratios: Heights of anchors over their widths.

    Returns:
        (N,) float64.
    """
    widths = (sizes_px[:, None] / np.sqrt(ratios)[None]).ravel()
    heights = (sizes_px[:, None] * np.sqrt(ratios)[None]).ravel()
    inside = np.minimum(boxes[:, :1], widths) * np.minimum(boxes[:, 1:], heights)
    return (inside / (boxes.prod(axis=1, keepdims=True) + widths * heights - inside)).max(axis=1)


def propose_anchors(boxes: np.ndarray, *, stages: int = 4) -> AnchorProposal:
    """Search the size of images, and sizes and ratios of anchors, that suit boxes best.

    Args:
        boxes: Width and height of each box, width and height of its image, (N, 4) float64 [px]; all above 0.
        stages: Stages of the pyramid; each has anchors of double size.
    """
    if len(boxes) > _MOST_BOXES:
        boxes = boxes[np.linspace(0, len(boxes) - 1, _MOST_BOXES).astype(int)]
    relative = boxes[:, :2] / boxes[:, 2:].min(axis=1, keepdims=True)
    small = float(np.quantile(np.sqrt(relative.prod(axis=1)), 0.1))
    stored = float(np.median(boxes[:, 2:].min(axis=1)))
    enough = [side for side in _SIDES_PX if side * small >= _SMALLEST_OBJECT_PX]
    # More pixels than the photos have show nothing new.
    side = min(enough[0] if enough else _SIDES_PX[-1], max(_SIDES_PX[0], *(s for s in _SIDES_PX if s <= stored), 0))
    seen = relative * side
    usual = float(best_overlaps(seen, 32.0 * 2.0 ** np.arange(5), np.array([0.5, 1.0, 2.0])).mean())
    best: tuple[float, int, tuple[float, ...]] = (-1.0, 0, _RATIOS[0])
    ratios: tuple[float, ...]
    for ratios in _RATIOS:
        for base in (8, 12, 16, 20, 24, 28, 32, 40, 48, 64):
            overlap = float(best_overlaps(seen, base * 2.0 ** np.arange(stages), np.array(ratios)).mean())
            # Three times as many anchors must be worth it.
            best = max(best, (overlap - 0.01 * (len(ratios) > 1), base, ratios))
    _, base, ratios = best
    sizes = base * 2 ** np.arange(stages)
    return AnchorProposal(
        side,
        tuple(int(size) for size in sizes),
        ratios,
        float(best_overlaps(seen, sizes.astype(np.float64), np.array(ratios)).mean()),
        usual,
    )
