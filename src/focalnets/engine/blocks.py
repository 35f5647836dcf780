"""Blocks and patch embeddings in the engine's memory, and the calls that run them.

Axes: B batch, H W height and width [tokens], C channels, L focal levels.
"""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

from focalnets.engine.packing import HIDDEN_AT_ONCE, PackedLayer, aligned_zeros, fold_norm, fold_scale
from focalnets.models.embedding import PatchEmbedding
from focalnets.models.layers import FocalBlock
from focalnets.ops.aggregation import focal_aggregation
from focalnets.ops.cpu_library import Engine, Library

__all__ = ["PackedBlock", "PackedEmbedding", "refine"]

_NO_NORM = [0, 0]


class PackedNorm:
    """Factors and shifts (C,) of a norm that stands after its branch, in float32."""

    def __init__(self, weight: Tensor, bias: Tensor, scale: Tensor | None = None) -> None:
        factor = 1 if scale is None else scale.detach().double()
        self._weight, self._bias = (aligned_zeros(len(weight) + 16) for _ in range(2))
        self._weight[: len(weight)] = weight.detach().double() * factor
        self._bias[: len(bias)] = bias.detach().double() * factor

    def words(self) -> list[int]:
        """Give what ``Norm`` of csrc/engine.h holds."""
        return [self._weight.data_ptr(), self._bias.data_ptr()]


class PackedBlock:
    """A block whose layers the engine multiplies; later changes of the block's weights are not seen."""

    def __init__(self, library: Library, engine: Engine, block: FocalBlock) -> None:
        focal, before = block.modulation, not block.post_norm
        weight: Tensor
        bias: Tensor | None
        widen_weight: Tensor
        widen_bias: Tensor | None
        output_weight: Tensor
        output_bias: Tensor | None
        narrow_weight: Tensor
        narrow_bias: Tensor | None
        self.channels, self.levels = focal.dim, focal.focal_levels
        self.normalize = focal.normalize_modulator
        self.kernels = [
            kernel.detach().float().clone(memory_format=torch.contiguous_format) for kernel in focal.kernels
        ]
        scale1, scale2 = block.layer_scale1, block.layer_scale2
        weight, bias = focal.input_projection.weight, focal.input_projection.bias
        widen_weight, widen_bias = block.mlp.fc1.weight, block.mlp.fc1.bias
        output_weight, output_bias = focal.output_projection.weight, focal.output_projection.bias
        narrow_weight, narrow_bias = block.mlp.fc2.weight, block.mlp.fc2.bias
        if focal.norm is not None:
            output_weight, output_bias = fold_norm(output_weight, output_bias, focal.norm.weight, focal.norm.bias)
        if before:
            weight, bias = fold_norm(weight, bias, block.norm1.weight, block.norm1.bias)
            widen_weight, widen_bias = fold_norm(widen_weight, widen_bias, block.norm2.weight, block.norm2.bias)
            output_weight, output_bias = fold_scale(output_weight, output_bias, scale1)
            narrow_weight, narrow_bias = fold_scale(narrow_weight, narrow_bias, scale2)

        def packed(weight: Tensor, bias: Tensor | None) -> PackedLayer:
            return PackedLayer(library, engine, weight, bias)

        dim, hidden = focal.dim, block.mlp.fc1.out_features
        parts = [min(HIDDEN_AT_ONCE, hidden - first) for first in range(0, hidden, HIDDEN_AT_ONCE)]
        self._layers = [
            packed(weight[:dim], None if bias is None else bias[:dim]),
            packed(weight[dim:], None if bias is None else bias[dim:]),
            packed(focal.modulator_projection.weight, focal.modulator_projection.bias),
            packed(output_weight, output_bias),
            packed(widen_weight, widen_bias),
            PackedLayer(library, engine, narrow_weight, narrow_bias, parts),
        ]
        self._norms: list[PackedNorm] = []
        if not before:
            self._norms = [
                PackedNorm(block.norm1.weight, block.norm1.bias, scale1),
                PackedNorm(block.norm2.weight, block.norm2.bias, scale2),
            ]
        norms = [word for norm in self._norms for word in norm.words()] or [*_NO_NORM, *_NO_NORM]
        words = [word for layer in self._layers for word in layer.words()]
        self._words = array("q", [*words, *norms, int(not before), int(focal.norm is not None)])

    @property
    def address(self) -> int:
        """Where ``Block`` of csrc/engine.h lies."""
        return self._words.buffer_info()[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights."""
        return sum(layer.nbytes for layer in self._layers)


class PackedEmbedding:
    """A patch embedding without overlap, from images or a finer map; completes with zeros at the edges."""

    def __init__(self, library: Library, engine: Engine, embedding: PatchEmbedding) -> None:
        self._library, self._engine = library, engine
        convolution = embedding.projection
        self.stride = convolution.stride[0]
        weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)  # Inputs as they lie in channels-last maps.
        self._layer = PackedLayer(library, engine, weight, convolution.bias)
        self._norm = PackedNorm(embedding.norm.weight, embedding.norm.bias)

    def __call__(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Embed (B, C, H, W), float32, of any strides, into tokens (B, ceil(H/stride), ceil(W/stride), D)."""
        batch, channels, height, width = features.shape
        image_stride, channel_stride, row_stride, column_stride = features.stride()
        down, across = -(-height // self.stride), -(-width // self.stride)
        tokens = torch.empty(batch, down, across, self._layer.outputs)
        mask = None if mask is None else mask.contiguous()
        words = array(
            "q",
            [
                *(batch, height, width, channels, torch.get_num_threads(), self.stride),
                *(image_stride, row_stride, column_stride, channel_stride),
                *(features.data_ptr(), 0 if mask is None else mask.data_ptr()),
                *self._layer.words(),
                *self._norm.words(),
                *(1, tokens.data_ptr()),
            ],
        )
        check(self._library.engine_embed(self._engine.index, words.buffer_info()[0]))
        return tokens


def refine(library: Library, engine: Engine, blocks: list[PackedBlock], tokens: Tensor, mask: Tensor | None) -> None:
    """Refine tokens (B, H, W, C), float32 and contiguous, in place by the blocks of a stage; ``mask`` is (B, H, W)."""
    *positions, channels = tokens.shape
    query = torch.empty_like(tokens)
    levels = max(block.levels for block in blocks)
    stride = -(-(channels + levels + 1) // 16) * 16
    context = torch.empty(*positions, stride)
    rows, threads = tokens.numel() // channels, torch.get_num_threads()

    def run(done: PackedBlock | None, following: PackedBlock | None, gathered: Tensor | None) -> None:
        words = array(
            "q",
            [
                *(rows, channels, threads, stride),
                *(block.address if block is not None else 0 for block in (done, following)),
                *(tokens.data_ptr(), 0 if gathered is None else gathered.data_ptr()),
                *(query.data_ptr(), context.data_ptr()),
            ],
        )
        check(library.engine_rows(engine.index, words.buffer_info()[0]))

    run(None, blocks[0], None)
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        gates = context[..., channels : channels + block.levels + 1]
        gathered = focal_aggregation(
            context[..., :channels], gates, block.kernels, normalize=block.normalize, mask=mask, backend="cpu"
        )
        run(block, following, gathered)


def check(status: int) -> None:
    """Turn the status of a call into an error."""
    if status == 1:
        raise MemoryError("The engine could not allocate its scratch memory; use smaller images or batches.")
    if status:
        raise RuntimeError(f"The engine cannot run on this processor (status {status}).")
