"""Graphs of networks that name the class of a whole sequence: texts as tokens, and series of numbers.

Axes: B batch, T positions, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.exporting.graphs import Graph

__all__ = ["SeriesGraph", "TokensGraph"]

_EXAMPLE = (2, 37)
"""Batch and positions that a program is made from; others will do afterwards."""

_LONGEST_COMPARED = 256


class SequenceGraph(Graph):
    """Sequences, and which of their positions count (B, T), to ``logits`` (B, K); subclasses say of what."""

    outputs = ("logits",)
    axes: ClassVar[dict[str, dict[int, str]]] = {"logits": {0: "batch"}}
    on_small_devices = False

    def forward(self, sequences: Tensor, mask: Tensor) -> tuple[Tensor]:
        """Classify sequences (B, T) or (B, T, C)."""
        network: Any = self.network
        # One token more, which does not count: a program would refuse series as short as one, for PyTorch fixes a 1.
        more = network.config.patch
        rest = (0, 0) * (sequences.ndim - 2)
        return (network(F.pad(sequences, (*rest, 0, more)), F.pad(mask, (0, more))),)

    @classmethod
    def example_shape(cls, network: Any) -> tuple[int, ...]:
        """Some positions."""
        return _EXAMPLE

    @classmethod
    def compared_shapes(cls, network: Any, smallest_px: int) -> list[tuple[int, ...]]:
        """As long as the network reads, shorter, and one position."""
        longest = min(network.preprocessing.size, _LONGEST_COMPARED)
        return [(1, longest), (2, max(1, 3 * longest // 4) | 1), (3, 1)]

    @classmethod
    def draw(cls, network: Any, shape: Sequence[int], seed: int = 0) -> tuple[Tensor, ...]:
        """Draw sequences, of which the first is as long as the batch and the others end anywhere."""
        generator = torch.Generator().manual_seed(seed)
        batch, length = shape
        lengths = torch.randint(1, length + 1, (batch, 1), generator=generator)
        lengths[0] = length
        return cls.sequences(network, batch, length, generator), torch.arange(length) < lengths

    @classmethod
    def sequences(cls, network: Any, batch: int, length: int, generator: torch.Generator) -> Tensor:
        """Draw sequences of one length."""
        raise NotImplementedError


class TokensGraph(SequenceGraph):
    """Tokens (B, T) int64 to logits."""

    inputs = ("tokens", "mask")
    input_axes: ClassVar[dict[str, dict[int, str]]] = {
        "tokens": {0: "batch", 1: "positions"}, "mask": {0: "batch", 1: "positions"},
    }  # fmt: skip
    layout = "tokens (batch, positions) int64; mask (batch, positions) bool, false where a text has ended"

    @classmethod
    def sequences(cls, network: Any, batch: int, length: int, generator: torch.Generator) -> Tensor:
        """Draw tokens of the vocabulary."""
        return torch.randint(network.config.vocabulary_size, (batch, length), generator=generator)


class SeriesGraph(SequenceGraph):
    """Series (B, T, C) float32 to logits."""

    by_older_exporter = False  # It cannot follow how a series is cut into patches.
    inputs = ("series", "mask")
    input_axes: ClassVar[dict[str, dict[int, str]]] = {
        "series": {0: "batch", 1: "positions"}, "mask": {0: "batch", 1: "positions"},
    }  # fmt: skip
    layout = (
        "series (batch, positions, channels) float32, (value - mean) / std of each channel, 0 where one is missing; "
        "mask (batch, positions) bool, false where a series has ended"
    )

    @classmethod
    def sequences(cls, network: Any, batch: int, length: int, generator: torch.Generator) -> Tensor:
        """Draw noise."""
        return torch.randn(batch, length, network.config.channels, generator=generator)
