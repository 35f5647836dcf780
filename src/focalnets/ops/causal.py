"""The public operator for one-dimensional causal data: focal aggregation that sees no later position.

Axes: B batch, T positions, C channels, L focal levels, R running levels, H groups of channels with gates of their own,
k kernel sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import BackendUnavailableError, ShapeError, UnknownNameError, nearest
from focalnets.ops import causal_call, causal_triton, cpu, reference, triton_backend
from focalnets.ops.causal_call import reach_of, running_levels
from focalnets.ops.causal_cpu import causal_focal_aggregation_cpu
from focalnets.ops.causal_reference import CausalState as CausalState
from focalnets.ops.causal_reference import causal_focal_aggregation_reference, running_dtype
from focalnets.ops.causal_triton import causal_focal_aggregation_triton
from focalnets.ops.eager import is_exporting

__all__ = ["CausalState", "causal_focal_aggregation", "initial_state"]

_BACKENDS: dict[str, tuple[Callable[..., Any], Callable[[], str | None], Callable[..., str | None]]] = {
    "triton": (causal_focal_aggregation_triton, triton_backend.why_unavailable, causal_triton.why_unsupported),
    "cpu": (causal_focal_aggregation_cpu, cpu.why_unavailable, causal_call.why_unsupported),
    "reference": (causal_focal_aggregation_reference, reference.why_unavailable, lambda *_: None),
}
"""By the names that users give, best first: the function, why it cannot run here, why it cannot take some tensors."""


def causal_focal_aggregation(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    dilations: Sequence[int] | None = None,
    decay: Tensor | None = None,
    mask: Tensor | None = None,
    state: CausalState | None = None,
    backend: str | None = None,
) -> tuple[Tensor, CausalState]:
    """Gather what came before every position at several granularities and sum it under the position's gates.

    With ``Z_0 = context``: ``Z_l = GELU(depthwise convolution of Z_(l-1) with kernels[l-1], padded on the left)`` for
    l = 1..L. The running levels follow from Z_L: the GELU of its mean over all positions so far, or, with ``decay``, of
    ``s_t = a_t s_(t-1) + (1 - a_t) Z_L,t``. The result is the sum of all levels times their gates. Linear in T, and a
    sequence may come in chunks of any length: with the state carried on, they give what the whole gives.

    Differentiable in context, gates, kernels and decay. Gradients end at the state.

    Args:
        context: (B, T, C), floating point, channels last.
        gates: One weight per position and level (B, T, L + R), the running levels last; or (B, T, L + R, H) with one
            for each of H groups of adjacent channels. Used as they are.
        kernels: L tensors (C, k), the last tap on the position itself; an empty sequence leaves the running levels.
        dilations: Positions between the taps of each kernel; None for 1 everywhere.
        decay: What the running levels keep from one position to the next, from 0 to 1. None for the mean, R = 1;
            (S, C) for R = S levels of fixed time scales; (B, T, C) for R = 1 level whose decay depends on the position.
        mask: Booleans (B, T), True for valid positions. Others enter neither a convolution nor a running level, their
            results are zero. So padding on the left changes nothing; padding on the right leaves a state whose windows
            end in zeros.
        state: What the positions before left behind; None at the beginning.
        backend: ``"triton"``, ``"cpu"`` or ``"reference"``; None takes the best that can run. One asked for by name
            never falls back.

    Returns:
        The aggregated context (B, T, C), contiguous, in the dtype of ``context``, and the state after the last
        position.

    Raises:
        ShapeError: If shapes, dtypes or devices do not fit together.
        UnknownNameError: If no backend has the name asked for.
        BackendUnavailableError: If the backend asked for cannot run here or on these tensors.

    Source: Yang et al., Focal Modulation Networks, NeurIPS 2022, equations 4 and 5, whose authors name language as
    the next step. Padding on the left, running means in place of the global one and the state are ours.
    """
    kernels = list(kernels)
    dilations = [1] * len(kernels) if dilations is None else list(dilations)
    _check(context, gates, kernels, dilations, decay, mask)
    if gates.ndim == 3:
        gates = gates.unsqueeze(-1)
    if state is not None:
        _check_state(state, initial_state(context, kernels, dilations=dilations, decay=decay))
    function = _select(backend, context, gates, kernels, dilations, decay)
    return function(context, gates, kernels, dilations=dilations, decay=decay, mask=mask, state=state)


def _select(backend: str | None, *arguments: Any) -> Callable[..., tuple[Tensor, CausalState]]:
    """Choose the backend asked for, or the best one that can take these tensors; the reference while exporting."""
    if backend is None and is_exporting():
        backend = "reference"
    if backend is not None and backend not in _BACKENDS:
        raise UnknownNameError(
            f"No backend is called {backend!r}; {nearest(str(backend), _BACKENDS)} None takes the best."
        )
    for name, (function, why_unavailable, why_unsupported) in _BACKENDS.items():
        if backend in (None, name):
            reason = why_unavailable() or why_unsupported(*arguments)
            if reason is None:
                return function
            if backend is not None:
                raise BackendUnavailableError(f"Backend {backend!r} was asked for but cannot be used: {reason}")
    raise AssertionError("the reference takes everything")


def initial_state(
    context: Tensor,
    kernels: Sequence[Tensor],
    *,
    dilations: Sequence[int] | None = None,
    decay: Tensor | None = None,
) -> CausalState:
    """Make the state of sequences that have not begun, for arguments of :func:`causal_focal_aggregation`."""
    batch, _, channels = context.shape
    dilations = [1] * len(kernels) if dilations is None else dilations
    return CausalState(
        tuple(context.new_zeros(batch, past, channels) for past in reach_of(kernels, dilations)),
        context.new_zeros(batch, running_levels(decay), channels, dtype=running_dtype(context, decay)),
        torch.zeros(batch, dtype=torch.int64, device=context.device),
    )


def _check(
    context: Tensor,
    gates: Tensor,
    kernels: list[Tensor],
    dilations: list[int],
    decay: Tensor | None,
    mask: Tensor | None,
) -> None:
    if context.ndim != 3 or 0 in context.shape[1:]:
        raise ShapeError(
            f"context must be (B, T, C) with at least one position and channel, got shape {tuple(context.shape)}."
        )
    if not context.is_floating_point():
        raise ShapeError(f"context must be floating point, got {context.dtype}.")
    batch, length, channels = context.shape
    if len(dilations) != len(kernels) or any(dilation < 1 for dilation in dilations):
        raise ShapeError(f"dilations must be {len(kernels)} whole numbers from 1 up, one a kernel, got {dilations}.")
    for index, kernel in enumerate(kernels):
        if kernel.ndim != 2 or kernel.shape[0] != channels or kernel.shape[1] < 1:
            raise ShapeError(f"kernels[{index}] must be ({channels}, k), got shape {tuple(kernel.shape)}.")
    if decay is not None and decay.shape != context.shape and (decay.ndim != 2 or decay.shape[1] != channels):
        raise ShapeError(
            f"decay must be (S, {channels}) or {tuple(context.shape)} as the context, got shape {tuple(decay.shape)}."
        )
    levels = len(kernels) + running_levels(decay)
    if gates.ndim not in (3, 4) or gates.shape[:3] != (batch, length, levels):
        raise ShapeError(
            f"gates must be {(batch, length, levels)}, one weight per position for each of the {len(kernels)} levels "
            f"and the running ones, or have one more axis for groups of channels; got {tuple(gates.shape)}."
        )
    if gates.ndim == 4 and (gates.shape[3] < 1 or channels % gates.shape[3]):
        raise ShapeError(
            f"{channels} channels do not make {gates.shape[3]} equal groups, one for each gate of a level; choose a "
            "number of groups that divides them."
        )
    if mask is not None and (mask.shape != context.shape[:2] or mask.dtype != torch.bool):
        raise ShapeError(f"mask must be boolean with shape {(batch, length)}, got {mask.dtype} {tuple(mask.shape)}.")
    named = [("gates", gates), *((f"kernels[{index}]", kernel) for index, kernel in enumerate(kernels))]
    for name, tensor in [*named, ("decay", decay)]:
        if tensor is not None and (tensor.dtype != context.dtype or tensor.device != context.device):
            raise ShapeError(
                f"{name} must be {context.dtype} on {context.device} as the context is, "
                f"got {tensor.dtype} on {tensor.device}."
            )
    if mask is not None and mask.device != context.device:
        raise ShapeError(f"mask must be on {context.device} as the context is, got {mask.device}.")


def _check_state(state: CausalState, expected: CausalState) -> None:
    got = (*state.windows, state.running, state.count)
    wanted = (*expected.windows, expected.running, expected.count)
    same = len(got) == len(wanted) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.device == b.device for a, b in zip(got, wanted, strict=True)
    )
    if not same:
        raise ShapeError(
            "state is not that of such a context, kernels and decay: it must hold "
            f"{', '.join(map(_described, wanted))}, got {', '.join(map(_described, got))}."
        )


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}".removeprefix("torch.")
