"""Focal aggregation in plain PyTorch: the specification that every other backend is held to.

Axes: B batch, *S one to three spatial axes, C channels, L focal levels, *k kernel sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["focal_aggregation_reference", "local_aggregation_reference", "why_unavailable", "why_unsupported"]

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def why_unavailable() -> None:
    """Say nothing: the reference runs wherever PyTorch does."""


def why_unsupported(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None) -> None:
    """Say nothing: the reference takes everything that the public function accepts."""


def focal_aggregation_reference(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    normalize: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """Compute equations 4 and 5 of the focal modulation paper, one line of mathematics a line of code.

    Arguments and result are those of :func:`focalnets.focal_aggregation`, on any device, in any floating dtype.

    Source: Yang et al., Focal Modulation Networks, NeurIPS 2022, section 3 and algorithm 1 (GELU on the global level).
    """
    channels, spatial_axes = context.shape[-1], tuple(range(2, context.ndim))
    convolve = _CONVOLUTIONS[context.ndim - 2]
    valid = None if mask is None else mask.unsqueeze(1)  # (B, 1, *S)

    level = context.movedim(context.ndim - 1, 1)  # (B, C, *S)
    if valid is not None:
        level = torch.where(valid, level, 0)
    gated_sum = torch.zeros_like(level)
    for index, kernel in enumerate(kernels):
        padding = [size // 2 for size in kernel.shape[1:]]
        weight = kernel.to(level.dtype).unsqueeze(1)
        level = F.gelu(convolve(level, weight, padding=padding, groups=channels))
        if valid is not None:
            level = torch.where(valid, level, 0)
        gated_sum = gated_sum + gates[..., index].unsqueeze(1) * level

    if valid is None:
        mean = level.mean(spatial_axes, keepdim=True)
    else:
        mean = level.sum(spatial_axes, keepdim=True) / valid.sum(spatial_axes, keepdim=True).clamp(min=1)
    gated_sum = gated_sum + gates[..., -1].unsqueeze(1) * F.gelu(mean)

    if normalize:
        gated_sum = gated_sum / (len(kernels) + 1)
    if valid is not None:
        gated_sum = torch.where(valid, gated_sum, 0)
    return gated_sum.movedim(1, context.ndim - 1).contiguous()


def local_aggregation_reference(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], *, rows: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Compute the levels as above, but the global one, and the sum of the last.

    Arguments and results are those of :func:`focalnets.ops.aggregation.local_aggregation`.
    """
    wanted = slice(*rows)
    level = context.movedim(-1, 1)  # (B, C, *S)
    gated_sum = torch.zeros_like(level[:, :, wanted])
    for index, kernel in enumerate(kernels):
        padding = [size // 2 for size in kernel.shape[1:]]
        weight = kernel.to(level.dtype).unsqueeze(1)
        convolve = _CONVOLUTIONS[context.ndim - 2]
        level = F.gelu(convolve(level, weight, padding=padding, groups=context.shape[-1]))
        gated_sum = gated_sum + gates[:, wanted, ..., index].unsqueeze(1) * level[:, :, wanted]
    sums = level[:, :, wanted].double().flatten(2).sum(2)
    return gated_sum.movedim(1, context.ndim - 1).contiguous(), sums
