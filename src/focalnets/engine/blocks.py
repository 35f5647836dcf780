"""The stages of a network in the engine's memory.

Axes: B batch, H W height and width of the features, h w [tokens], C channels of the features, D of the tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from focalnets.engine.packing import Packing, fold_norm, fold_scale
from focalnets.models.embedding import PatchEmbedding
from focalnets.models.layers import FocalBlock
from focalnets.ops.cpu_library import Engine, Library
from focalnets.ops.engine_stage import engine_stage

__all__ = ["PackedStage"]

_NO_NORM = [0, 0]


class PackedStage(nn.Module):
    """The blocks of a stage, and its embedding of patches that do not overlap, in one call of the engine.

    Later changes of their weights are not seen.

    Args:
        library, engine: Who packs and computes.
        embedding: Turns features into tokens, or None if tokens come in.
        blocks: At least one; all of the same width.
    """

    packed: Tensor
    layout: Tensor

    def __init__(
        self, library: Library, engine: Engine, embedding: PatchEmbedding | None, blocks: Iterable[FocalBlock]
    ) -> None:
        super().__init__()
        blocks = list(blocks)
        self.engine = engine.name
        self.channels = blocks[0].modulation.dim
        self.stride = 0 if embedding is None else embedding.projection.stride[0]
        packing = Packing(library, engine)
        words = [self.stride, self.channels, len(blocks)]
        if embedding is not None:
            weight = embedding.projection.weight.permute(0, 2, 3, 1).flatten(1)  # Inputs as in channels-last maps.
            words += packing.layer(weight, embedding.projection.bias)
            words += packing.norm(embedding.norm.weight, embedding.norm.bias)
        for block in blocks:
            words += _pack_block(packing, block)
        self.register_buffer("packed", packing.memory(), persistent=False)
        self.register_buffer("layout", torch.tensor(words), persistent=False)

    def forward(self, features: Tensor, mask: Tensor | None, token_mask: Tensor | None) -> Tensor:
        """Compute tokens (B, h, w, D), see :func:`focalnets.ops.engine_stage.engine_stage`."""
        return engine_stage(
            features, mask, token_mask, self.packed, self.layout, self.stride, self.channels, self.engine
        )


def _pack_block(packing: Packing, block: FocalBlock) -> list[int]:
    """Pack a block; returns what Reader of csrc/engine_stage.cpp reads as one."""
    focal, before = block.modulation, not block.post_norm
    weight: Tensor
    bias: Tensor | None
    widen_weight: Tensor
    widen_bias: Tensor | None
    output_weight: Tensor
    output_bias: Tensor | None
    narrow_weight: Tensor
    narrow_bias: Tensor | None
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
    modulator = focal.modulator_projection.weight.detach().double()
    if focal.normalize_modulator:
        modulator = modulator / (focal.focal_levels + 1)

    words: list[int] = []
    for rows in (slice(focal.dim), slice(focal.dim, 2 * focal.dim), slice(2 * focal.dim, None)):
        words += packing.layer(weight[rows], None if bias is None else bias[rows])
    words += packing.layer(modulator, focal.modulator_projection.bias)
    words += packing.layer(output_weight, output_bias)
    words += packing.layer(widen_weight, widen_bias)
    words += packing.layer(narrow_weight, narrow_bias, in_parts=True)
    if before:
        words += [*_NO_NORM, *_NO_NORM]
    else:
        words += packing.norm(block.norm1.weight, block.norm1.bias, scale1)
        words += packing.norm(block.norm2.weight, block.norm2.bias, scale2)
    words += [int(not before), int(focal.norm is not None), focal.focal_levels]
    for kernel in focal.kernels:
        words += [packing.numbers(kernel), *kernel.shape[1:]]
    return words
