"""What the blocks of a network of texts take in at each token, read through hooks that are gone afterwards.

Axes: B batch, T tokens, C channels, L levels with the running or global ones and the memory, H groups of channels with
gates of their own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from focalnets.models.layers import FocalModulation
from focalnets.models.sequence import FocalLanguageModel, FocalTextClassifier
from focalnets.models.sequence_layers import CausalFocalModulation
from focalnets.ops.aggregation import focal_aggregation
from focalnets.ops.causal import causal_focal_aggregation

__all__ = ["Listening", "focal_blocks", "level_names", "listen"]

Modulation = CausalFocalModulation | FocalModulation


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Listening:
    """What one block took in at each token of a text; float32.

    Attributes:
        block: Which block, from 0.
        gates: (T, L), signed, as the projection gives them; the mean where groups of channels have gates of their own.
        lengths: (T, L), from 0 up: L2 norm over channels of each level times its gate, which is what it adds.
        modulator: (T,), L2 norm over channels of what multiplies the query.
    """

    block: int
    gates: np.ndarray
    lengths: np.ndarray
    modulator: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """(T, L): the length of each level as a fraction of those of all together."""
        total = self.lengths.sum(1, keepdims=True)
        return np.where(total > 0, self.lengths / np.maximum(total, 1e-30), 1 / self.lengths.shape[1])


@dataclasses.dataclass
class _Record:
    gates: Tensor | None = None
    lengths: Tensor | None = None
    modulator: Tensor | None = None


def focal_blocks(network: nn.Module) -> dict[int, Modulation]:
    """Find the focal modulation of each block that has one; blocks of other kinds, such as attention, are left out."""
    assert isinstance(network, FocalLanguageModel | FocalTextClassifier)
    mixers = [getattr(block, "mixer", getattr(block, "modulation", None)) for block in network.blocks]
    return {index: mixer for index, mixer in enumerate(mixers) if isinstance(mixer, Modulation)}


def level_names(modulation: Modulation, unit: str) -> tuple[str, ...]:
    """Name the levels of a block by how many tokens each sees, the running or global ones last, then the memory.

    Args:
        modulation: Of any block; all blocks of a network have the same levels.
        unit: What tokens are called, e.g. ``characters``.
    """
    sizes = [kernel.shape[-1] for kernel in modulation.kernels]
    steps = modulation.dilations if isinstance(modulation, CausalFocalModulation) else (1,) * len(sizes)
    widths = itertools.accumulate((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    names = [f"{1 + width:,} {unit}" for width in widths]
    if not isinstance(modulation, CausalFocalModulation):
        return (*names, "the whole text")
    running = modulation.levels - len(sizes)
    if modulation.running == "mean":
        names.append("everything so far")
    elif running == 1:
        names.append("a fading past")
    else:
        names += [f"a fading past, {number} of {running}" for number in range(1, running + 1)]
    return (*names, *["what is looked up"] * (modulation.memory is not None))


@contextlib.contextmanager
def listen(network: nn.Module) -> Iterator[Callable[[], tuple[Listening, ...]]]:
    """Look on while a network reads one text.

    Args:
        network: One that continues or classifies texts.

    Yields:
        What gives the records of the last forward pass, a block each, once the network has run on tokens (1, T).
    """
    records = {index: (_Record(), modulation) for index, modulation in focal_blocks(network).items()}
    with contextlib.ExitStack() as hooks:
        for record, modulation in records.values():
            on_input = _projection_hook(record, modulation)
            hooks.callback(modulation.input_projection.register_forward_hook(on_input).remove)
            hooks.callback(modulation.modulator_projection.register_forward_hook(_modulator_hook(record)).remove)
        yield lambda: tuple(_listening(index, record) for index, (record, _) in records.items())


def _listening(block: int, record: _Record) -> Listening:
    assert record.gates is not None
    assert record.lengths is not None
    assert record.modulator is not None
    return Listening(
        block=block, gates=record.gates.numpy(), lengths=record.lengths.numpy(), modulator=record.modulator.numpy()
    )


def _projection_hook(record: _Record, modulation: Modulation) -> Callable[..., None]:
    def hook(_: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        groups = modulation.gate_heads if isinstance(modulation, CausalFocalModulation) else 1
        levels = _levels_with_gates(modulation)
        dim = modulation.dim
        context = output[..., dim : 2 * dim]
        gates = output[..., 2 * dim : 2 * dim + levels * groups].unflatten(-1, (levels, groups))
        lengths = [
            _group_lengths(_level(modulation, arguments[0], context, number), groups) for number in range(levels)
        ]
        added = (gates[0].float() * torch.stack(lengths, 1)).square().sum(-1).sqrt()
        record.gates, record.lengths = _on_cpu(gates[0].float().mean(-1)), _on_cpu(added)

    return hook


def _levels_with_gates(modulation: Modulation) -> int:
    return modulation.gated_levels if isinstance(modulation, CausalFocalModulation) else modulation.focal_levels + 1


def _level(modulation: Modulation, tokens: Tensor, context: Tensor, number: int) -> Tensor:
    """Compute a level (1, T, C) alone: what the aggregation gives under gates that let only it through."""
    levels = _levels_with_gates(modulation)
    if isinstance(modulation, CausalFocalModulation):
        levels = modulation.levels
        if modulation.memory is not None and number == levels:
            read: Tensor = modulation.memory(tokens, context)[0]
            return read
    gates = context.new_zeros(*context.shape[:2], levels)
    gates[..., number] = 1
    kernels = [kernel.to(context.dtype) for kernel in modulation.kernels]
    if isinstance(modulation, FocalModulation):
        return focal_aggregation(context, gates, kernels, normalize=modulation.normalize_modulator)
    decay = modulation.decay(tokens, context.dtype)
    return causal_focal_aggregation(context, gates, kernels, dilations=modulation.dilations, decay=decay)[0]


def _group_lengths(level: Tensor, groups: int) -> Tensor:
    """Compute the L2 norm over each group of channels (T, H) of a level (1, T, C)."""
    return torch.linalg.vector_norm(level[0].float().unflatten(-1, (groups, -1)), dim=-1)


def _modulator_hook(record: _Record) -> Callable[..., None]:
    def hook(_: nn.Module, __: Any, output: Tensor) -> None:
        record.modulator = _on_cpu(torch.linalg.vector_norm(output[0].float(), dim=-1))

    return hook


def _on_cpu(values: Tensor) -> Tensor:
    return values.detach().to("cpu", torch.float32, copy=True)
