"""Inference of a block on a CPU, one group of tokens after another.

Only the aggregation needs all tokens at once. Everything else of a block takes them one by one, so it can go by groups
that are small enough for the maps between its layers to stay in cache. The result is that of the plain way, up to the
order of sums.

Axes: B batch, *S spatial axes, C channels, L focal levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from focalnets.models.plain import is_as_built, is_plain_linear, project
from focalnets.ops.eager import has_hooks, is_rewritten
from focalnets.ops.linear import linear
from focalnets.ops.mlp import hidden_rows

if TYPE_CHECKING:
    from focalnets.models.drop_path import StochasticDepth

__all__ = ["Block", "finish_block", "goes_by_rows", "project_context", "refine_by_rows"]


class Block(Protocol):
    """What a residual block must offer. Its steps take any of the tokens (..., C), the modulation all (B, *S, C)."""

    training: bool
    norm1: nn.LayerNorm
    norm2: nn.LayerNorm
    modulation: Any
    mlp: Any
    drop_path: StochasticDepth

    def add_modulation(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Add the whole branch of the modulation."""

    def prepare_tokens(self, tokens: Tensor) -> Tensor:
        """Give what the modulation receives."""

    def add_modulated(self, tokens: Tensor, modulated: Tensor) -> Tensor:
        """Add what the modulation returned."""

    def add_mlp(self, tokens: Tensor) -> Tensor:
        """Add the whole branch of the MLP."""


def goes_by_rows(block: Block, tokens: Tensor, mlp: type[nn.Module]) -> bool:
    """Tell whether this is inference on a CPU with more tokens than the MLP widens at once, and all as it was built.

    Args:
        block: The block.
        tokens: (B, *S, C).
        mlp: The class whose MLP may be given any of the tokens.
    """
    # Compilers and tracers come first: they would take a comparison of sizes for a condition of theirs.
    if is_rewritten() or torch.is_grad_enabled() or block.training:
        return False
    return (
        tokens.device.type == "cpu"
        and is_as_built(block.norm2, nn.LayerNorm)
        and is_as_built(block.mlp, mlp)
        and is_plain_linear(block.mlp.fc1)
        and is_plain_linear(block.mlp.fc2)
        and not (block.mlp.dropout.training or block.drop_path.training)
        and not (has_hooks(block.mlp.dropout) or has_hooks(block.drop_path))
        and tokens[..., 0].numel() > hidden_rows(block.mlp.fc1.out_features)
    )


def _modulation_goes_by_rows(block: Block, kind: type[nn.Module]) -> bool:
    """Tell the same of the modulation, whose parts are then called one by one."""
    modulation = block.modulation
    return (
        not torch.is_autocast_enabled("cpu")
        and is_as_built(block.norm1, nn.LayerNorm)
        and is_as_built(modulation, kind)
        and is_plain_linear(modulation.input_projection)
        and is_plain_linear(modulation.modulator_projection)
        and is_plain_linear(modulation.output_projection)
        and (modulation.norm is None or is_as_built(modulation.norm, nn.LayerNorm))
        and not (modulation.dropout.training or has_hooks(modulation.dropout))
        and type(modulation.input_projection.weight) is nn.Parameter
        and modulation.input_projection.bias is not None
    )


def refine_by_rows(block: Block, tokens: Tensor, mask: Tensor | None, modulation: type[nn.Module]) -> Tensor:
    """Compute a block for which :func:`goes_by_rows` holds.

    Args:
        block: The block.
        tokens: (B, *S, C).
        mask: Booleans (B, *S), True for valid tokens, or None if all are.
        modulation: The class whose modulation may be taken apart; any other gets all tokens at once.

    Returns:
        (B, *S, C), contiguous.
    """
    rows = hidden_rows(block.mlp.fc1.out_features)
    if not _modulation_goes_by_rows(block, modulation):
        refined = block.add_modulation(tokens, mask)
        result = torch.empty_like(refined, memory_format=torch.contiguous_format)
        for out, group in zip(_groups(result, rows), _groups(refined, rows), strict=True):
            out.copy_(block.add_mlp(group))
        return result
    tokens = tokens.contiguous()
    aggregated = block.modulation.aggregate(project_context(block, tokens), mask)
    return finish_block(block, tokens, aggregated.contiguous())


def project_context(block: Block, tokens: Tensor) -> Tensor:
    """Compute what the aggregation of a block takes: context and gates (B, *S, C + L + 1) of tokens (B, *S, C)."""
    focal = block.modulation
    result: Tensor | None = None
    first = 0
    for group in _groups(tokens, hidden_rows(block.mlp.fc1.out_features)):
        part = _part_of(focal.input_projection, block.prepare_tokens(group), slice(focal.dim, None))
        if result is None:
            result = part.new_empty(*tokens.shape[:-1], part.shape[-1])
        result.flatten(0, -2)[first : first + len(part)] = part
        first += len(part)
    assert result is not None
    return result


def finish_block(block: Block, tokens: Tensor, aggregated: Tensor) -> Tensor:
    """Compute the block's result for some of its tokens, from what their aggregation gave.

    Args:
        block: The block.
        tokens: What the block received, (B, *S, C), contiguous.
        aggregated: Their context (B, *S, C), contiguous; overwritten by the result.
    """
    rows = hidden_rows(block.mlp.fc1.out_features)
    for out, group in zip(_groups(aggregated, rows), _groups(tokens, rows), strict=True):
        modulated = _modulate(block, group, out)
        out.copy_(block.add_mlp(block.add_modulated(group, modulated)))
    return aggregated


def _modulate(block: Block, tokens: Tensor, aggregated: Tensor) -> Tensor:
    """Give what the modulation makes of some of the tokens (N, C) and their aggregated context (N, C)."""
    focal = block.modulation
    query = _part_of(focal.input_projection, block.prepare_tokens(tokens), slice(focal.dim))
    return focal.project_out(query * project(focal.modulator_projection, aggregated))


def _part_of(layer: nn.Module, tokens: Tensor, part: slice) -> Tensor:
    """Compute some of the outputs of a linear layer; all of them where it is more than that."""
    if is_plain_linear(layer) and type(layer.weight) is nn.Parameter and layer.bias is not None:
        return linear(tokens, layer.weight[part], layer.bias[part])
    return layer(tokens)[..., part]


def _groups(tokens: Tensor, most: int) -> Sequence[Tensor]:
    """Split tokens (B, *S, C) into as few views (N, C) of about the same size as hold at most ``most`` each."""
    count = tokens[..., 0].numel()
    return tokens.flatten(0, -2).split(math.ceil(count / math.ceil(count / most)))
