"""Causal focal aggregation on CPUs by the C++ library, as custom operators.

Axes: B sequences, T positions, C channels, L focal levels, R running levels, H groups of channels with gates of their
own, k kernel sizes.

A task takes a block of channels of one sequence through all levels, some positions at a time, so no level is ever
stored as a whole. Training keeps what stands at the beginning of each such tile; the backward pass computes a tile
again from there. Arithmetic is float32 and, for sums of all positions, float64; float16 and bfloat16 tensors are
converted on the way in and out. Results do not depend on the number of threads.
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
from focalnets.ops.causal_call import Call, shapes_after
from focalnets.ops.causal_formula import causal_gradients_by_formula
from focalnets.ops.causal_reference import CausalState, running_dtype
from focalnets.ops.cpu_call import TRANSFORMED, UNUSED_LEVELS, check_status, readable
from focalnets.ops.eager import below_autograd, is_transformed
from focalnets.ops.flops import convolution_flops
from focalnets.ops.formula import needs_formula

__all__ = ["causal_focal_aggregation_cpu"]


def causal_focal_aggregation_cpu(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    state: CausalState | None,
) -> tuple[Tensor, CausalState]:
    """Aggregate by the C++ kernels; as :func:`focalnets.ops.causal_reference.causal_focal_aggregation_reference`.

    Raises:
        BackendUnavailableError: If the library cannot run here, or while ``torch.func`` or forward mode transforms the
            call.
    """
    windows, running, count = ([], None, None) if state is None else state
    keep = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (context, gates, decay, *kernels)
    )
    result, after, running, count, _ = _forward_operator(
        context, gates, kernels, list(dilations), decay, mask, list(windows), running, count, keep
    )
    return result, CausalState(tuple(after), running, count)


def _forward(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    windows: Sequence[Tensor],
    running: Tensor | None,
    count: Tensor | None,
    keep: bool,
) -> tuple[Tensor, list[Tensor], Tensor, Tensor, Tensor]:
    """Compute the result, the state after it and, to ``keep`` for the backward pass, the beginnings of tiles."""
    library = cpu_library.required()
    window_shapes, running_shape, checkpoint_shape = shapes_after(context, kernels, dilations, decay, keep)
    result = torch.empty(context.shape)
    after = [torch.empty(shape) for shape in window_shapes]
    running_after = torch.empty(running_shape, dtype=running_dtype(context, decay))
    checkpoints = torch.empty(checkpoint_shape)
    seen = torch.tensor(context.shape[1]).expand(context.shape[0]) if mask is None else mask.sum(1)
    count_after = seen.clone() if count is None else seen + count
    if result.numel() > 0:
        call = Call(context, gates, kernels, dilations, decay, mask, windows, running, count)
        wanted = array(
            "q",
            [
                result.data_ptr(),
                running_after.data_ptr(),
                checkpoints.data_ptr() if keep else 0,
                *[window.data_ptr() for window in after],
                *UNUSED_LEVELS[len(after)],
            ],
        )
        check_status(
            library.causal_forward(library.instruction_set, call.problem.buffer_info()[0], wanted.buffer_info()[0])
        )
    if context.dtype != torch.float32:
        result, after = result.to(context.dtype), [window.to(context.dtype) for window in after]
    return result, after, running_after, count_after, checkpoints


def _gradient_shapes(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], decay: Tensor | None, wanted: Sequence[bool]
) -> list[Any]:
    return [
        context.shape if wanted[0] else (0,),
        gates.shape if wanted[1] else (0,),
        decay.shape if wanted[2] and decay is not None else (0,),
        *(kernel.shape if wanted[3] else (0,) for kernel in kernels),
    ]


def _backward(
    upstream: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    count: Tensor | None,
    checkpoints: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Compute the gradients of context, gates, decay and kernels; those not wanted are empty."""
    library = cpu_library.required()
    create = torch.empty if context.numel() > 0 else torch.zeros
    results = [create(shape) for shape in _gradient_shapes(context, gates, kernels, decay, wanted)]
    if context.numel() > 0:
        call = Call(context, gates, kernels, dilations, decay, mask, count=count)
        upstream = readable(upstream)
        gradients = array(
            "q",
            [
                upstream.data_ptr(),
                *upstream.stride()[:2],
                checkpoints.data_ptr(),
                *[result.data_ptr() if result.numel() > 0 else 0 for result in results[:3]],
                wanted[3],
                *[result.data_ptr() for result in results[3:]],
                *UNUSED_LEVELS[len(kernels)],
            ],
        )
        check_status(
            library.causal_backward(library.instruction_set, call.problem.buffer_info()[0], gradients.buffer_info()[0])
        )
    return results if context.dtype == torch.float32 else [result.to(context.dtype) for result in results]


def _forward_fake(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    windows: Sequence[Tensor],
    running: Tensor | None,
    count: Tensor | None,
    keep: bool,
) -> tuple[Tensor, list[Tensor], Tensor, Tensor, Tensor]:
    window_shapes, running_shape, checkpoint_shape = shapes_after(context, kernels, dilations, decay, keep)
    return (
        context.new_empty(context.shape),
        [context.new_empty(shape) for shape in window_shapes],
        context.new_empty(running_shape, dtype=running_dtype(context, decay)),
        context.new_empty(context.shape[:1], dtype=torch.int64),
        context.new_empty(checkpoint_shape, dtype=torch.float32),
    )


def _backward_fake(
    upstream: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    count: Tensor | None,
    checkpoints: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor]:
    return [context.new_empty(shape) for shape in _gradient_shapes(context, gates, kernels, decay, wanted)]


class _Aggregation(torch.autograd.Function):
    """The derivative of ``causal_focal_aggregation_cpu``; the state is not differentiated."""

    @staticmethod
    def forward(
        ctx: Any,
        context: Tensor,
        gates: Tensor,
        decay: Tensor | None,
        dilations: Sequence[int],
        mask: Tensor | None,
        windows: Sequence[Tensor],
        running: Tensor | None,
        count: Tensor | None,
        *kernels: Tensor,
    ) -> tuple[Tensor, ...]:
        with below_autograd():
            result, after, running_after, count_after, checkpoints = _forward_operator(
                context, gates, kernels, dilations, decay, mask, windows, running, count, True
            )
        ctx.mark_non_differentiable(*after, running_after, count_after, checkpoints)
        ctx.save_for_backward(context, gates, decay, mask, running, count, checkpoints, *windows, *kernels)
        ctx.dilations, ctx.levels = dilations, len(kernels)
        return result, running_after, count_after, checkpoints, *after

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Any, ...]:
        context, gates, decay, mask, running, count, checkpoints, *rest = ctx.saved_tensors
        windows, kernels = rest[: len(rest) - ctx.levels], rest[len(rest) - ctx.levels :]
        wanted = ctx.needs_input_grad
        wants_kernels = wanted[len(wanted) - ctx.levels :]
        if needs_formula(upstream):
            state = None if running is None else CausalState(tuple(windows), running, count)
            context_gradient, gates_gradient, decay_gradient, *kernel_gradients = causal_gradients_by_formula(
                context, gates, decay, kernels, ctx.dilations, mask, state, [*wanted[:3], *wants_kernels], upstream
            )
        else:
            context_gradient, gates_gradient, decay_gradient, *kernel_gradients = _backward_operator(
                upstream, context, gates, kernels, ctx.dilations, decay, mask, count, checkpoints,
                [*wanted[:3], any(wants_kernels)],
            )  # fmt: skip
        return (
            context_gradient if wanted[0] else None,
            gates_gradient if wanted[1] else None,
            decay_gradient if wanted[2] else None,
            *[None] * 5,
            *(gradient if wants else None for gradient, wants in zip(kernel_gradients, wants_kernels, strict=True)),
        )


def _forward_with_derivative(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    windows: Sequence[Tensor],
    running: Tensor | None,
    count: Tensor | None,
    keep: bool,
) -> tuple[Tensor, list[Tensor], Tensor, Tensor, Tensor]:
    if is_transformed():
        raise BackendUnavailableError(TRANSFORMED)
    if keep:
        result, running, count, checkpoints, *after = _Aggregation.apply(
            context, gates, decay, dilations, mask, windows, running, count, *kernels
        )
        return result, after, running, count, checkpoints
    with below_autograd():
        return _forward_operator(context, gates, kernels, dilations, decay, mask, windows, running, count, keep)


_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    "causal_aggregation_cpu(Tensor context, Tensor gates, Tensor[] kernels, int[] dilations, Tensor? decay, "
    "Tensor? mask, Tensor[] windows, Tensor? running, Tensor? count, bool keep) "
    "-> (Tensor, Tensor[], Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.define(
    "causal_aggregation_cpu_backward(Tensor upstream, Tensor context, Tensor gates, Tensor[] kernels, int[] dilations, "
    "Tensor? decay, Tensor? mask, Tensor? count, Tensor checkpoints, bool[4] wanted) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.impl("causal_aggregation_cpu", _forward, "CPU")
_operators.impl("causal_aggregation_cpu_backward", _backward, "CPU")
torch.library.register_fake("focalnets::causal_aggregation_cpu", _forward_fake, lib=_operators)
torch.library.register_fake("focalnets::causal_aggregation_cpu_backward", _backward_fake, lib=_operators)
_operators.impl("causal_aggregation_cpu", _forward_with_derivative, "Autograd")
_forward_operator = torch.ops.focalnets.causal_aggregation_cpu.default
_backward_operator = torch.ops.focalnets.causal_aggregation_cpu_backward.default


@register_flop_formula(torch.ops.focalnets.causal_aggregation_cpu)
def _forward_flops(context: Any, gates: Any, kernels: Any, *_: Any, **__: Any) -> int:
    """Count two FLOPs a multiply-add of the depthwise convolutions, as PyTorch counts a convolution."""
    return convolution_flops(context, kernels)


@register_flop_formula(torch.ops.focalnets.causal_aggregation_cpu_backward)
def _backward_flops(upstream: Any, context: Any, gates: Any, kernels: Any, *_: Any, **__: Any) -> int:
    """Count as a convolution's backward pass is; computing the levels again is left out."""
    return 2 * convolution_flops(context, kernels)
