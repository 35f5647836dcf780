"""Attention of every position to all, as a layer to compare focal modulation of sequences with.

Axes: B batch, T positions, C channels, N heads, D channels of one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.models.drop_path import StochasticDepth
from focalnets.models.layers import NORM_EPSILON, Mlp
from focalnets.models.plain import project
from focalnets.models.sequence_layers import turn_by_position

__all__ = ["AttentionBlock", "SequenceAttention"]


class SequenceAttention(nn.Module):
    """Self-attention among all positions that count, with rotary positions; no position weighs more for its place.

    It has as many weights as focal modulation of one axis, but for kernels and gates.

    Args:
        dim: Channels C.
        heads: Number N of heads; D is even.
        dropout: Dropout probability after the output projection.

    Source: Su et al., RoFormer, arXiv 2104.09864.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.input_projection = nn.Linear(dim, 3 * dim)
        self.output_projection = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix tokens (B, T, C); booleans (B, T) say which count, and each sequence counts its own positions."""
        batch, length, _ = tokens.shape
        query, key, value = (
            project(self.input_projection, tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        valid = torch.ones(batch, length, dtype=torch.bool, device=tokens.device) if mask is None else mask
        positions = valid.cumsum(1) - 1
        query, key = turn_by_position(query, positions), turn_by_position(key, positions)
        seen = None
        if mask is not None:
            # A sequence without any position that counts sees all, so that no row of weights is empty.
            seen = (mask | ~mask.any(1, keepdim=True))[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self.dropout(project(self.output_projection, mixed.transpose(1, 2).flatten(2)))


class AttentionBlock(nn.Module):
    """Attention and an MLP, each in a residual branch behind its own LayerNorm, as in a block of focal modulation."""

    def __init__(
        self, attention: SequenceAttention, dim: int, *, mlp_ratio: float, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attention = attention
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), dropout)
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Refine tokens (B, T, C); ``mask`` (B, T) marks those that count."""
        tokens = tokens + self.drop_path(self.attention(self.norm1(tokens), mask))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))
