"""Counting operations for :mod:`torch.utils.flop_counter`, alike for all backends."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["convolution_flops"]


def convolution_flops(context: Sequence[int], kernels: Sequence[Sequence[int]]) -> int:
    """Count two operations a multiply-add of depthwise convolutions, as PyTorch counts a convolution.

    Args:
        context: Shape of what is convolved, channels included.
        kernels: Shapes (C, *k); each is applied once.
    """
    return 2 * math.prod(context) * sum(math.prod(kernel[1:]) for kernel in kernels)
