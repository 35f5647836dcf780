"""Weights as the C++ engine multiplies them: packed into panels, with what surrounds a layer folded into it.

Axes: N outputs, K inputs of a layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from focalnets.errors import BackendUnavailableError
from focalnets.ops.cpu_library import Engine, Library

__all__ = ["Packing", "fold_norm", "fold_scale"]

_HIDDEN_AT_ONCE = 1024
"""Channels of an MLP's widened map that are in cache at once; as in csrc/engine_rows.h."""

_LINE = 64
"""Bytes of a cache line, from which every piece begins."""


class Packing:
    """Weights on their way into one block of memory, in which places are counted in bytes.

    Args:
        library, engine: Who packs.
    """

    def __init__(self, library: Library, engine: Engine) -> None:
        self._library, self._engine = library, engine
        self._pieces: list[Tensor] = []
        self._size = _LINE  # Place 0 stands for nothing.

    def memory(self) -> Tensor:
        """Join everything to one tensor, uint8."""
        whole = torch.zeros(self._size, dtype=torch.uint8)
        first = _LINE
        for piece in self._pieces:
            whole[first : first + len(piece)] = piece
            first += -(-len(piece) // _LINE) * _LINE
        return whole

    def numbers(self, values: Tensor, count: int | None = None) -> int:
        """Add float32 numbers, in order and completed with zeros to ``count``; returns their place."""
        flat = torch.zeros(values.numel() if count is None else count)
        flat[: values.numel()] = values.detach().flatten()
        return self._add(flat)

    def layer(self, weight: Tensor, bias: Tensor | None, *, in_parts: bool = False) -> list[int]:
        """Add a linear layer.

        Args:
            weight: (N, K), any floating dtype.
            bias: (N,), or None for zeros.
            in_parts: Whether inputs are packed and scaled by parts, as many as are multiplied at once.

        Returns:
            What Reader of csrc/engine_stage.cpp reads as a layer.
        """
        engine = self._engine
        outputs, inputs = weight.shape
        padded = -(-outputs // engine.panel) * engine.panel
        pieces = weight.detach().to("cpu", torch.float32).split(_HIDDEN_AT_ONCE if in_parts else inputs, 1)
        sizes = [-(-piece.shape[1] // engine.group) * engine.group * padded for piece in pieces]
        packed = torch.zeros(sum(sizes) * engine.element_bytes, dtype=torch.uint8)
        scales, offsets = torch.zeros(2, len(pieces) * padded)
        place = packed.data_ptr()
        for number, (piece, size) in enumerate(zip(pieces, sizes, strict=True)):
            piece = piece.contiguous()
            written = (part[number * padded :].data_ptr() for part in (scales, offsets))
            if self._library.engine_pack(engine.index, piece.data_ptr(), outputs, piece.shape[1], place, *written):
                raise BackendUnavailableError(f"This processor cannot multiply in {engine.precision}.")
            place += size * engine.element_bytes
        scaled = [self._add(scales), self._add(offsets)] if engine.precision == "int8" else [0, 0]
        biases = self.numbers(torch.zeros(0) if bias is None else bias, len(pieces) * padded)
        return [self._add(packed), biases, *scaled, outputs, inputs]

    def norm(self, weight: Tensor, bias: Tensor, scale: Tensor | None = None) -> list[int]:
        """Add factors and shifts (N,) of a norm that comes last, and the layer scale behind it.

        Returns:
            What Reader of csrc/engine_stage.cpp reads as a norm.
        """
        factor = 1 if scale is None else scale.detach().double()
        return [self.numbers(part.detach().double() * factor) for part in (weight, bias)]

    def _add(self, piece: Tensor) -> int:
        self._pieces.append(piece.view(torch.uint8))
        place = self._size
        self._size += -(-len(self._pieces[-1]) // _LINE) * _LINE
        return place


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
