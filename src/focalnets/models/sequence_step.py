"""One token through a whole causal network in one call of the C++ library.

A token is little work: called layer by layer, a small network spends its time between the layers.

Axes: B sequences, C channels, R running levels, V tokens of the vocabulary, N attention heads, P places of what they
keep, D channels of a head, k kernel sizes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from focalnets.models.heads.language import LanguageHead
from focalnets.models.layers import Mlp
from focalnets.models.plain import is_as_built
from focalnets.models.sequence_config import LanguageConfig
from focalnets.models.sequence_layers import (
    AttentionState,
    CausalAttention,
    CausalBlock,
    CausalFocalModulation,
    RememberingState,
)
from focalnets.models.sequence_memory import TAPS, AssociativeMemory
from focalnets.models.sequence_peers import ShortConvolution
from focalnets.ops import cpu_library
from focalnets.ops.causal import CausalState
from focalnets.ops.cpu_call import UNUSED_LEVELS, check_status
from focalnets.ops.eager import has_hooks, is_plain_float32_on_cpu

__all__ = ["FusedStep", "can_fuse"]

FusedState = CausalState | RememberingState | AttentionState
"""Of the blocks that a fused step knows."""

_KINDS = {"mean": 0, "ema": 1, "gated": 2}
_BLOCK_FIELDS = 27 + 2 * cpu_library.MAX_LEVELS
_PLACES = 11
"""Where ``places`` stands among the fields of ``StepNetwork``; ``filled`` follows."""
_FEWEST_PLACES = 256


def can_fuse(network: nn.Module, blocks: nn.ModuleList, embedding: nn.Module, head: nn.Module, state: Any) -> bool:
    """Tell whether calling the layers one by one would do the same as the fused step, and nobody looks on.

    Args:
        network: The whole.
        blocks: Its blocks.
        embedding: Of tokens, at both ends.
        head: Behind the blocks.
        state: After the tokens before.
    """
    if isinstance(cpu_library.load(), str) or has_hooks(network) or "forward" in network.__dict__:
        return False
    layers: list[tuple[Any, type[nn.Module]]] = [(embedding, nn.Embedding), (head, LanguageHead)]
    block: Any
    for block in blocks:
        mixer = block.mixer
        if isinstance(mixer, CausalFocalModulation):
            if mixer.backend == "reference" or len(mixer.kernels) > cpu_library.MAX_LEVELS:
                return False
            layers += [(mixer, CausalFocalModulation), (mixer.modulator_projection, nn.Linear)]
            if mixer.memory is not None:
                layers += [(mixer.memory, AssociativeMemory), (mixer.memory.convolution, ShortConvolution)]
                layers += [(layer, nn.Linear) for layer in (mixer.memory.key_projection, mixer.memory.query_projection)]
            layers += [] if mixer.decay_projection is None else [(mixer.decay_projection, nn.Linear)]
        elif isinstance(mixer, CausalAttention) and mixer.convolution is None:
            layers += [(mixer, CausalAttention)]
        else:
            return False
        layers += [(block, CausalBlock), (block.norm1, nn.LayerNorm), (block.norm2, nn.LayerNorm), (block.mlp, Mlp)]
        linear = (mixer.input_projection, mixer.output_projection, block.mlp.fc1, block.mlp.fc2)
        layers += [(layer, nn.Linear) for layer in linear]
    layers.append((getattr(head, "norm", head), nn.LayerNorm))
    if not all(is_as_built(layer, kind) for layer, kind in layers):
        return False
    held = [entry.keys if isinstance(entry, AttentionState) else _levels_of(entry).running for entry in state]
    return is_plain_float32_on_cpu(*network.parameters()) and all(
        tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64) for tensor in held
    )


def _levels_of(entry: CausalState | RememberingState) -> CausalState:
    return entry.levels if isinstance(entry, RememberingState) else entry


class FusedStep:
    """Reads one token (B,) after the other and gives logits (B, V); holds the state.

    Weights are read where they are; kernels and fixed decays are copied when it is made.

    Args:
        config: Of the network.
        blocks: Its blocks.
        embedding: (V, C), at both ends.
        head: Behind the blocks.
        state: After the tokens before; copied.
    """

    def __init__(
        self,
        config: LanguageConfig,
        blocks: nn.ModuleList,
        embedding: nn.Embedding,
        head: LanguageHead,
        state: Sequence[FusedState],
    ) -> None:
        self._library = cpu_library.required()
        self._kept: list[Any] = [blocks, embedding, head]  # what addresses are taken of must stay
        first = state[0]
        self.count = self._keep(
            first.valid.sum(1) if isinstance(first, AttentionState) else _levels_of(first).count.clone()
        )
        sequences = len(self.count)
        self._tokens = torch.zeros(sequences, dtype=torch.int64)
        self._logits = torch.empty(sequences, config.vocabulary_size)
        self._memory = _Memory(state)
        described = array("q")
        for block, entry in zip(blocks, state, strict=True):
            described.extend(self._describe(block, entry))
        self._blocks = described
        levels = len(config.kernel_sizes)
        self._network = array(
            "q",
            [
                sequences,
                config.dim,
                int(config.dim * config.mlp_ratio),
                config.vocabulary_size,
                len(blocks),
                levels,
                config.scales,
                config.gate_heads,
                _KINDS[config.running],
                torch.get_num_threads(),
                config.attention_heads,
                0,
                0,
                config.memory_keys,
                TAPS,
                *config.kernel_sizes,
                *UNUSED_LEVELS[levels],
                *config.steps,
                *UNUSED_LEVELS[levels],
                described.buffer_info()[0],
                self._keep(embedding.weight).data_ptr(),
                *self._weights(head.norm),
                self._tokens.data_ptr(),
                self.count.data_ptr(),
                self._logits.data_ptr(),
                0,
            ],
        )
        self._address = self._network.buffer_info()[0]

    def __call__(self, tokens: Tensor) -> Tensor:
        """Read a token of each sequence (B,), int64; gives logits (B, V), overwritten by the next call."""
        self._tokens.copy_(tokens)
        memory = self._memory
        if memory.entries:
            if memory.filled == memory.places:
                memory.grow()
            self._network[_PLACES], self._network[_PLACES + 1] = memory.places, memory.filled
            self._network[-1] = memory.valid.data_ptr()
            for index, addresses in memory.addresses():
                self._blocks[(index + 1) * _BLOCK_FIELDS - 2 : (index + 1) * _BLOCK_FIELDS] = addresses
        check_status(self._library.step(self._library.instruction_set, self._address))
        memory.filled += 1
        return self._logits

    def _keep(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().contiguous()
        self._kept.append(tensor)
        return tensor

    def _addresses(self, *tensors: Tensor) -> tuple[int, ...]:
        return tuple(self._keep(tensor).data_ptr() for tensor in tensors)

    def _weights(self, layer: Any) -> tuple[int, int]:
        """Give the addresses of a layer's weight and bias."""
        if layer is None:
            return 0, 0
        return self._keep(layer.weight).data_ptr(), 0 if layer.bias is None else self._keep(layer.bias).data_ptr()

    def _describe(self, block: Any, entry: FusedState) -> list[int]:
        """Fill ``StepBlock`` of csrc/causal_network.h."""
        mixer = block.mixer
        modulates = isinstance(mixer, CausalFocalModulation)
        memory = mixer.memory if modulates else None
        layers = (
            block.norm1, mixer.input_projection, mixer.decay_projection if modulates else None,
            mixer.modulator_projection if modulates else None, mixer.output_projection, block.norm2, block.mlp.fc1,
            block.mlp.fc2, memory and memory.key_projection, memory and memory.query_projection,
        )  # fmt: skip
        weights = [address for layer in layers for address in self._weights(layer)]
        if isinstance(entry, AttentionState):
            return [*weights, *[0] * (_BLOCK_FIELDS - len(weights))]
        levels = _levels_of(entry)
        unused = UNUSED_LEVELS[len(mixer.kernels)]
        decay = None if mixer.rate is None else mixer.decay(mixer.rate, torch.float32)
        remembered: tuple[int, ...] = (0, 0, 0)
        if isinstance(entry, RememberingState):
            window, written = entry.memory
            kernel = mixer.memory.convolution.kernel.t()
            remembered = self._addresses(window.clone(), kernel, written.to(torch.float64, copy=True))
        return [
            *weights,
            *((0,) if decay is None else self._addresses(decay)),
            *self._addresses(levels.running.clone(), *[window.clone() for window in levels.windows]),
            *unused,
            *self._addresses(*[kernel.t() for kernel in mixer.kernels]),
            *unused,
            *remembered,
            0,
            0,
        ]


class _Memory:
    """Keys and values of the blocks that attend, with room for further tokens.

    Attributes:
        entries: By the index of a block its keys and values, (B, N, P, D) each.
        valid: Booleans (B, P).
        filled: Places that are taken.
    """

    def __init__(self, state: Sequence[FusedState]) -> None:
        self.entries: dict[int, tuple[Tensor, Tensor]] = {}
        self.valid, self.filled = torch.zeros(0, 0, dtype=torch.bool), 0
        for index, entry in enumerate(state):
            if isinstance(entry, AttentionState):
                self.entries[index] = (entry.keys, entry.values)
                self.valid, self.filled = entry.valid, entry.keys.shape[2]
        if self.entries:
            self.grow()

    @property
    def places(self) -> int:
        """Tokens that there is room for, P."""
        return self.valid.shape[1]

    def grow(self) -> None:
        """Double the room."""
        places = max(_FEWEST_PLACES, 2 * self.filled)

        def longer(tensor: Tensor, axis: int) -> Tensor:
            grown = tensor.new_zeros([places if index == axis else size for index, size in enumerate(tensor.shape)])
            grown.narrow(axis, 0, self.filled).copy_(tensor.narrow(axis, 0, self.filled))
            return grown

        self.valid = longer(self.valid, 1)
        self.entries = {index: (longer(keys, 2), longer(values, 2)) for index, (keys, values) in self.entries.items()}

    def addresses(self) -> Iterator[tuple[int, array[int]]]:
        """Give the addresses of keys and values by the index of their block."""
        for index, (keys, values) in self.entries.items():
            yield index, array("q", [keys.data_ptr(), values.data_ptr()])
