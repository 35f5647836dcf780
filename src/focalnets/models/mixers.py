"""Other ways of mixing tokens, for networks that differ from a FocalNet in nothing else.

Every mixer takes tokens (B, H, W, C) and returns as many, so that it can stand where :class:`FocalModulation` stands in
a block. Axes: B batch, H W height and width [tokens], C channels, N heads, D channels of a head, L focal levels.

Source: Yang et al., Focal Modulation Networks, NeurIPS 2022, ablations; Yu et al., MetaFormer, CVPR 2022 (pooling).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.errors import ConfigError, ShapeError
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import FocalBlock, FocalModulation
from focalnets.ops.aggregation import focal_aggregation

__all__ = [
    "AlteredModulation",
    "DepthwiseConvolution",
    "GlobalAttention",
    "MixerBuilder",
    "MultiScaleAttention",
    "NeighbourhoodPooling",
    "SlidingAttention",
    "WindowedAttention",
    "replace_mixers",
]

MixerBuilder = Callable[[FocalModulation], nn.Module]
"""Makes the mixer that takes the place of a focal modulation, from its ``dim`` and ``kernels``."""

_HEAD_DIM = 32


def replace_mixers(network: FocalNet, build: MixerBuilder) -> FocalNet:
    """Put another mixer into every block of ``network``, drawn as ``config.initialization`` says; returns it."""
    for block in network.modules():
        if isinstance(block, FocalBlock):
            block.modulation = build(block.modulation)  # type: ignore[assignment]
    network.reset_parameters()
    return network


class AlteredModulation(nn.Module):
    """Focal modulation with one thing changed.

    Args:
        dim: Channels C.
        window: Kernel size of the first level [tokens], odd.
        levels: Focal levels L, 1 or more.
        combine: How the modulator meets the query: ``multiply`` as in the paper, or ``add``.
        gates: ``all`` L + 1 levels are gated; ``none``, all are summed as they are; ``no_global``, the global level is
            left out; ``top``, only focal level L is used, with its gate.
        kernels: ``learnt``, or ``average`` for the mean of the window.
    """

    def __init__(
        self,
        dim: int,
        levels: int,
        window: int,
        *,
        combine: Literal["multiply", "add"] = "multiply",
        gates: Literal["all", "none", "no_global", "top"] = "all",
        kernels: Literal["learnt", "average"] = "learnt",
    ) -> None:
        super().__init__()
        if levels < 1:
            raise ConfigError(f"AlteredModulation needs at least one focal level, got {levels}.")
        self.dim, self.combine, self.gates = dim, combine, gates
        self.gate_count = {"all": levels + 1, "none": 0, "no_global": levels, "top": 1}[gates]
        # Gates of levels that are not used are 0: so many before and behind those that are.
        self.unused = {"no_global": (0, 1), "top": (levels - 1, 1)}.get(gates, (0, 0))
        self.input_projection = nn.Linear(dim, 2 * dim + self.gate_count)
        sizes = [window + 2 * level for level in range(levels)]
        self.kernels = nn.ParameterList(_kernel(dim, size, learnt=kernels == "learnt") for size in sizes)
        self.modulator_projection = nn.Linear(dim, dim)
        self.output_projection = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Modulate tokens (B, H, W, C); ``mask`` (B, H, W) marks the valid ones."""
        query, context, gates = self.input_projection(tokens).split((self.dim, self.dim, self.gate_count), -1)
        if self.gates == "none":
            gates = context.new_ones((*context.shape[:-1], len(self.kernels) + 1))
        elif any(self.unused):
            gates = F.pad(gates, self.unused)
        kernels = [kernel.to(context.dtype) for kernel in self.kernels]
        modulator = self.modulator_projection(focal_aggregation(context, gates, kernels, mask=mask))
        return self.output_projection(query + modulator if self.combine == "add" else query * modulator)


class DepthwiseConvolution(nn.Module):
    """The stack of depthwise convolutions of focal modulation between linear layers: no gates, no modulation.

    The stack runs on the kernels of focal modulation, with a gate of 1 on its top and of 0 everywhere else.
    """

    def __init__(self, dim: int, levels: int, window: int) -> None:
        super().__init__()
        self.input_projection = nn.Linear(dim, dim)
        self.kernels = nn.ParameterList(_kernel(dim, window + 2 * level) for level in range(levels))
        self.hidden_projection = nn.Linear(dim, dim)
        self.output_projection = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix tokens (B, H, W, C); ``mask`` (B, H, W) marks the valid ones."""
        context = self.input_projection(tokens)
        gates = context.new_zeros((*context.shape[:-1], len(self.kernels) + 1))
        gates[..., -2] = 1
        kernels = [kernel.to(context.dtype) for kernel in self.kernels]
        top = focal_aggregation(context, gates, kernels, mask=mask)
        return self.output_projection(F.gelu(self.hidden_projection(top)))


class NeighbourhoodPooling(nn.Module):
    """The mean of the neighbours less the token itself (PoolFormer); learns nothing."""

    def __init__(self, window: int = 3) -> None:
        super().__init__()
        self.window = window

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix tokens (B, H, W, C)."""
        _refuse_mask(mask)
        features = tokens.permute(0, 3, 1, 2)
        pooled = F.avg_pool2d(features, self.window, 1, self.window // 2, count_include_pad=False)
        return (pooled - features).permute(0, 2, 3, 1)


class _Attention(nn.Module):
    """Linear layers of a self-attention with heads of 32 channels, or one head where these do not divide C."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = dim // _HEAD_DIM if dim % _HEAD_DIM == 0 else 1
        self.input_projection = nn.Linear(dim, 3 * dim)
        self.output_projection = nn.Linear(dim, dim)


class GlobalAttention(_Attention):
    """Self-attention among all tokens."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix tokens (B, H, W, C)."""
        _refuse_mask(mask)
        return self.output_projection(_attend(self.input_projection(tokens).flatten(1, 2), self.heads)).view_as(tokens)


class WindowedAttention(_Attention):
    """Self-attention within windows that do not overlap; those at the lower and right edge may be smaller."""

    def __init__(self, dim: int, window: int = 7) -> None:
        super().__init__(dim)
        self.window = window

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix tokens (B, H, W, C)."""
        _refuse_mask(mask)
        batch, height, width, _ = tokens.shape
        side = self.window
        lower, right = -height % side, -width % side
        projected = F.pad(self.input_projection(tokens), (0, 0, 0, right, 0, lower))
        rows, columns = (height + lower) // side, (width + right) // side
        windows = projected.unflatten(1, (rows, side)).unflatten(3, (columns, side)).transpose(2, 3)
        valid = None
        if lower or right:
            inside = F.pad(tokens.new_ones((height, width), dtype=torch.bool), (0, right, 0, lower))
            inside = inside.unflatten(0, (rows, side)).unflatten(2, (columns, side)).transpose(1, 2)
            valid = inside.reshape(rows * columns, 1, 1, side * side).repeat(batch, 1, 1, 1)
        mixed = _attend(windows.reshape(-1, side * side, projected.shape[-1]), self.heads, valid)
        mixed = mixed.view(batch, rows, columns, side, side, -1).transpose(2, 3).flatten(1, 2).flatten(2, 3)
        return self.output_projection(mixed[:, :height, :width])


class SlidingAttention(_Attention):
    """Self-attention of every token to the window around it.

    Tokens are taken in square blocks; each block attends to itself and its surroundings at once, and a mask leaves to
    each token its own window.
    """

    def __init__(self, dim: int, window: int = 7) -> None:
        super().__init__(dim)
        self.window = window

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix tokens (B, H, W, C)."""
        _refuse_mask(mask)
        batch, height, width, dim = tokens.shape
        reach, block = self.window // 2, min(self.window, height, width)
        around = block + 2 * reach
        lower, right = -height % block, -width % block
        rows, columns = (height + lower) // block, (width + right) // block

        def in_windows(features: Tensor, side: int) -> Tensor:
            """Cut (N, C, H, W) into squares, one a block: (N rows columns, side^2, C)."""
            edge = (side - block) // 2
            padded = F.pad(features, (edge, right + edge, edge, lower + edge))
            squares = F.unfold(padded, side, stride=block).unflatten(1, (features.shape[1], side**2))
            return squares.permute(0, 3, 2, 1).flatten(0, 1)

        projected = self.input_projection(tokens).permute(0, 3, 1, 2)
        query = in_windows(projected[:, :dim], block).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        keys_and_values = in_windows(projected[:, dim:], around).unflatten(-1, (2, self.heads, -1))
        keys, values = keys_and_values.permute(2, 0, 3, 1, 4)
        inside = in_windows(tokens.new_ones((1, 1, height, width)), around).squeeze(-1) > 0
        near = _within(block, around, reach, tokens.device) & inside.unsqueeze(1)
        # What lies beyond the lower or right edge attends too, to anything, and is cut away below.
        near = near | ~near.any(-1, keepdim=True)
        near = near.unsqueeze(1).repeat(batch, 1, 1, 1)
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=near).transpose(1, 2).flatten(2)
        mixed = mixed.view(batch, rows, columns, block, block, dim).transpose(2, 3).flatten(1, 2).flatten(2, 3)
        return self.output_projection(mixed[:, :height, :width])


class MultiScaleAttention(nn.Module):
    """Attention of every token to the L + 1 levels of context at its own place, in place of gates and modulation.

    ``projects_first``: keys and values are projected before they are aggregated (QKV first), otherwise behind.
    """

    def __init__(self, dim: int, levels: int, window: int, *, projects_first: bool) -> None:
        super().__init__()
        self.projects_first = projects_first
        self.heads = dim // _HEAD_DIM if dim % _HEAD_DIM == 0 else 1
        self.query_projection = nn.Linear(dim, dim)
        self.key_value_projection = nn.Linear(dim, 2 * dim)
        channels = 2 * dim if projects_first else dim
        self.kernels = nn.ParameterList(_kernel(channels, window + 2 * level) for level in range(levels))
        self.output_projection = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix tokens (B, H, W, C)."""
        _refuse_mask(mask)
        context = self.key_value_projection(tokens) if self.projects_first else tokens
        maps = _levels(context.permute(0, 3, 1, 2), self.kernels)
        maps.append(F.gelu(maps[-1].mean((2, 3), keepdim=True)).expand_as(maps[-1]))
        levels = [features.permute(0, 2, 3, 1) for features in maps]
        if not self.projects_first:
            levels = [self.key_value_projection(level) for level in levels]
        keys, values = zip(*(level.unflatten(-1, (2, self.heads, -1)).unbind(-3) for level in levels), strict=True)
        query = self.query_projection(tokens).unflatten(-1, (self.heads, -1)) / math.sqrt(keys[0].shape[-1])
        # So few keys a token that products and sums of whole maps are faster than an attention of one query each.
        attention = torch.stack([(query * key).sum(-1) for key in keys], -1).softmax(-1).unbind(-1)
        mixed = sum(weight.unsqueeze(-1) * value for weight, value in zip(attention, values, strict=True))
        return self.output_projection(mixed.flatten(-2))  # type: ignore[union-attr]


def _attend(projected: Tensor, heads: int, valid: Tensor | None = None) -> Tensor:
    """Attend among the tokens of (B, tokens, 3 C), which hold query, key and value; returns (B, tokens, C)."""
    query, key, value = projected.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=valid).transpose(1, 2).flatten(2)


def _within(block: int, around: int, reach: int, device: torch.device) -> Tensor:
    """Mark the tokens of a square (around^2) that lie in the window of each token (block^2) in its middle."""
    middle, square = torch.arange(block, device=device) + reach, torch.arange(around, device=device)
    near = (middle[:, None] - square).abs() <= reach
    return (near[:, None, :, None] & near[None, :, None, :]).reshape(block**2, around**2)


def _levels(features: Tensor, kernels: Sequence[Tensor] | nn.ParameterList) -> list[Tensor]:
    """Compute the focal levels of (B, C, H, W), each the GELU of a depthwise convolution of the one before."""
    maps = []
    for kernel in kernels:
        convolved = F.conv2d(features, kernel.unsqueeze(1), padding=kernel.shape[-1] // 2, groups=len(kernel))
        features = F.gelu(convolved)
        maps.append(features)
    return maps


def _kernel(channels: int, size: int, *, learnt: bool = True) -> nn.Parameter:
    kernel = torch.full((channels, size, size), 1 / size**2)
    if learnt:
        nn.init.uniform_(kernel, -1 / math.sqrt(size**2), 1 / math.sqrt(size**2))
    return nn.Parameter(kernel, requires_grad=learnt)


def _refuse_mask(mask: Tensor | None) -> None:
    if mask is not None:
        raise ShapeError("This mixer of tokens takes no mask; give images of one size a batch.")
