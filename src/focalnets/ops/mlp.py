"""Two linear layers with a GELU between them, without ever holding the widened map where that costs time.

On a CPU the widened map of a large image is several times the size of the caches, and memory fresh from the operating
system at that: writing and reading it takes longer than the products. Working through the tokens in groups of rows
keeps it in cache. Training keeps the widened map before its GELU only, not after it as well. The results are those of
the plain formula. In mixed precision everything is bfloat16 but sums within a product.

Axes: N tokens, C channels, D hidden channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.ops.eager import compiler_takes_operators, plain_dtype_on_cpu
from focalnets.ops.formula import gradients_by_formula, needs_formula
from focalnets.ops.gelu import gelu, gelu_with_gradient
from focalnets.ops.linear import linear

__all__ = ["hidden_rows", "mlp"]

_HIDDEN_BYTES_AT_ONCE = 8 * 2**20
"""Size of the widened group of rows; a fraction of the second and third level caches of current processors."""

_HIDDEN_BYTES_KEPT = 32 * 2**20
"""Training keeps widened maps up to this size and computes larger ones again: above it glibc takes and returns memory
page by page, which costs more than the extra product."""


def hidden_rows(hidden_dim: int, element_bytes: int = 4) -> int:
    """Compute how many tokens to widen to ``hidden_dim`` channels, float32 or other numbers, at once."""
    return max(64, _HIDDEN_BYTES_AT_ONCE // (element_bytes * max(1, hidden_dim)))


def mlp(tokens: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None) -> Tensor:
    """Compute ``linear(GELU(linear(tokens)))``, differentiable in all arguments.

    Args:
        tokens: (..., C).
        weight1: (D, C), of the layer that widens.
        bias1: (D,), or None.
        weight2: (C, D), of the layer that narrows.
        bias2: (C,), or None.

    Returns:
        (..., C).
    """
    needs_gradient = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (tokens, weight1, bias1, weight2, bias2)
    )
    if compiler_takes_operators(tokens, weight1):
        flat = tokens.reshape(-1, tokens.shape[-1])
        keep = needs_gradient and _is_kept(flat, weight1)
        return _operator(flat, weight1, bias1, weight2, bias2, keep)[0].view(tokens.shape)
    dtype = plain_dtype_on_cpu(tokens, weight1, weight2)
    if dtype is None:
        return linear(F.gelu(linear(tokens, weight1, bias1)), weight2, bias2)
    if dtype != weight1.dtype or dtype != tokens.dtype:  # Mixed precision: each weight is converted once a pass.
        tokens, weight1, weight2 = tokens.to(dtype), weight1.to(dtype), weight2.to(dtype)
        bias1, bias2 = (None if bias is None else bias.to(dtype) for bias in (bias1, bias2))
    if not needs_gradient:
        return linear(gelu(linear(tokens, weight1, bias1), in_place=True), weight2, bias2)
    flat = tokens.reshape(-1, tokens.shape[-1])
    return _Mlp.apply(flat, weight1, bias1, weight2, bias2).view(tokens.shape)


def _is_kept(tokens: Tensor, weight1: Tensor) -> bool:
    return tokens.shape[0] * weight1.shape[0] * tokens.element_size() <= _HIDDEN_BYTES_KEPT


class _Mlp(torch.autograd.Function):
    """Keeps the widened map before its GELU where it is small, else the tokens only; goes by groups of rows."""

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None
    ) -> Tensor:
        result, kept = _by_rows(tokens, weight1, bias1, weight2, bias2, _is_kept(tokens, weight1))
        ctx.save_for_backward(tokens, weight1, bias1, weight2, bias2, kept)
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        tokens, weight1, bias1, weight2, bias2, kept = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):  # as in the forward pass
            if needs_formula(upstream):
                return gradients_by_formula(_formula, (tokens, weight1, bias1, weight2, bias2), wanted, upstream)
            return _wanted_only(_gradients(upstream, tokens, weight1, bias1, weight2, kept, wanted), wanted)


@torch.no_grad()
def _by_rows(
    tokens: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor]:
    """Compute the result (N, C), and the widened map before its GELU: (N, D) if it is to be kept, else (0, D)."""
    kept = linear(tokens, weight1, bias1) if keep else tokens.new_empty(0, weight1.shape[0])
    result = tokens.new_empty(len(tokens), weight2.shape[0])
    rows = hidden_rows(weight1.shape[0], tokens.element_size())
    for first in range(0, len(tokens), rows):
        group = slice(first, first + rows)
        hidden = kept[group] if keep else linear(tokens[group], weight1, bias1)
        result[group] = linear(gelu(hidden, in_place=not keep), weight2, bias2)
    return result, kept


@torch.no_grad()
def _gradients(
    upstream: Tensor,
    tokens: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    kept: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Compute the gradients of tokens, weights and biases, in the order of arguments; those not wanted are empty."""
    create = tokens.new_empty if len(tokens) > 0 else tokens.new_zeros
    shapes = _gradient_shapes(tokens, weight1, weight2, wanted)
    d_tokens, d_weight1, d_bias1, d_weight2, d_bias2 = (create(shape) for shape in shapes)
    rows = hidden_rows(weight1.shape[0], tokens.element_size())
    for first in range(0, len(tokens), rows):
        group = slice(first, first + rows)
        hidden = kept[group] if len(kept) > 0 else linear(tokens[group], weight1, bias1)
        d_hidden = linear(upstream[group], weight2.t())
        activated = gelu_with_gradient(hidden, d_hidden)
        begins = first == 0
        if wanted[0]:
            d_tokens[group] = linear(d_hidden, weight1.t())
        if wanted[1]:
            d_weight1 = _add_product(d_weight1, d_hidden.t(), tokens[group], begins=begins)
        if wanted[2]:
            d_bias1 = d_hidden.sum(0) if begins else d_bias1.float().add_(d_hidden.sum(0))
        if wanted[3]:
            d_weight2 = _add_product(d_weight2, upstream[group].t(), activated, begins=begins)
    if wanted[4]:
        d_bias2 = upstream.sum(0)
    return [gradient.to(tokens.dtype) for gradient in (d_tokens, d_weight1, d_bias1, d_weight2, d_bias2)]


def _add_product(total: Tensor, left: Tensor, right: Tensor, *, begins: bool) -> Tensor:
    """Add a product of matrices to those of earlier groups, if any; of bfloat16 ones the sum is float32."""
    if left.dtype == torch.float32:
        return total.addmm_(left, right, beta=0 if begins else 1)
    product = left @ right
    return product if begins else total.float().add_(product)


def _gradient_shapes(tokens: Tensor, weight1: Tensor, weight2: Tensor, wanted: Sequence[bool]) -> list[Sequence[int]]:
    shapes = (tokens.shape, weight1.shape, weight1.shape[:1], weight2.shape, weight2.shape[:1])
    return [shape if wants else (0,) for shape, wants in zip(shapes, wanted, strict=True)]


def _wanted_only(gradients: Sequence[Tensor], wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
    return tuple(gradient if wants else None for gradient, wants in zip(gradients, wanted, strict=True))


def _formula(tokens: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None) -> Tensor:
    return F.linear(F.gelu(F.linear(tokens, weight1, bias1)), weight2, bias2)


def _by_rows_fake(
    tokens: Tensor, weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor]:
    result = tokens.new_empty(tokens.shape[0], weight2.shape[0])
    return result, tokens.new_empty(tokens.shape[0] if keep else 0, weight1.shape[0])


def _gradients_fake(
    upstream: Tensor,
    tokens: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    kept: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor]:
    return [tokens.new_empty(shape) for shape in _gradient_shapes(tokens, weight1, weight2, wanted)]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    tokens, weight1, bias1, weight2, *_ = inputs
    ctx.save_for_backward(tokens, weight1, bias1, weight2, output[1])


def _operator_backward(ctx: Any, upstream: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    wanted = list(ctx.needs_input_grad[:5])
    return (*_wanted_only(_backward_operator(upstream, *ctx.saved_tensors, wanted), wanted), None)


_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    "mlp_cpu(Tensor tokens, Tensor weight1, Tensor? bias1, Tensor weight2, Tensor? bias2, bool keep) "
    "-> (Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.define(
    "mlp_cpu_backward(Tensor upstream, Tensor tokens, Tensor weight1, Tensor? bias1, Tensor weight2, Tensor kept, "
    "bool[5] wanted) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.impl("mlp_cpu", _by_rows, "CPU")
_operators.impl("mlp_cpu_backward", _gradients, "CPU")
torch.library.register_fake("focalnets::mlp_cpu", _by_rows_fake, lib=_operators)
torch.library.register_fake("focalnets::mlp_cpu_backward", _gradients_fake, lib=_operators)
torch.library.register_autograd("focalnets::mlp_cpu", _operator_backward, setup_context=_remember, lib=_operators)
_operator = torch.ops.focalnets.mlp_cpu.default
_backward_operator = torch.ops.focalnets.mlp_cpu_backward.default
