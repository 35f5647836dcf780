"""Causal focal aggregation in plain PyTorch: the specification that every other backend is held to.

Axes: B batch, T positions, C channels, L focal levels, R running levels, H groups of channels with gates of their own,
k kernel sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.machine.devices import sum_dtype

__all__ = ["CausalState", "causal_focal_aggregation_reference", "running_dtype"]


class CausalState(NamedTuple):
    """What a sequence leaves behind for its next position; its size does not depend on the length.

    Attributes:
        windows: For each level the last ``(k - 1) * dilation`` positions of what it convolves, (B, positions, C), in
            the dtype of the context; zeros before the first position.
        running: What the running levels hold, (B, R, C): the sum of the last level float64 where the device has it, or
            its weighted means.
        count: Valid positions so far (B,), int64.
    """

    windows: tuple[Tensor, ...]
    running: Tensor
    count: Tensor  # type: ignore[assignment]


def running_dtype(context: Tensor, decay: Tensor | None) -> torch.dtype:
    """Choose the dtype of :attr:`CausalState.running` for that context."""
    return sum_dtype(context.device) if decay is None else torch.promote_types(context.dtype, torch.float32)


def causal_focal_aggregation_reference(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    *,
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    state: CausalState | None,
) -> tuple[Tensor, CausalState]:
    """Compute the levels one after the other.

    Arguments and results are those of :func:`focalnets.ops.causal.causal_focal_aggregation`, on any device, in any
    floating dtype; gates are (B, T, L + R, H).
    """
    valid = None if mask is None else mask.unsqueeze(-1)  # (B, T, 1)
    level = context if valid is None else torch.where(valid, context, 0)
    result = torch.zeros_like(context)
    windows = []
    for index, (kernel, dilation) in enumerate(zip(kernels, dilations, strict=True)):
        past = (kernel.shape[1] - 1) * dilation
        before = level.new_zeros(level.shape[0], past, level.shape[2]) if state is None else state.windows[index]
        longer = torch.cat([before, level], 1)
        windows.append(longer[:, longer.shape[1] - past :].detach())
        convolved = F.conv1d(longer.mT, kernel.unsqueeze(1), dilation=dilation, groups=context.shape[-1])
        level = F.gelu(convolved.mT)
        if valid is not None:
            level = torch.where(valid, level, 0)
        result = result + _gated(gates[:, :, index], level)

    averages, running, count = _running_levels(level, decay, valid, state)
    for index, average in enumerate(averages, start=len(kernels)):
        result = result + _gated(gates[:, :, index], F.gelu(average))
    if valid is not None:
        result = torch.where(valid, result, 0)
    return result.contiguous(), CausalState(tuple(windows), running.detach(), count)


def _gated(gate: Tensor, level: Tensor) -> Tensor:
    """Multiply each of H groups of channels (B, T, C) by its gate (B, T, H)."""
    return (gate.unsqueeze(-1) * level.unflatten(-1, (gate.shape[-1], -1))).flatten(-2)


def _running_levels(
    level: Tensor, decay: Tensor | None, valid: Tensor | None, state: CausalState | None
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Compute what follows the last level, before the GELU.

    Args:
        level: The last level (B, T, C), zero where it is not valid.
        decay: None for the mean so far; else (S, C), or (B, T, C).
        valid: Booleans (B, T, 1), or None if all are.
        state: What went before.

    Returns:
        R maps (B, T, C) in the dtype of the level; what the state holds of them (B, R, C) after the last position; and
        the count (B,).
    """
    batch, length, channels = level.shape
    dtype = running_dtype(level, decay)
    if valid is None:
        steps = torch.arange(1, length + 1, device=level.device).expand(batch, length)
    else:
        steps = valid.squeeze(-1).cumsum(1)
    if state is not None:
        steps = steps + state.count.unsqueeze(1)
    count = steps[:, -1].clone()
    if decay is None:
        sums = level.to(dtype).cumsum(1)
        if state is not None:
            sums = sums + state.running
        mean = sums / steps.clamp(min=1).unsqueeze(-1)
        return [mean.to(level.dtype)], sums[:, -1:], count
    inflow = level.to(dtype)
    decays = [decay] if decay.ndim == 3 else [row.expand(batch, length, channels) for row in decay.unbind(0)]
    averages, running = [], []
    for index, kept in enumerate(decays):
        kept = kept.to(dtype)
        if valid is not None:
            kept = torch.where(valid, kept, 1)
        before = None if state is None else state.running[:, index]
        average = _recurrence(kept, (1 - kept) * inflow, before)
        averages.append(average.to(level.dtype))
        running.append(average[:, -1])
    return averages, torch.stack(running, 1), count


def _recurrence(decay: Tensor, inflow: Tensor, before: Tensor | None) -> Tensor:
    """Compute ``s_t = decay_t * s_(t-1) + inflow_t`` by doubling steps; all (B, T, C), ``before`` (B, C).

    After a step of size n each position holds what the 2 n positions up to it contribute, and the product of their
    decays.
    """
    if before is not None:
        first = inflow[:, :1] + decay[:, :1] * before.unsqueeze(1)
        inflow = torch.cat([first, inflow[:, 1:]], 1)
    step, length = 1, inflow.shape[1]
    while step < length:
        inflow = torch.cat([inflow[:, :step], inflow[:, step:] + decay[:, step:] * inflow[:, :-step]], 1)
        decay = torch.cat([decay[:, :step], decay[:, step:] * decay[:, :-step]], 1)
        step *= 2
    return inflow
