"""Causal focal aggregation on GPUs through Triton: a custom operator with fake, autograd and operation counts.

Axes: B sequences, T positions, C channels, L focal levels, R running levels, H groups of channels with gates of their
own, k kernel sizes.

Importing this module registers the operators and imports no triton; that happens at the first call. Forward saves its
inputs and what the running levels begin each chunk with; backward computes the levels again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from focalnets.errors import BackendUnavailableError
from focalnets.ops import triton_backend
from focalnets.ops.causal_call import reach_of, running_levels
from focalnets.ops.causal_chunks import chunks_of, warm_up_of
from focalnets.ops.causal_formula import causal_gradients_by_formula
from focalnets.ops.causal_reference import CausalState, running_dtype
from focalnets.ops.eager import below_autograd, is_transformed
from focalnets.ops.flops import convolution_flops
from focalnets.ops.formula import needs_formula
from focalnets.ops.triton_backend import TRANSFORMED

__all__ = ["causal_focal_aggregation_triton", "why_unsupported"]

# What kernels reach back to and their taps are held in registers; see triton_causal_kernels.
_MOST_ROWS, _MOST_TAPS, _MOST_LEVELS = 64, 64, 16


def why_unsupported(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
) -> str | None:
    """Say in one sentence why the GPU kernels cannot take these tensors, gates (B, T, L + R, H); None if they can."""
    reason = triton_backend.why_unsupported(context, gates[..., 0], kernels, None)
    if reason is not None:
        return reason
    running = running_levels(decay)
    if len(kernels) > _MOST_LEVELS or running > _MOST_LEVELS:
        return (
            f"The GPU kernels take up to {_MOST_LEVELS} focal and {_MOST_LEVELS} running levels, got {len(kernels)} "
            f"and {running}; use backend='reference'."
        )
    rows, taps = sum(reach_of(kernels, dilations)), sum(kernel.shape[1] for kernel in kernels)
    if rows > _MOST_ROWS or taps > _MOST_TAPS:
        return (
            f"The GPU kernels take kernels that reach back up to {_MOST_ROWS} positions with up to {_MOST_TAPS} taps, "
            f"all levels together, got {rows:,} and {taps:,}; use backend='reference'."
        )
    return None


def causal_focal_aggregation_triton(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    state: CausalState | None,
) -> tuple[Tensor, CausalState]:
    """Aggregate on a GPU; as :func:`focalnets.ops.causal_reference.causal_focal_aggregation_reference`.

    Context, gates and decay are read in place whatever their strides, as long as neighbouring channels are neighbours
    in memory. Arithmetic is float32, sums over chunks of positions are float64; maps between kernels have the dtype of
    the context. Equal inputs give equal bits within a process.

    Raises:
        BackendUnavailableError: While ``torch.func`` or forward mode transforms the call.
    """
    if is_transformed():
        raise BackendUnavailableError(TRANSFORMED)
    windows, running, count = (None, None, None) if state is None else (_beside(state, context), *state[1:])
    result, after, running, count, _ = _forward_operator(
        context, gates, list(kernels), list(dilations), decay, mask, windows, running, count
    )
    return result, CausalState(_apart(after, kernels, dilations), running, count)


def _beside(state: CausalState, context: Tensor) -> Tensor:
    """Put the windows of all levels into one tensor (B, rows, C)."""
    return torch.cat(state.windows, 1) if state.windows else context.new_empty(len(context), 0, context.shape[2])


def _apart(windows: Tensor, kernels: Sequence[Tensor], dilations: Sequence[int]) -> tuple[Tensor, ...]:
    return tuple(windows.split(reach_of(kernels, dilations), 1)) if kernels else ()


def _forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    from focalnets.ops import triton_causal_launch

    return triton_causal_launch.forward(*arguments)


def _backward(*arguments: Any) -> list[Tensor]:
    from focalnets.ops import triton_causal_launch

    return triton_causal_launch.backward(*arguments)


def _forward_fake(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
    *_: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, channels = context.shape[0], context.shape[2]
    reach, levels = reach_of(kernels, dilations), running_levels(decay)
    chunks = chunks_of(context, warm_up_of(reach))
    return (
        context.new_empty(context.shape),
        context.new_empty(batch, sum(reach), channels),
        context.new_empty(batch, levels, channels, dtype=running_dtype(context, decay)),
        context.new_empty(batch, dtype=torch.int64),
        context.new_empty((batch, chunks, levels, channels) if chunks > 1 else (0,), dtype=torch.float32),
    )


def _backward_fake(
    upstream: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
    *_: Any,
) -> list[Tensor]:
    decay_gradient = context.new_empty(0 if decay is None else decay.shape)
    return [context.new_empty(context.shape), gates.new_empty(gates.shape), decay_gradient,
            *(kernel.new_empty(kernel.shape) for kernel in kernels)]  # fmt: skip


class _Aggregation(torch.autograd.Function):
    """The derivative of ``causal_focal_aggregation_triton``; the state is not differentiated."""

    @staticmethod
    def forward(
        ctx: Any,
        context: Tensor,
        gates: Tensor,
        decay: Tensor | None,
        dilations: Sequence[int],
        mask: Tensor | None,
        windows: Tensor | None,
        running: Tensor | None,
        count: Tensor | None,
        *kernels: Tensor,
    ) -> tuple[Tensor, ...]:
        with below_autograd():
            result, *after = _forward_operator(context, gates, kernels, dilations, decay, mask, windows, running, count)
        ctx.mark_non_differentiable(*after)
        ctx.save_for_backward(context, gates, decay, mask, windows, running, count, after[3], *kernels)
        ctx.dilations = dilations
        return result, *after

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Any, ...]:
        context, gates, decay, mask, windows, running, count, starts, *kernels = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        wants_kernels = wanted[len(wanted) - len(kernels) :]
        if needs_formula(upstream):
            state = None
            if windows is not None:
                state = CausalState(_apart(windows, kernels, ctx.dilations), running, count)
            gradients: Sequence[Tensor | None] = causal_gradients_by_formula(
                context, gates, decay, kernels, ctx.dilations, mask, state, [*wanted[:3], *wants_kernels], upstream
            )
        else:
            gradients = _backward_operator(
                upstream, context, gates, kernels, ctx.dilations, decay, mask, windows, running, count, starts
            )
        context_gradient, gates_gradient, decay_gradient, *kernel_gradients = gradients
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
    windows: Tensor | None,
    running: Tensor | None,
    count: Tensor | None,
) -> tuple[Tensor, ...]:
    if is_transformed():
        raise BackendUnavailableError(TRANSFORMED)
    differentiable = (context, gates, decay, *kernels)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in differentiable):
        return _Aggregation.apply(context, gates, decay, dilations, mask, windows, running, count, *kernels)
    with below_autograd():
        return _forward_operator(context, gates, kernels, dilations, decay, mask, windows, running, count)


_STATE = "Tensor? decay, Tensor? mask, Tensor? windows, Tensor? running, Tensor? count"
_operators = torch.library.Library("focalnets", "FRAGMENT")
_operators.define(
    f"causal_aggregation_triton(Tensor context, Tensor gates, Tensor[] kernels, int[] dilations, {_STATE}) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.define(
    "causal_aggregation_triton_backward(Tensor upstream, Tensor context, Tensor gates, Tensor[] kernels, "
    f"int[] dilations, {_STATE}, Tensor starts) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)
# On CPU tensors they run in Triton's interpreter.
for _device in ("CPU", "CUDA"):
    _operators.impl("causal_aggregation_triton", _forward, _device)
    _operators.impl("causal_aggregation_triton_backward", _backward, _device)
torch.library.register_fake("focalnets::causal_aggregation_triton", _forward_fake, lib=_operators)
torch.library.register_fake("focalnets::causal_aggregation_triton_backward", _backward_fake, lib=_operators)
_operators.impl("causal_aggregation_triton", _forward_with_derivative, "Autograd")
_forward_operator = torch.ops.focalnets.causal_aggregation_triton.default
_backward_operator = torch.ops.focalnets.causal_aggregation_triton_backward.default


@register_flop_formula(torch.ops.focalnets.causal_aggregation_triton)
def _forward_flops(context: Any, gates: Any, kernels: Any, *_: Any, **__: Any) -> int:
    """Count two FLOPs a multiply-add of the depthwise convolutions, as PyTorch counts a convolution."""
    return convolution_flops(context, kernels)


@register_flop_formula(torch.ops.focalnets.causal_aggregation_triton_backward)
def _backward_flops(upstream: Any, context: Any, gates: Any, kernels: Any, *_: Any, **__: Any) -> int:
    # The levels again, the gradient of their inputs and of their kernels.
    return 3 * convolution_flops(context, kernels)
