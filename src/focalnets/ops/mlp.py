"""Two linear layers with a GELU between them, without ever holding the widened map where that costs time.

On a CPU the widened map of a large image is several times the size of the caches, and memory fresh from the operating
system at that: writing and reading it takes longer than the products. Working through the tokens in groups of rows
keeps it in cache. Training keeps the widened map before its GELU only, not after it as well. The results are those of
the plain formula.

Axes: N tokens, C channels, D hidden channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.ops.gelu import gelu, gelu_with_gradient
from focalnets.ops.linear import compiler_takes_operators, is_plain_float32_on_cpu, linear

__all__ = ["hidden_rows", "mlp"]

_HIDDEN_BYTES_AT_ONCE = 8 * 2**20
"""Size of the widened group of rows; a fraction of the second and third level caches of current processors."""

_HIDDEN_BYTES_KEPT = 32 * 2**20
"""Training keeps widened maps up to this size and computes larger ones again: above it glibc takes and returns memory
page by page, which costs more than the extra product."""


def hidden_rows(hidden_dim: int) -> int:
    """How many float32 tokens to widen to ``hidden_dim`` channels at once."""
    return max(64, _HIDDEN_BYTES_AT_ONCE // (4 * max(1, hidden_dim)))


def mlp(tokens: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None) -> Tensor:
    """``linear(GELU(linear(tokens)))``, differentiable in all arguments.

    Args:
        tokens: (..., C).
        weight1: (D, C), of the layer that widens.
        bias1: (D,), or None.
        weight2: (C, D), of the layer that narrows.
        bias2: (C,), or None.

    Returns:
        (..., C).
    """
    if compiler_takes_operators(tokens, weight1) and not torch.is_grad_enabled():
        return _operator(tokens, weight1, bias1, weight2, bias2)
    if not is_plain_float32_on_cpu(tokens, weight1, weight2):
        return linear(F.gelu(linear(tokens, weight1, bias1)), weight2, bias2)
    if not torch.is_grad_enabled():
        return linear(gelu(linear(tokens, weight1, bias1), in_place=True), weight2, bias2)
    flat = tokens.reshape(-1, tokens.shape[-1])
    return _Mlp.apply(flat, weight1, bias1, weight2, bias2).view(tokens.shape)


class _Mlp(torch.autograd.Function):
    """Keeps the widened map before its GELU where it is small, else the tokens only; goes by groups of rows."""

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None
    ) -> Tensor:
        rows = hidden_rows(weight1.shape[0])
        keeps = len(tokens) * weight1.shape[0] * 4 <= _HIDDEN_BYTES_KEPT
        kept = linear(tokens, weight1, bias1) if keeps else None
        result = torch.empty_like(tokens)
        for first in range(0, len(tokens), rows):
            group = slice(first, first + rows)
            hidden = linear(tokens[group], weight1, bias1) if kept is None else kept[group]
            result[group] = linear(gelu(hidden, in_place=kept is None), weight2, bias2)
        ctx.save_for_backward(tokens, weight1, bias1, weight2, bias2, kept)
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        tokens, weight1, bias1, weight2, bias2, kept = ctx.saved_tensors
        inputs = (tokens, weight1, bias1, weight2, bias2)
        with torch.autocast("cpu", enabled=False):  # as in the forward pass
            if torch.is_grad_enabled():  # the gradients are to be differentiated themselves
                return _differentiable_gradients(inputs, ctx.needs_input_grad, upstream)
            return _gradients(inputs, ctx.needs_input_grad, upstream, kept)


def _gradients(
    inputs: Sequence[Any], wanted: Sequence[bool], upstream: Tensor, kept: Tensor | None
) -> tuple[Tensor | None, ...]:
    tokens, weight1, bias1, weight2, _ = inputs
    d_tokens = torch.empty_like(tokens) if wanted[0] else None
    d_weight1 = torch.empty_like(weight1) if wanted[1] else None
    d_bias1 = weight1.new_zeros(len(weight1)) if wanted[2] else None
    d_weight2 = torch.empty_like(weight2) if wanted[3] else None
    rows = hidden_rows(weight1.shape[0])
    for first in range(0, len(tokens), rows):
        group = slice(first, first + rows)
        hidden = linear(tokens[group], weight1, bias1) if kept is None else kept[group]
        d_hidden = linear(upstream[group], weight2.t())
        activated = gelu_with_gradient(hidden, d_hidden)
        before = 0 if first == 0 else 1  # the first group finds nothing to add to
        if d_weight2 is not None:
            d_weight2.addmm_(upstream[group].t(), activated, beta=before)
        if d_weight1 is not None:
            d_weight1.addmm_(d_hidden.t(), tokens[group], beta=before)
        if d_bias1 is not None:
            d_bias1 += d_hidden.sum(0)
        if d_tokens is not None:
            d_tokens[group] = linear(d_hidden, weight1.t())
    return d_tokens, d_weight1, d_bias1, d_weight2, upstream.sum(0) if wanted[4] else None


def _differentiable_gradients(
    inputs: Sequence[Any], wanted: Sequence[bool], upstream: Tensor
) -> tuple[Tensor | None, ...]:
    tokens, weight1, bias1, weight2, bias2 = inputs
    result = F.linear(F.gelu(F.linear(tokens, weight1, bias1)), weight2, bias2)
    leaves = [tensor for tensor, wants in zip(inputs, wanted, strict=True) if wants]
    found = iter(torch.autograd.grad(result, leaves, upstream, create_graph=True))
    return tuple(next(found) if wants else None for wants in wanted)


def _by_rows(tokens: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None) -> Tensor:
    flat = tokens.reshape(-1, tokens.shape[-1])
    result = flat.new_empty(len(flat), weight2.shape[0])
    rows = hidden_rows(weight1.shape[0])
    for group, out in zip(flat.split(rows), result.split(rows), strict=True):
        out.copy_(linear(gelu(linear(group, weight1, bias1), in_place=True), weight2, bias2))
    return result.view(*tokens.shape[:-1], weight2.shape[0])


def _by_rows_fake(
    tokens: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None
) -> Tensor:
    return tokens.new_empty((*tokens.shape[:-1], weight2.shape[0]))


_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    "mlp_cpu(Tensor tokens, Tensor weight1, Tensor? bias1, Tensor weight2, Tensor? bias2) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.impl("mlp_cpu", _by_rows, "CPU")
torch.library.register_fake("focalnets::mlp_cpu", _by_rows_fake, lib=_operators)
_operator = torch.ops.focalnets.mlp_cpu.default
