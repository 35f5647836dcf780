"""Focal aggregation on GPUs through Triton: one custom operator with fake, autograd and operation counts.

Legend: B images, *S one or two spatial axes, C channels, L focal levels.

Importing this module registers the operators and imports no triton; that happens at the first call. A compiled model
sees one opaque operator forward and one backward. Forward saves its inputs only; backward computes the levels again.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from focalnets.errors import BackendUnavailableError
from focalnets.ops.constant import constant_when_compiled
from focalnets.ops.eager import below_autograd, is_transformed
from focalnets.ops.flops import convolution_flops
from focalnets.ops.formula import aggregation_gradients_by_formula, needs_formula

__all__ = ["focal_aggregation_triton", "why_unavailable", "why_unsupported"]

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Taps of one kernel column and a sum per row are held in registers; see triton_kernels.
_MAX_KERNEL_HEIGHT = 31
TRANSFORMED = (
    "The GPU kernels know no transforms of torch.func and no forward-mode derivatives; use backend=None or "
    "backend='reference'."
)


@functools.cache
def _availability(interpreted: bool) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; PyTorch for Linux with GPU support brings it, other systems have none."
    if interpreted:
        return None
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU that Triton could compile for; use another backend."
    if torch.version.hip is None and torch.cuda.get_device_capability() < (7, 5):
        major, minor = torch.cuda.get_device_capability()
        return (
            f"Triton needs a GPU of compute capability 7.5 or later, this one has {major}.{minor}; use another backend."
        )
    return None


def _interpreted() -> bool:
    """Tell whether Triton interprets kernels on CPU tensors, which it does if this was set before it was imported."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


@constant_when_compiled
def why_unavailable() -> str | None:
    """Say in one sentence why the backend cannot run on this machine; None if it can.

    The kernels use nothing that AMD GPUs lack and ROCm builds of PyTorch are let through, but none has been run there.
    """
    return _availability(_interpreted())


def why_unsupported(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None) -> str | None:
    """Say in one sentence why the backend cannot take these tensors although it is available; None if it can."""
    if is_transformed():
        return TRANSFORMED
    if context.ndim not in (3, 4):
        return f"The GPU kernels take one or two spatial axes, the context has {context.ndim - 2}; use another backend."
    if context.dtype not in _DTYPES:
        return f"The GPU kernels take float32, float16 and bfloat16, the context is {context.dtype}; convert it."
    if not context.is_cuda and not _interpreted():
        return f"The GPU kernels need a GPU, the context is on {context.device}; move it or use another backend."
    if any(kernel.dtype not in _DTYPES for kernel in (gates, *kernels)):
        return "The GPU kernels take gates and kernels in float32, float16 or bfloat16; convert them."
    if context.ndim == 4 and any(kernel.shape[1] > _MAX_KERNEL_HEIGHT for kernel in kernels):
        return f"The GPU kernels take depthwise kernels of at most {_MAX_KERNEL_HEIGHT} rows; use another backend."
    return None


def focal_aggregation_triton(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    normalize: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """Aggregate on a GPU; arguments and result as :func:`focalnets.focal_aggregation`.

    Context and gates are read in place whatever their strides, as long as neighbouring channels are neighbours in
    memory: both may be slices of one projection. Arithmetic is float32; the maps between levels are kept in the dtype
    of the context, as plain PyTorch does. Equal inputs give equal bits within a process.

    Raises:
        BackendUnavailableError: While ``torch.func`` or forward mode transforms the call.
    """
    if is_transformed():
        raise BackendUnavailableError(TRANSFORMED)
    return _forward_operator(context, gates, list(kernels), mask, normalize)


def _forward(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, normalize: bool) -> Tensor:
    from focalnets.ops import triton_launch

    return triton_launch.forward(context, gates, kernels, mask, normalize)


def _backward(
    out_gradient: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    mask: Tensor | None,
    normalize: bool,
) -> list[Tensor]:
    """Compute the gradients of context, gates and every kernel."""
    from focalnets.ops import triton_gradient_launch

    return triton_gradient_launch.backward(out_gradient, context, gates, kernels, mask, normalize)


def _forward_fake(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, normalize: bool
) -> Tensor:
    return context.new_empty(context.shape)


def _backward_fake(
    out_gradient: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    mask: Tensor | None,
    normalize: bool,
) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in (context, gates, *kernels)]


class _Aggregation(torch.autograd.Function):
    """The derivative of ``focal_aggregation_triton``."""

    @staticmethod
    def forward(
        ctx: Any, context: Tensor, gates: Tensor, mask: Tensor | None, normalize: bool, *kernels: Tensor
    ) -> Tensor:
        with below_autograd():
            result = _forward_operator(context, gates, kernels, mask, normalize)
        ctx.save_for_backward(context, gates, mask, *kernels)
        ctx.normalize = normalize
        return result

    @staticmethod
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Any, ...]:
        context, gates, mask, *kernels = ctx.saved_tensors
        if needs_formula(out_gradient):
            wants_context, wants_gates, _, _, *wants_kernels = ctx.needs_input_grad
            wanted = [wants_context, wants_gates, *wants_kernels]
            gradients = aggregation_gradients_by_formula(
                context, gates, kernels, mask, ctx.normalize, wanted, out_gradient
            )
        else:
            gradients = _backward_operator(out_gradient, context, gates, kernels, mask, ctx.normalize)
        context_gradient, gate_gradient, *kernel_gradients = gradients
        return context_gradient, gate_gradient, None, None, *kernel_gradients


def _forward_with_derivative(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, normalize: bool
) -> Tensor:
    if is_transformed():
        raise BackendUnavailableError(TRANSFORMED)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (context, gates, *kernels)):
        return _Aggregation.apply(context, gates, mask, normalize, *kernels)
    with below_autograd():
        return _forward_operator(context, gates, kernels, mask, normalize)


_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    "focal_aggregation_triton(Tensor context, Tensor gates, Tensor[] kernels, Tensor? mask, bool normalize) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.define(
    "focal_aggregation_triton_backward(Tensor out_gradient, Tensor context, Tensor gates, Tensor[] kernels, "
    "Tensor? mask, bool normalize) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)
# On CPU tensors they run in Triton's interpreter. Registered like this a call takes tens of microseconds less than with
# torch.library.custom_op, for which a network of small maps has to wait.
for _device in ("CPU", "CUDA"):
    _operators.impl("focal_aggregation_triton", _forward, _device)
    _operators.impl("focal_aggregation_triton_backward", _backward, _device)
torch.library.register_fake("focalnets::focal_aggregation_triton", _forward_fake, lib=_operators)
torch.library.register_fake("focalnets::focal_aggregation_triton_backward", _backward_fake, lib=_operators)
_operators.impl("focal_aggregation_triton", _forward_with_derivative, "Autograd")
_forward_operator = torch.ops.focalnets.focal_aggregation_triton.default
_backward_operator = torch.ops.focalnets.focal_aggregation_triton_backward.default


@register_flop_formula(torch.ops.focalnets.focal_aggregation_triton)
def _forward_flops(
    context_shape: Sequence[int], gate_shape: Sequence[int], kernel_shapes: Sequence[Sequence[int]], *_: Any, **__: Any
) -> int:
    return convolution_flops(context_shape, kernel_shapes)


@register_flop_formula(torch.ops.focalnets.focal_aggregation_triton_backward)
def _backward_flops(
    out_shape: Sequence[int],
    context_shape: Sequence[int],
    gate_shape: Sequence[int],
    kernel_shapes: Sequence[Sequence[int]],
    *_: Any,
    **__: Any,
) -> int:
    # The levels again, the gradient of their inputs and of their kernels.
    return 3 * convolution_flops(context_shape, kernel_shapes)
