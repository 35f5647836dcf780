"""An associative memory beside the levels of causal focal modulation: what stood behind a token like this one before.

Axes: B batch, T positions, C channels, H groups of channels with keys of their own, N channels of a key, D channels of
a group (C = H D), M chunks, Q positions of one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.machine.devices import sum_dtype
from focalnets.models.plain import project
from focalnets.models.sequence_peers import ShortConvolution, at_least_float32

__all__ = ["AssociativeMemory", "MemoryState", "read_written"]

TAPS = 4
"""Taps of the convolution that keys are made from."""

_CHUNK = 64
"""Positions Q that see each other directly; those before them are seen through what they wrote."""

_EPSILON = 1e-6
"""Mean square below which what is read counts as nothing."""


class MemoryState(NamedTuple):
    """What an associative memory carries on; its size does not grow, whatever the length.

    Attributes:
        window: Of the convolution that keys are made from (B, k - 1, C).
        written: Sum over all positions so far of key times value (B, H, N, D), float64 where the device has it.
    """

    window: Tensor
    written: Tensor


class AssociativeMemory(nn.Module):
    """Write every position's context under a key made from the positions before it, and read by a query.

    In each group of channels ``S_t = S_(t-1) + key_t value_t^T``, and the result is ``query_t S_t``, divided by its
    root mean square over the channels of the group, so that its size does not grow with the length. Keys come through a
    short causal convolution: so a value may be written under the token that stood in front of it, and is found when
    that token comes again. Keys and queries have length 1. Linear in T, with a state of N x C numbers.

    Args:
        dim: Channels C.
        keys: Channels N of a key.
        groups: H, which divides C.

    Source: Katharopoulos et al., Transformers are RNNs, ICML 2020 (sums of outer products, here without a feature map);
    Sun et al., Retentive Network, arXiv 2307.08621 (the norm of what is read, and chunks); Arora et al., Zoology, ICLR
    2024 (why keys need a convolution).
    """

    def __init__(self, dim: int, keys: int, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.convolution = ShortConvolution(dim, TAPS)
        self.key_projection = nn.Linear(dim, groups * keys)
        self.query_projection = nn.Linear(dim, groups * keys)
        for layer in (self.key_projection, self.query_projection):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(dim))
            nn.init.zeros_(layer.bias)

    def forward(
        self, tokens: Tensor, context: Tensor, state: MemoryState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, MemoryState]:
        """Write and read.

        Args:
            tokens: (B, T, C), what keys and queries are made from.
            context: (B, T, C), what is written.
            state: What the positions before left behind; None at the beginning.
            mask: Booleans (B, T), True for valid positions. Others write nothing and read zero.

        Returns:
            What is read (B, T, C) in the dtype of ``context``, and the state after the last position.
        """
        convolved, window = self.convolution(tokens, None if state is None else state.window, mask)
        key, query = self._unit(self.key_projection, convolved), self._unit(self.query_projection, tokens)
        if mask is not None:
            left_out = ~mask[..., None, None]
            key, query = key.masked_fill(left_out, 0), query.masked_fill(left_out, 0)
        value = at_least_float32(context).unflatten(-1, (self.groups, -1))
        with torch.autocast(context.device.type, enabled=False):
            read, written = read_written(query, key, value, None if state is None else state.written)
        read = F.rms_norm(read, read.shape[-1:], eps=_EPSILON).flatten(2)
        return read.to(context.dtype), MemoryState(window, written)

    def _unit(self, projection: nn.Linear, tokens: Tensor) -> Tensor:
        """Project tokens (B, T, C) to vectors (B, T, H, N) of length 1."""
        return F.normalize(at_least_float32(project(projection, tokens)).unflatten(-1, (self.groups, -1)), dim=-1)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


def read_written(query: Tensor, key: Tensor, value: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Compute ``query_t S_t`` with ``S_t = S_(t-1) + key_t value_t^T`` at all positions, by chunks: exact, linear in T.

    Args:
        query: (B, T, H, N), float32 or float64.
        key: (B, T, H, N), likewise.
        value: (B, T, H, D), likewise.
        before: ``S`` in front of the first position (B, H, N, D), as it was returned; None for zero.

    Returns:
        (B, T, H, D), and ``S`` after the last position, at which gradients end.
    """
    length = query.shape[1]
    if length == 1:  # continuing a text: one sum, no chunks
        written = (key[:, 0].unsqueeze(-1) * value[:, 0].unsqueeze(-2)).to(sum_dtype(key.device))
        written = written if before is None else written + before
        return (query.transpose(1, 2) @ written.to(query.dtype)).transpose(1, 2), written.detach()
    size = min(_CHUNK, length)
    query, key, value = (
        F.pad(each, (0, 0, 0, 0, 0, -length % size)).unflatten(1, (-1, size)).transpose(2, 3)
        for each in (query, key, value)
    )  # (B, M, H, Q, N or D)
    added = (key.transpose(-1, -2) @ value).to(sum_dtype(key.device))
    written = added.cumsum(1)
    if before is not None:
        written = written + before.unsqueeze(1)
    earlier = (written - added).to(query.dtype)
    read = query @ earlier + (query @ key.transpose(-1, -2)).tril() @ value
    return read.transpose(2, 3).flatten(1, 2)[:, :length], written[:, -1].detach()
