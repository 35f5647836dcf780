"""One token through a whole causal network in one call of the C++ library.

A token is little work: called layer by layer, a small network spends its time between the layers.

Axes: B sequences, C channels, R running levels, V tokens of the vocabulary, k kernel sizes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from focalnets.models.heads.language import LanguageHead
from focalnets.models.layers import Mlp
from focalnets.models.plain import is_as_built
from focalnets.models.sequence_layers import CausalBlock, CausalFocalModulation
from focalnets.ops import cpu_library
from focalnets.ops.causal import CausalState
from focalnets.ops.cpu_call import UNUSED_LEVELS, check_status
from focalnets.ops.eager import has_hooks, is_plain_float32_on_cpu

__all__ = ["FusedStep", "can_fuse"]

_KINDS = {"mean": 0, "ema": 1, "gated": 2}


def can_fuse(network: nn.Module, blocks: nn.ModuleList, embedding: nn.Module, head: nn.Module, state: Any) -> bool:
    """Tell whether calling the layers one by one would do the same as the fused step, and nobody looks on.

    Args:
        network: The whole.
        blocks: Its blocks, none of which may attend.
        embedding: Of tokens, at both ends.
        head: Behind the blocks.
        state: After the tokens before.
    """
    if isinstance(cpu_library.load(), str) or has_hooks(network) or "forward" in network.__dict__:
        return False
    layers: list[tuple[nn.Module, type[nn.Module]]] = [(embedding, nn.Embedding), (head, LanguageHead)]
    for block in blocks:
        if not is_as_built(block, CausalBlock) or not is_as_built(block.mixer, CausalFocalModulation):
            return False
        mixer = block.mixer
        if mixer.backend == "reference" or len(mixer.kernels) > cpu_library.MAX_LEVELS:
            return False
        linear = [mixer.input_projection, mixer.modulator_projection, mixer.output_projection]
        linear += [] if mixer.decay_projection is None else [mixer.decay_projection]
        layers += [(block.norm1, nn.LayerNorm), (block.norm2, nn.LayerNorm), (block.mlp, Mlp)]
        layers += [(layer, nn.Linear) for layer in (*linear, block.mlp.fc1, block.mlp.fc2)]
    if not all(is_as_built(layer, kind) for layer, kind in [*layers, (getattr(head, "norm", head), nn.LayerNorm)]):
        return False
    tensors = [*network.parameters(), *(window for entry in state for window in entry.windows)]
    return is_plain_float32_on_cpu(*[tensor for tensor in tensors if tensor.numel() > 0])


class FusedStep:
    """Reads one token (B,) after the other and gives logits (B, V); holds the state.

    Weights are read where they are; kernels and fixed decays are copied when it is made.

    Args:
        blocks: All of them modulate.
        embedding: (V, C), at both ends.
        head: Behind the blocks.
        state: After the tokens before; copied.
    """

    def __init__(
        self, blocks: nn.ModuleList, embedding: nn.Embedding, head: LanguageHead, state: Sequence[CausalState]
    ) -> None:
        library = cpu_library.load()
        assert not isinstance(library, str)
        self._library = library
        self._kept: list[Any] = [blocks, embedding, head]  # what addresses are taken of must stay
        self.windows = [[self._keep(window.clone()) for window in entry.windows] for entry in state]
        self.running = [self._keep(entry.running.clone()) for entry in state]
        self.count = self._keep(state[0].count.clone())
        vocabulary, channels = embedding.weight.shape
        sequences, first = len(self.count), blocks[0].mixer
        self._tokens = torch.zeros(sequences, dtype=torch.int64)
        self._logits = torch.empty(sequences, vocabulary)
        described = array("q")
        for index, block in enumerate(blocks):
            described.extend(self._describe(block, index))
        unused = UNUSED_LEVELS[len(first.kernels)]
        self._blocks = described
        self._network = array(
            "q",
            [
                sequences,
                channels,
                blocks[0].mlp.fc1.out_features,
                vocabulary,
                len(blocks),
                len(first.kernels),
                self.running[0].shape[1],
                first.gate_heads,
                _KINDS[first.running],
                torch.get_num_threads(),
                *[kernel.shape[1] for kernel in first.kernels],
                *unused,
                *first.dilations,
                *unused,
                described.buffer_info()[0],
                self._keep(embedding.weight).data_ptr(),
                *self._weights(head.norm),
                self._tokens.data_ptr(),
                self.count.data_ptr(),
                self._logits.data_ptr(),
            ],
        )
        self._address = self._network.buffer_info()[0]

    def __call__(self, tokens: Tensor) -> Tensor:
        """Read a token of each sequence (B,), int64; gives logits (B, V), overwritten by the next call."""
        self._tokens.copy_(tokens)
        check_status(self._library.step(self._library.instruction_set, self._address))
        return self._logits

    def _keep(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().contiguous()
        self._kept.append(tensor)
        return tensor

    def _weights(self, layer: nn.Module | None) -> tuple[int, int]:
        """Give the addresses of a layer's weight and bias."""
        if layer is None:
            return 0, 0
        return self._keep(layer.weight).data_ptr(), 0 if layer.bias is None else self._keep(layer.bias).data_ptr()

    def _describe(self, block: CausalBlock, index: int) -> list[int]:
        """Fill ``StepBlock`` of csrc/causal_network.h."""
        mixer = block.mixer
        assert isinstance(mixer, CausalFocalModulation)
        unused = UNUSED_LEVELS[len(mixer.kernels)]
        decay = None if mixer.rate is None else mixer.decay(mixer.rate, torch.float32)
        layers = (
            block.norm1, mixer.input_projection, mixer.decay_projection, mixer.modulator_projection,
            mixer.output_projection, block.norm2, block.mlp.fc1, block.mlp.fc2,
        )  # fmt: skip
        return [
            *[address for layer in layers for address in self._weights(layer)],
            0 if decay is None else self._keep(decay).data_ptr(),
            self.running[index].data_ptr(),
            *[window.data_ptr() for window in self.windows[index]],
            *unused,
            *[self._keep(kernel.t()).data_ptr() for kernel in mixer.kernels],
            *unused,
        ]
