"""Linear layers through oneDNN on x86 CPUs, where PyTorch's own path takes longer, and what follows them in one pass.

PyTorch multiplies float32 matrices by the BLAS it was built with. For the tall matrices of tokens, oneDNN, which every
x86 build of PyTorch carries as well, was 4 to 20 % faster, and applies a GELU or a product to its result while that is
still in registers. The results are those of the plain formulas, up to the order of sums.

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


def linear(
    tokens: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False, multiply: Tensor | None = None
) -> Tensor:
    """``tokens @ weight.T + bias``, then optionally a GELU or a product; differentiable in all arguments.

    Args:
        tokens: (..., C).
        weight: (D, C).
        bias: (D,), or None for no bias.
        gelu: Whether to apply the GELU by the error function.
        multiply: (..., D), what to multiply the result by; not together with ``gelu``.

    Returns:
        (..., D), of the dtype that :func:`torch.nn.functional.linear` gives.
    """
    assert multiply is None or not gelu
    if compiler_takes_operators(tokens, weight):
        if not _needs_gradient(tokens, weight, bias, multiply):
            return _operator(tokens, weight, bias, gelu, multiply)
        result = _operator(tokens, weight, bias, False, None)
        return F.gelu(result) if gelu else result if multiply is None else result * multiply
    through_onednn = _onednn_takes(tokens, weight)
    if through_onednn and not _needs_gradient(tokens, weight, bias, multiply):
        return _linear(tokens, weight, bias, gelu, multiply)
    result = _Linear.apply(tokens, weight, bias) if through_onednn else F.linear(tokens, weight, bias)
    if gelu:
        return F.gelu(result)
    return result if multiply is None else result * multiply


def _needs_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


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
        return torch.ops.mkldnn._linear_pointwise(tokens, weight, bias, "none", [], "none")

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


def _linear(tokens: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool, multiply: Tensor | None) -> Tensor:
    if multiply is not None:
        return torch.ops.mkldnn._linear_pointwise.binary(tokens, multiply, weight, bias, "mul")
    return torch.ops.mkldnn._linear_pointwise(tokens, weight, bias, "gelu" if gelu else "none", [], "none")


def _linear_fake(tokens: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool, multiply: Tensor | None) -> Tensor:
    return tokens.new_empty((*tokens.shape[:-1], weight.shape[0]))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    tokens, weight, bias, gelu, multiply = inputs
    assert not gelu
    assert multiply is None
    ctx.save_for_backward(tokens, weight)
    ctx.has_bias = bias is not None


def _operator_backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    tokens, weight = ctx.saved_tensors
    wants_tokens, wants_weight, wants_bias, *_ = ctx.needs_input_grad
    rows = upstream.reshape(-1, upstream.shape[-1])
    return (
        _operator(upstream, weight.t(), None, False, None) if wants_tokens else None,
        rows.t() @ tokens.reshape(-1, tokens.shape[-1]) if wants_weight else None,
        rows.sum(0) if wants_bias and ctx.has_bias else None,
        None,
        None,
    )


_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    "linear_cpu(Tensor tokens, Tensor weight, Tensor? bias, bool gelu, Tensor? multiply) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.impl("linear_cpu", _linear, "CPU")
torch.library.register_fake("focalnets::linear_cpu", _linear_fake, lib=_operators)
torch.library.register_autograd("focalnets::linear_cpu", _operator_backward, setup_context=_remember, lib=_operators)
_operator = torch.ops.focalnets.linear_cpu.default
