"""Weights as the C++ engine multiplies them: packed into panels, with what surrounds a layer folded into it.

Axes: N outputs, K inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from focalnets.errors import BackendUnavailableError
from focalnets.ops.cpu_library import Engine, Library

__all__ = ["HIDDEN_AT_ONCE", "LAYER_WORDS", "PackedLayer", "fold_norm", "fold_scale"]

HIDDEN_AT_ONCE = 1024
"""Channels of an MLP's widened map that are in cache at once; as in csrc/engine_rows.h."""

LAYER_WORDS = 6


class PackedLayer:
    """A linear layer in the engine's memory; the tensors live as long as this object.

    Args:
        library, engine: Who packs.
        weight: (N, K), any floating dtype.
        bias: (N,), or None for zeros.
        parts: Inputs of each part that is packed and scaled on its own, in order; None takes all at once.
    """

    def __init__(
        self, library: Library, engine: Engine, weight: Tensor, bias: Tensor | None, parts: Sequence[int] | None = None
    ) -> None:
        self.outputs, self.inputs = weight.shape
        padded = -(-self.outputs // engine.panel) * engine.panel
        weight = weight.detach().to("cpu", torch.float32)
        pieces = weight.split(list(parts), 1) if parts else (weight,)
        sizes = [-(-piece.shape[1] // engine.group) * engine.group * padded for piece in pieces]
        bytes_needed = sum(sizes) * engine.element_bytes
        # Vectors of weights are loaded from whole cache lines.
        self._memory = torch.zeros(bytes_needed + 64, dtype=torch.uint8)
        self._first = -self._memory.data_ptr() % 64
        self._biases = aligned_zeros(len(pieces) * padded)
        self._scales, self._offsets = (aligned_zeros(len(pieces) * padded) for _ in range(2))
        if bias is not None:
            self._biases[: self.outputs] = bias.detach()
        place = self._memory.data_ptr() + self._first
        for number, (piece, size) in enumerate(zip(pieces, sizes, strict=True)):
            piece = piece.contiguous()
            scales, offsets = (part[number * padded :].data_ptr() for part in (self._scales, self._offsets))
            status = library.engine_pack(
                engine.index, piece.data_ptr(), self.outputs, piece.shape[1], place, scales, offsets
            )
            if status:
                raise BackendUnavailableError(f"This processor cannot multiply in {engine.precision}.")
            place += size * engine.element_bytes

    def words(self) -> list[int]:
        """Give what ``Layer`` of csrc/engine.h holds."""
        addresses = [tensor.data_ptr() for tensor in (self._biases, self._scales, self._offsets)]
        return [self._memory.data_ptr() + self._first, *addresses, self.outputs, self.inputs]

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights."""
        return self._memory.numel()


def aligned_zeros(count: int) -> Tensor:
    """Allocate float32 zeros that begin with a cache line."""
    whole = torch.zeros(count + 16)
    return whole[-whole.data_ptr() % 64 // 4 :][:count]


def fold_norm(
    weight: Tensor, bias: Tensor | None, factors: Tensor | None, shifts: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Take the factors and shifts (K,) of the norm before a layer (N, K) into the layer, computed in float64."""
    if factors is None:
        return weight, bias
    wide = weight.detach().double()
    moved = wide @ shifts.detach().double() if shifts is not None else wide.new_zeros(len(wide))
    return wide * factors.detach().double(), moved if bias is None else moved + bias.detach().double()


def fold_scale(weight: Tensor, bias: Tensor | None, scale: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Take a factor for each output (N,) into a layer (N, K)."""
    if scale is None:
        return weight, bias
    scale = scale.detach().double()
    return weight.detach().double() * scale[:, None], None if bias is None else bias.detach().double() * scale
