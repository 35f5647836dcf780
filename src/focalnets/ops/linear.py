"""Linear layers through oneDNN on x86 CPUs, where PyTorch's own path takes longer.

PyTorch multiplies float32 matrices by the BLAS it was built with. For the tall matrices of tokens, oneDNN, which every
x86 build of PyTorch carries as well, was 4 to 20 % faster. bfloat16 matrices PyTorch gives to oneDNN itself, but it
writes the bias into the result beforehand. The results are those of the plain formula, up to the order of sums.

Axes: C channels in, D channels out.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.ops.eager import compiler_takes_operators, onednn_linear, onednn_takes

__all__ = ["linear"]


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute ``tokens @ weight.T + bias``, differentiable in all arguments.

    Args:
        tokens: (..., C).
        weight: (D, C).
        bias: (D,), or None for no bias.

    Returns:
        (..., D), of the dtype that :func:`torch.nn.functional.linear` gives.
    """
    needs_gradient = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (tokens, weight, bias)
    )
    if compiler_takes_operators(tokens, weight):
        as_convolution = tokens.ndim == 4 and not needs_gradient
        return _as_convolution(tokens, weight, bias) if as_convolution else _operator(tokens, weight, bias)
    dtype = onednn_takes(tokens, weight)
    if dtype is None:
        return F.linear(tokens, weight, bias)
    tokens, weight, bias = tokens.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return _Linear.apply(tokens, weight, bias) if needs_gradient else onednn_linear(tokens, weight, bias)


def _as_convolution(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute the same for tokens (B, H, W, C) as a convolution of 1x1.

    The compiler gives convolutions to oneDNN, with the weight laid out beforehand if weights are frozen; linear layers
    it gives to the BLAS.
    """
    return F.conv2d(tokens.permute(0, 3, 1, 2), weight[:, :, None, None], bias).permute(0, 2, 3, 1)


class _Linear(torch.autograd.Function):
    """A linear layer whose forward pass and gradient of the tokens go through oneDNN."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(tokens, weight)
        return onednn_linear(tokens, weight, bias)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        tokens, weight = ctx.saved_tensors
        wants_tokens, wants_weight, wants_bias = ctx.needs_input_grad
        rows = upstream.reshape(-1, upstream.shape[-1])
        with torch.autocast("cpu", enabled=False):  # as in the forward pass
            return (
                linear(upstream, weight.t()) if wants_tokens else None,
                rows.t() @ tokens.reshape(-1, tokens.shape[-1]) if wants_weight else None,
                rows.sum(0) if wants_bias else None,
            )


def _linear_fake(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return tokens.new_empty((*tokens.shape[:-1], weight.shape[0]))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    tokens, weight, bias = inputs
    ctx.save_for_backward(tokens, weight)
    ctx.has_bias = bias is not None


def _operator_backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    tokens, weight = ctx.saved_tensors
    wants_tokens, wants_weight, wants_bias = ctx.needs_input_grad
    rows = upstream.reshape(-1, upstream.shape[-1])
    return (
        _operator(upstream, weight.t(), None) if wants_tokens else None,
        rows.t() @ tokens.reshape(-1, tokens.shape[-1]) if wants_weight else None,
        rows.sum(0) if wants_bias and ctx.has_bias else None,
    )


_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    "linear_cpu(Tensor tokens, Tensor weight, Tensor? bias) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
)
_operators.impl("linear_cpu", onednn_linear, "CPU")
torch.library.register_fake("focalnets::linear_cpu", _linear_fake, lib=_operators)
torch.library.register_autograd("focalnets::linear_cpu", _operator_backward, setup_context=_remember, lib=_operators)
_operator = torch.ops.focalnets.linear_cpu.default
