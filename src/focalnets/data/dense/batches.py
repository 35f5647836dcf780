"""Pictures of different sizes in one batch, with a mask that says which pixels are pictures.

Axes: B batch, C channels, h w height and width of a picture, H W of the batch [px].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["collate_padded"]


def collate_padded(items: Sequence[tuple[Tensor, Any]], multiple: int = 32) -> tuple[Tensor, list[Any], Tensor | None]:
    """Put pictures into the upper left corner of a common size and fill up with zeros, which are the mean colour.

    Args:
        items: Normalised pictures (C, h, w) float32, each with its target.
        multiple: Height and width of the batch are multiples of this [px]: the stride of the network's last stage.

    Returns:
        Inputs (B, C, H, W) float32, the targets, and the mask (B, H, W) bool, True on pictures; None where nothing was
        filled up.
    """
    pictures = [picture for picture, _ in items]
    height = -(-max(picture.shape[1] for picture in pictures) // multiple) * multiple
    width = -(-max(picture.shape[2] for picture in pictures) // multiple) * multiple
    targets = [target for _, target in items]
    if all(picture.shape[1:] == (height, width) for picture in pictures):
        return torch.stack(pictures), targets, None
    inputs = pictures[0].new_zeros((len(pictures), pictures[0].shape[0], height, width))
    mask = torch.zeros((len(pictures), height, width), dtype=torch.bool)
    for number, picture in enumerate(pictures):
        inputs[number, :, : picture.shape[1], : picture.shape[2]] = picture
        mask[number, : picture.shape[1], : picture.shape[2]] = True
    return inputs, targets, mask
