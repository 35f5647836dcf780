"""How GPU kernels cut long sequences of causal focal aggregation: by shapes only, and known without triton.

Axes: B sequences, T positions, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = ["chunk_of", "chunks_of", "warm_up_of"]

SHORTEST, LONGEST = 64, 256
"""Positions of a chunk."""

_ENOUGH = 1024
"""Blocks of 64 channels of a chunk that keep a large GPU busy."""


def warm_up_of(reach: Sequence[int]) -> int:
    """Count the positions in front of a chunk that its first result depends on, given what each kernel reaches back."""
    return sum(reach)


def chunk_of(context: Tensor, warm_up: int) -> int:
    """Choose the positions of a chunk for a context (B, T, C): as long as there are enough of them."""
    batch, length, channels = context.shape
    chunk = LONGEST
    while chunk > SHORTEST and batch * -(-length // chunk) * -(-channels // 64) < _ENOUGH:
        chunk //= 2
    return max(chunk, warm_up)


def chunks_of(context: Tensor, warm_up: int) -> int:
    """Count the chunks of a context (B, T, C)."""
    return -(-context.shape[1] // chunk_of(context, warm_up))
