"""Masks of objects as run lengths: drawn in their boxes alone, never as whole pictures.

Axes: H W height and width of a photo, h w of a part of it [px]. Run lengths count pixels column by column, beginning
with those that are not part of the mask, as COCO has it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from focalnets.data.annotated.encoded_masks import EncodedMask

__all__ = ["drawn_in_box", "drawn_over_image", "encode_mask", "encode_part", "text_of_runs"]

_MARGIN_PX = 1
_LETTERS = 7
_FIRST_LETTER = 48


def drawn_in_box(likelihoods: Tensor, box: Tensor, size: tuple[int, int], least: float = 0.5) -> EncodedMask:
    """Enlarge the mask of an object to its box.

    Args:
        likelihoods: (S, S) float32, spread evenly over the box.
        box: Left, top, right, bottom (4,) [px of the photo].
        size: Width and height of the photo [px].
        least: Likelihood from which a pixel belongs to the mask.

    Source: the pasting of mmdetection, which interpolates at the middles of pixels and takes what lies beyond the
    mask's middles for zero; here by two small products of matrices in place of sampling each pixel.
    """
    left, top, right, bottom = box.tolist()
    first = max(int(np.floor(left)) - _MARGIN_PX, 0), max(int(np.floor(top)) - _MARGIN_PX, 0)
    last = (
        min(int(np.ceil(right)) + _MARGIN_PX, size[0]),
        min(int(np.ceil(bottom)) + _MARGIN_PX, size[1]),
    )
    if last[0] <= first[0] or last[1] <= first[1]:
        return encode_part(np.zeros((0, 0), dtype=bool), 0, 0, size)
    across = _interpolation(first[0], last[0], left, right, likelihoods.shape[1])
    down = _interpolation(first[1], last[1], top, bottom, likelihoods.shape[0])
    return encode_part((down @ likelihoods @ across.T >= least).numpy(), *first, size)


def drawn_over_image(likelihoods: Tensor, box: Tensor, size: tuple[int, int], least: float = 0.5) -> EncodedMask:
    """Enlarge a mask that covers the whole photo, and perhaps more, bilinearly; its edges are repeated.

    Args:
        likelihoods: (h, w) float32, spread evenly over the box.
        box: Left, top, right, bottom of what it covers (4,) [px of the photo].
        size: Width and height of the photo [px].
        least: Likelihood from which a pixel belongs to the mask.
    """
    left, top, right, bottom = box.tolist()
    rows, columns = ((likelihoods >= least).any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
    if not rows or not columns:
        return encode_part(np.zeros((0, 0), dtype=bool), 0, 0, size)
    first, last = [], []
    for start, end, places, pixels in ((left, right, columns, size[0]), (top, bottom, rows, size[1])):
        step = (end - start) / likelihoods.shape[1 if places is columns else 0]
        # What is likely enough lies less than a place from a place that is.
        first.append(max(int(start + (places[0] - 1) * step), 0))
        last.append(min(int(np.ceil(start + (places[-1] + 2) * step)), pixels))
    if last[0] <= first[0] or last[1] <= first[1]:
        return encode_part(np.zeros((0, 0), dtype=bool), 0, 0, size)
    across = _interpolation(first[0], last[0], left, right, likelihoods.shape[1], repeat=True)
    down = _interpolation(first[1], last[1], top, bottom, likelihoods.shape[0], repeat=True)
    return encode_part((down @ likelihoods @ across.T >= least).numpy(), first[0], first[1], size)


def _interpolation(first: int, last: int, start: float, end: float, count: int, *, repeat: bool = False) -> Tensor:
    """Weights (pixels, count) of the values of a mask for pixels from ``first`` to before ``last``.

    With ``repeat`` the outermost values go on beyond their middles, else they fade to zero.
    """
    middles = torch.arange(first, last, dtype=torch.float32) + 0.5
    place = (middles - start) / (end - start) * count - 0.5 if end > start else torch.full_like(middles, -1.0)
    place = place.clamp(0, count - 1) if repeat else place
    return (1 - (place[:, None] - torch.arange(count)).abs()).clamp(min=0)


def encode_mask(mask: np.ndarray) -> EncodedMask:
    """Encode booleans (H, W)."""
    return encode_part(mask, 0, 0, (mask.shape[1], mask.shape[0]))


def encode_part(part: np.ndarray, left: int, top: int, size: tuple[int, int]) -> EncodedMask:
    """Encode a mask of which only a part of the photo is known, nothing else belonging to it.

    Args:
        part: Booleans (h, w).
        left: Where the part begins in the photo [px].
        top: Likewise from above [px].
        size: Width and height of the photo [px].
    """
    width, height = size
    pixels = width * height
    # A row of nothing above and below each column separates the columns.
    steps = np.diff(np.pad(part.T, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    columns, rows = np.nonzero(steps)
    places = (left + columns).astype(np.int64) * height + top + rows
    # Where one column ends at the lower edge and the next begins at the upper one, the run goes on.
    doubled = np.flatnonzero(places[1::2][: max(0, len(places) // 2 - 1)] == places[2::2])
    places = np.delete(places, np.concatenate([2 * doubled + 1, 2 * doubled + 2])) if len(doubled) else places
    ends = np.concatenate([[0], places, [pixels]])
    runs = np.diff(ends)
    if len(runs) > 1 and runs[-1] == 0:
        runs = runs[:-1]
    return EncodedMask(height, width, runs.astype(np.uint32))


def text_of_runs(runs: np.ndarray) -> str:
    """Compress run lengths (R,) to text, as COCO's files have it.

    Each number is written in letters of 5 bits from the lowest, from the fourth on less the last but one.
    """
    numbers = runs.astype(np.int64)
    numbers[3:] -= runs.astype(np.int64)[1:-2]
    letters = np.zeros((len(numbers), _LETTERS), dtype=np.uint8)
    written = np.zeros(letters.shape, dtype=bool)
    going_on = np.ones(len(numbers), dtype=bool)
    for place in range(_LETTERS):
        low = numbers & 31
        numbers = numbers >> 5
        written[:, place] = going_on
        going_on = going_on & np.where(low & 16, numbers != -1, numbers != 0)
        letters[:, place] = low + 32 * going_on + _FIRST_LETTER
    return letters[written].tobytes().decode("ascii")
