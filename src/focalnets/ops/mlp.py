"""Two linear layers with a GELU between them, without ever holding the widened map where that costs time.

On a CPU the widened map of a large image is several times the size of the caches, and memory fresh from the operating
system at that: writing and reading it takes longer than the products. Working through the tokens in groups of rows
keeps it in cache. The results are those of the plain formula.

Axes: N tokens, C channels, D hidden channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["hidden_rows", "mlp"]

_HIDDEN_BYTES_AT_ONCE = 4 * 2**20
"""Size of the widened group of rows; a fraction of the second and third level caches of current processors."""

_HIDDEN_BYTES_KEPT = 32 * 2**20
"""Training keeps widened maps up to this size and computes larger ones again: above it glibc takes and returns memory
page by page, which costs more than the extra product."""


def hidden_rows(hidden_dim: int) -> int:
    """How many float32 tokens to widen to ``hidden_dim`` channels at once."""
    return max(64, _HIDDEN_BYTES_AT_ONCE // (4 * hidden_dim))


def mlp(tokens: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
    """``linear(GELU(linear(tokens)))``, differentiable in all arguments.

    Args:
        tokens: (..., C).
        weight1: (D, C), of the layer that widens.
        bias1: (D,).
        weight2: (C, D), of the layer that narrows.
        bias2: (C,).

    Returns:
        (..., C).
    """
    keeps_little = tokens.numel() // tokens.shape[-1] * weight1.shape[0] * 4 <= _HIDDEN_BYTES_KEPT
    if keeps_little or not _eager_float32_on_cpu(tokens) or not torch.is_grad_enabled():
        return F.linear(F.gelu(F.linear(tokens, weight1, bias1)), weight2, bias2)
    flat = tokens.reshape(-1, tokens.shape[-1])
    return _RecomputingMlp.apply(flat, weight1, bias1, weight2, bias2).view(tokens.shape)


def _eager_float32_on_cpu(tokens: Tensor) -> bool:
    return (
        tokens.device.type == "cpu"
        and tokens.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class _RecomputingMlp(torch.autograd.Function):
    """Keeps the tokens only; both directions go through them in groups of rows."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, weight1, bias1, weight2)
        result = torch.empty_like(tokens)
        rows = hidden_rows(weight1.shape[0])
        for group, out in zip(tokens.split(rows), result.split(rows), strict=True):
            torch.addmm(bias2, F.gelu(F.linear(group, weight1, bias1)), weight2.t(), out=out)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, ...]:
        tokens, weight1, bias1, weight2 = ctx.saved_tensors
        d_tokens, d_bias1 = torch.empty_like(tokens), torch.zeros_like(bias1)
        d_weight1, d_weight2 = torch.zeros_like(weight1), torch.zeros_like(weight2)
        rows = hidden_rows(weight1.shape[0])
        groups = zip(tokens.split(rows), upstream.split(rows), d_tokens.split(rows), strict=True)
        for group, d_out, d_group in groups:
            hidden = F.linear(group, weight1, bias1)
            d_weight2.addmm_(d_out.t(), F.gelu(hidden))
            d_hidden = torch.ops.aten.gelu_backward(d_out @ weight2, hidden)
            d_weight1.addmm_(d_hidden.t(), group)
            d_bias1 += d_hidden.sum(0)
            torch.mm(d_hidden, weight1, out=d_group)
        return d_tokens, d_weight1, d_bias1, d_weight2, upstream.sum(0)
