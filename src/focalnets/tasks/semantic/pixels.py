"""From the numbers that a network gives to positions of a coarse map to the class of each pixel of the photo.

Axes: K classes, h w [tokens], H W height and width of the photo [px].
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["class_map", "confident_map", "enlarged_bands", "sampled"]

_NUMBERS_AT_ONCE = 1 << 24


def class_map(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Name the likeliest class of each pixel: enlarge bilinearly, then take the largest, in bands that fit into memory.

    Args:
        logits: (K, h, w) float32.
        size: Height and width H, W of the photo [px].

    Returns:
        (H, W) int64 on the device of the logits.
    """
    return torch.cat([band.max(0).indices for band in enlarged_bands(logits, size)])


def confident_map(logits: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Name the likeliest class of each pixel with its probability, (H, W) int64 and (H, W) float32, likewise."""
    found = [band.softmax(0).max(0) for band in enlarged_bands(logits, size)]
    return torch.cat([band.indices for band in found]), torch.cat([band.values for band in found])


def sampled(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Take of a map (H, W) of whole numbers the one in the middle of each of ``size`` = (h, w) equal fields."""
    rows, columns = (
        ((torch.arange(count, device=labels.device) + 0.5) * (whole / count)).long().clamp(max=whole - 1)
        for count, whole in zip(size, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def enlarged_bands(logits: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Enlarge maps (K, h, w) to ``size`` = (H, W) bilinearly, band by band of rows; one at a time is in memory."""
    classes, tokens, _ = logits.shape
    height, width = size
    rows = max(1, _NUMBERS_AT_ONCE // (classes * width))
    for start in range(0, height, rows):
        band, count = logits, min(rows, height - start)
        if count < height:
            places = torch.arange(start, start + count, device=logits.device, dtype=logits.dtype)
            places = ((places + 0.5) * (tokens / height) - 0.5).clamp(0, tokens - 1)
            above = places.long()
            band = logits[:, above].lerp(logits[:, (above + 1).clamp(max=tokens - 1)], (places - above)[:, None])
        # Channels last, where both enlarging and the maximum over classes are several times as fast.
        laid_out = band.permute(1, 2, 0).contiguous()[None].permute(0, 3, 1, 2)
        yield F.interpolate(laid_out, size=(count, width), mode="bilinear", align_corners=False)[0]
