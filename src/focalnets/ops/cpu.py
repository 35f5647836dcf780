"""Focal aggregation on CPUs by a C++ library without PyTorch headers, loaded by ctypes, as custom operators.

Axes: B batch, *S one or two spatial axes (H, W), C channels, L focal levels, *k kernel sizes.

The library streams rows of the context through all levels at once, so no level is ever stored as a whole. The backward
pass computes the levels again in the same way: only context, gates, kernels and the mean of the last level (B, C) are
saved. Tensors are read where they are, whatever their strides, as long as channels are adjacent. Arithmetic is float32.
Maps (context, result and their gradients) in bfloat16 are read and written as they are, those in float16 are converted
on the way in and out, as are gates and kernels, which are small. Results do not depend on the number of threads, which
is that of ``torch.get_num_threads()``.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from focalnets.errors import BackendUnavailableError
from focalnets.ops import cpu_library
from focalnets.ops.constant import constant_when_compiled
from focalnets.ops.cpu_call import (
    DTYPES,
    TRANSFORMED,
    UNUSED_LEVELS,
    check_status,
    dtype_of_maps,
    problem,
    readable,
    strides,
)
from focalnets.ops.cpu_library import MAX_LEVELS
from focalnets.ops.eager import below_autograd, is_transformed
from focalnets.ops.flops import convolution_flops
from focalnets.ops.formula import aggregation_gradients_by_formula, needs_formula

__all__ = ["focal_aggregation_cpu", "instruction_set", "local_aggregation_cpu", "why_unavailable", "why_unsupported"]

_MAX_KERNEL_SIZE = 63


@constant_when_compiled
def why_unavailable() -> str | None:
    """Say in one sentence why the C++ kernels cannot run on this machine; None if they can."""
    library = cpu_library.load()
    return library if isinstance(library, str) else None


def why_unsupported(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None) -> str | None:
    """Say in one sentence why the C++ kernels cannot take these tensors; None if they can."""
    if is_transformed():
        return TRANSFORMED
    tensors = [context, gates, *kernels] if mask is None else [context, gates, *kernels, mask]
    elsewhere = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), None)
    if elsewhere is not None:
        return f"The C++ kernels work on CPU tensors, but one is on {elsewhere}; move it or use another backend."
    dtype = next((tensor.dtype for tensor in (context, gates, *kernels) if tensor.dtype not in DTYPES), None)
    if dtype is not None:
        return f"The C++ kernels take float32, float16 and bfloat16, got {dtype}; use backend='reference'."
    if context.ndim not in (3, 4):
        return f"The C++ kernels take one or two spatial axes, got {context.ndim - 2}; use backend='reference'."
    if len(kernels) > MAX_LEVELS:
        return f"The C++ kernels take up to {MAX_LEVELS} focal levels, got {len(kernels)}; use backend='reference'."
    for kernel in kernels:
        if any(size % 2 == 0 or size > _MAX_KERNEL_SIZE for size in kernel.shape[1:]):
            return (
                f"The C++ kernels take odd kernel sizes up to {_MAX_KERNEL_SIZE}, got {tuple(kernel.shape[1:])}; "
                "use backend='reference'."
            )
    return None


def instruction_set() -> str:
    """Name the instruction set in use: ``"avx512"``, ``"avx2"`` or ``"baseline"`` (SSE2 on x86-64, NEON on ARM64).

    Raises:
        BackendUnavailableError: If the library cannot run here.
    """
    return cpu_library.required().instruction_set.decode()


def focal_aggregation_cpu(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    normalize: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """Aggregate by the C++ kernels; arguments and result as :func:`focalnets.focal_aggregation`.

    Args:
        context: (B, *S, C), float32, float16 or bfloat16, one or two spatial axes.
        gates: (B, *S, L + 1), one scalar per position and level, the global one last.
        kernels: L tensors (C, *k), odd sizes up to 63; also float32 where the context is not.
        normalize: Whether to divide the result by L + 1.
        mask: (B, *S) bool, True where a token is valid; None if all are.

    Returns:
        (B, *S, C), contiguous, of the context's dtype.

    Raises:
        BackendUnavailableError: If the library cannot run here, or while ``torch.func`` or forward mode transforms the
            call.
    """
    return _forward_operator(context, gates, kernels, mask, normalize)[0]


def local_aggregation_cpu(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], *, rows: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Aggregate rows by the C++ kernels; arguments and results as :func:`focalnets.ops.aggregation.local_aggregation`.

    Not differentiable.

    Raises:
        BackendUnavailableError: As :func:`focal_aggregation_cpu`.
    """
    if context.ndim == 3:  # The axis is the library's rows then.
        filters = [kernel.unsqueeze(2) for kernel in kernels]
        local, sums = local_aggregation_cpu(context.unsqueeze(2), gates.unsqueeze(2), filters, rows=rows)
        return local.squeeze(2), sums
    library = cpu_library.required()
    dtype = dtype_of_maps(context)
    result = torch.empty((context.shape[0], rows[1] - rows[0], *context.shape[2:]), dtype=dtype)
    sums = torch.empty((context.shape[0], context.shape[-1]), dtype=torch.float64)
    if result.numel() > 0:
        tokens, weights, filters = _readable(context, gates, kernels)
        filled = problem(tokens, weights, filters, None, False, rows)
        narrow = dtype == torch.bfloat16
        status = library.forward(
            library.instruction_set, narrow, filled.buffer_info()[0], result.data_ptr(), None, sums.data_ptr()
        )
        check_status(status)
    return _as(context, result), sums


def _forward(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, normalize: bool
) -> tuple[Tensor, Tensor]:
    library = cpu_library.required()
    dtype = dtype_of_maps(context)
    result = torch.empty(context.shape, dtype=dtype)
    means = torch.empty((context.shape[0], context.shape[-1]), dtype=torch.float32)
    if result.numel() > 0:
        tokens, weights, filters = _readable(context, gates, kernels)
        filled = problem(tokens, weights, filters, mask, normalize)
        narrow = dtype == torch.bfloat16
        status = library.forward(
            library.instruction_set, narrow, filled.buffer_info()[0], result.data_ptr(), means.data_ptr(), None
        )
        check_status(status)
    return _as(context, result), means


def _backward(
    upstream: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    mask: Tensor | None,
    normalize: bool,
    means: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Compute the gradients of context, gates and kernels; those not wanted are empty."""
    library = cpu_library.required()
    shapes = _gradient_shapes(context, gates, kernels, wanted)
    create = torch.empty if context.numel() > 0 else torch.zeros
    dtype = dtype_of_maps(context)
    results = [create(shapes[0], dtype=dtype), *(create(shape, dtype=torch.float32) for shape in shapes[1:])]
    if context.numel() > 0:
        tokens, weights, filters = _readable(context, gates, kernels)
        upstream = readable(upstream, dtype)
        filled = problem(tokens, weights, filters, mask, normalize)
        gradients = array(
            "q",
            [
                means.data_ptr(),
                upstream.data_ptr(),
                *strides(upstream),
                results[0].data_ptr() if wanted[0] else 0,
                results[1].data_ptr() if wanted[1] else 0,
                wanted[2],
                *[result.data_ptr() for result in results[2:]],
                *UNUSED_LEVELS[len(kernels)],
            ],
        )
        narrow, described = dtype == torch.bfloat16, (filled.buffer_info()[0], gradients.buffer_info()[0])
        check_status(library.backward(library.instruction_set, narrow, *described))
    results = [_as(tensor, result) for result, tensor in zip(results, (context, gates, *kernels), strict=True)]
    return results[0], results[1], results[2:]


def _readable(context: Tensor, gates: Tensor, kernels: Sequence[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    tokens = readable(context, dtype_of_maps(context))
    return tokens, readable(gates), [readable(kernel).contiguous() for kernel in kernels]


def _as(tensor: Tensor, result: Tensor) -> Tensor:
    return result if result.dtype == tensor.dtype else result.to(tensor.dtype)


def _gradient_shapes(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], wanted: Sequence[bool]) -> list[Any]:
    return [
        context.shape if wanted[0] else (0,),
        gates.shape if wanted[1] else (0,),
        *(kernel.shape if wanted[2] else (0,) for kernel in kernels),
    ]


def _forward_fake(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, normalize: bool
) -> tuple[Tensor, Tensor]:
    means = context.new_empty((context.shape[0], context.shape[-1]), dtype=torch.float32)
    return context.new_empty(context.shape), means


def _backward_fake(
    upstream: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    mask: Tensor | None,
    normalize: bool,
    means: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    shapes = _gradient_shapes(context, gates, kernels, wanted)
    empty = [tensor.new_empty(shape) for tensor, shape in zip((context, gates, *kernels), shapes, strict=True)]
    return empty[0], empty[1], empty[2:]


class _Aggregation(torch.autograd.Function):
    """The derivative of ``focal_aggregation_cpu``."""

    # One method for both: with a separate setup_context every call takes 35 microseconds more.
    @staticmethod
    def forward(
        ctx: Any, context: Tensor, gates: Tensor, mask: Tensor | None, normalize: bool, *kernels: Tensor
    ) -> tuple[Tensor, Tensor]:
        with below_autograd():
            result, means = _forward_operator(context, gates, kernels, mask, normalize)
        ctx.mark_non_differentiable(means)
        ctx.save_for_backward(context, gates, mask, means, *kernels)
        ctx.normalize = normalize
        return result, means

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Any, ...]:
        context, gates, mask, means, *kernels = ctx.saved_tensors
        wants_context, wants_gates, _, _, *wants_kernels = ctx.needs_input_grad
        if needs_formula(upstream):
            context_gradient, gates_gradient, *kernel_gradients = aggregation_gradients_by_formula(
                context, gates, kernels, mask, ctx.normalize, [wants_context, wants_gates, *wants_kernels], upstream
            )
            return context_gradient, gates_gradient, None, None, *kernel_gradients
        wanted = [wants_context, wants_gates, any(wants_kernels)]
        context_gradient, gates_gradient, kernel_gradients = _backward_operator(
            upstream, context, gates, kernels, mask, ctx.normalize, means, wanted
        )
        return (
            context_gradient if wants_context else None,
            gates_gradient if wants_gates else None,
            None,
            None,
            *(gradient if wants else None for gradient, wants in zip(kernel_gradients, wants_kernels, strict=True)),
        )


def _forward_with_derivative(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None, normalize: bool
) -> tuple[Tensor, Tensor]:
    if is_transformed():
        raise BackendUnavailableError(TRANSFORMED)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (context, gates, *kernels)):
        return _Aggregation.apply(context, gates, mask, normalize, *kernels)
    with below_autograd():
        return _forward_operator(context, gates, kernels, mask, normalize)


_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    "focal_aggregation_cpu(Tensor context, Tensor gates, Tensor[] kernels, Tensor? mask, bool normalize) "
    "-> (Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.define(
    "focal_aggregation_cpu_backward(Tensor upstream, Tensor context, Tensor gates, Tensor[] kernels, Tensor? mask, "
    "bool normalize, Tensor means, bool[3] wanted) -> (Tensor, Tensor, Tensor[])",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.impl("focal_aggregation_cpu", _forward, "CPU")
_operators.impl("focal_aggregation_cpu_backward", _backward, "CPU")
torch.library.register_fake("focalnets::focal_aggregation_cpu", _forward_fake, lib=_operators)
torch.library.register_fake("focalnets::focal_aggregation_cpu_backward", _backward_fake, lib=_operators)
# As torch.library.register_autograd would, which takes 35 microseconds more for each call.
_operators.impl("focal_aggregation_cpu", _forward_with_derivative, "Autograd")
_forward_operator = torch.ops.focalnets.focal_aggregation_cpu.default
_backward_operator = torch.ops.focalnets.focal_aggregation_cpu_backward.default


@register_flop_formula(torch.ops.focalnets.focal_aggregation_cpu)
def _forward_flops(context: Any, gates: Any, kernels: Any, *_: Any, **__: Any) -> int:
    """Count two FLOPs a multiply-add of the depthwise convolutions, as PyTorch counts a convolution."""
    return convolution_flops(context, kernels)


@register_flop_formula(torch.ops.focalnets.focal_aggregation_cpu_backward)
def _backward_flops(upstream: Any, context: Any, gates: Any, kernels: Any, *_: Any, **__: Any) -> int:
    """Count as a convolution's backward pass is; computing the levels again is left out."""
    return 2 * convolution_flops(context, kernels)
