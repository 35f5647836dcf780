"""Linear layers through oneDNN on x86 CPUs, where PyTorch's own path takes longer.

PyTorch multiplies float32 matrices by the BLAS it was built with. For the tall matrices of tokens, oneDNN, which every
x86 build of PyTorch carries as well, was 4 to 20 % faster. The results are those of the plain formula, up to the order
of sums.

Axes: C channels in, D channels out.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

__all__ = ["ONEDNN_IS_AT_HAND", "compiler_takes_operators", "is_plain_float32_on_cpu", "linear"]


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``tokens @ weight.T + bias``, differentiable in all arguments.

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
    if not _onednn_takes(tokens, weight):
        return F.linear(tokens, weight, bias)
    return _Linear.apply(tokens, weight, bias) if needs_gradient else _linear(tokens, weight, bias)


def _as_convolution(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same for tokens (B, H, W, C) as a convolution of 1x1, which the compiler gives to oneDNN with its weight laid
    out beforehand if weights are frozen; linear layers it gives to the BLAS.
    """
    return F.conv2d(tokens.permute(0, 3, 1, 2), weight[:, :, None, None], bias).permute(0, 2, 3, 1)


def is_plain_float32_on_cpu(*tensors: Tensor) -> bool:
    """Whether this is an ordinary eager call on tensors with memory of their own, in float32 on a CPU.

    Whoever compiles, traces, transforms or watches what is computed expects the operators of PyTorch, and tensors of
    other classes (divided among processes, quantised, without memory) bring their own.
    """
    return (
        not torch.compiler.is_compiling()
        and all(
            type(tensor) in (Tensor, torch.nn.Parameter)
            and tensor.device.type == "cpu"
            and tensor.dtype == torch.float32
            and tensor.numel() > 0
            for tensor in tensors
        )
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and _get_current_dispatch_mode() is None
        and forward_ad._current_level < 0
    )


def _onednn_takes(tokens: Tensor, weight: Tensor) -> bool:
    return is_plain_float32_on_cpu(tokens, weight) and ONEDNN_IS_AT_HAND and bool(torch.backends.mkldnn.enabled)


def compiler_takes_operators(tokens: Tensor, weight: Tensor) -> bool:
    """Whether this call is being compiled for float32 on a CPU: then oneDNN enters the graph as one operator, because
    the compiler itself would choose the BLAS. Graphs made for others to read hold the operators of PyTorch only.
    """
    return (
        torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and tokens.device.type == weight.device.type == "cpu"
        and tokens.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and ONEDNN_IS_AT_HAND
    )


ONEDNN_IS_AT_HAND: bool = (
    platform.machine().lower() in ("x86_64", "amd64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
"""Whether this is an x86 CPU and this PyTorch was built with oneDNN. A constant, which the compiler can see through."""


class _Linear(torch.autograd.Function):
    """A linear layer whose forward pass and gradient of the tokens go through oneDNN."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(tokens, weight)
        return _linear(tokens, weight, bias)

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


def _linear(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(tokens, weight, bias, "none", [], "none")


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
_operators.impl("linear_cpu", _linear, "CPU")
torch.library.register_fake("focalnets::linear_cpu", _linear_fake, lib=_operators)
torch.library.register_autograd("focalnets::linear_cpu", _operator_backward, setup_context=_remember, lib=_operators)
_operator = torch.ops.focalnets.linear_cpu.default
