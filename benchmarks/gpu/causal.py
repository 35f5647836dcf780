"""Causal aggregation alone: whether it computes the same as the reference, and how fast it is beside plain PyTorch.

Axes: B sequences, T positions, C channels, L focal levels, R running levels, H groups of channels with gates of their
own.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.correctness import judge
from benchmarks.gpu.device import DEVICE, Call, captured, free, interleaved
from benchmarks.gpu.record import Record
from focalnets.ops.causal import causal_focal_aggregation

__all__ = ["measure_correctness", "measure_speed"]

_LEVELS = ((3, 1), (5, 1), (7, 1))
_SHAPES: list[tuple[tuple[int, int, int], tuple[tuple[int, int], ...], int]] = [
    ((8, 1024, 384), _LEVELS, 1),
    ((64, 256, 384), _LEVELS, 1),
    ((2, 3001, 96), ((4, 1), (4, 4)), 4),
    ((1, 1, 40), _LEVELS, 1),
    ((3, 777, 40), (), 1),
]
_TINY: list[tuple[tuple[int, int, int], tuple[tuple[int, int], ...], int]] = [((1, 5, 4), ((3, 1),), 2)]
_RUNNING = {"mean": 0, "three scales": 3, "decay by position": -1}


def _draw(
    shape: tuple[int, int, int], levels: tuple[tuple[int, int], ...], groups: int, scales: int, dtype: torch.dtype
) -> tuple[Tensor, list[Tensor], Tensor | None]:
    """Projection (B, T, 2 C + (L + R) H), whose width is a multiple of 8, kernels and decay."""
    generator = torch.Generator(DEVICE).manual_seed(sum(shape))

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device=DEVICE)

    batch, length, channels = shape
    width = 2 * channels + (len(levels) + max(1, scales)) * groups
    kernels = [(normal(channels, size) / math.sqrt(size)).to(dtype) for size, _ in levels]
    decay = None
    if scales:
        decay = torch.sigmoid(2 * normal(*((scales, channels) if scales > 0 else shape))).to(dtype)
    return normal(batch, length, width + -width % 8).to(dtype), kernels, decay


def _parts(projection: Tensor, channels: int, levels: int, groups: int) -> tuple[Tensor, Tensor]:
    gates = projection[..., 2 * channels : 2 * channels + levels * groups]
    return projection[..., channels : 2 * channels], gates.unflatten(-1, (levels, groups))


def measure_correctness(record: Record, tiny: bool) -> None:
    """Compare every kind of problem, most usual first."""
    dtypes = (torch.bfloat16,) if tiny else (torch.bfloat16, torch.float32, torch.float16)
    for (shape, levels, groups), dtype in itertools.product(_TINY if tiny else _SHAPES, dtypes):
        for running, state in itertools.product(_RUNNING, (False, True)):
            words = f"{'x'.join(map(str, shape))} {levels} {str(dtype)[6:]} {running}{' masked, with state' * state}"
            record.measure(words, functools.partial(_compare, shape, levels, groups, _RUNNING[running], dtype, state))


def _compare(
    shape: tuple[int, int, int],
    levels: tuple[tuple[int, int], ...],
    groups: int,
    scales: int,
    dtype: torch.dtype,
    goes_on: bool,
) -> dict[str, Any]:
    projection, kernels, decay = _draw(shape, levels, groups, scales, dtype)
    channels, count = shape[2], len(levels) + max(1, scales)
    mask = torch.rand(shape[:2], device=DEVICE) > 0.3 if goes_on else None
    upstream = torch.randn(shape, device=DEVICE).to(dtype)
    dilations = [dilation for _, dilation in levels]

    def run(backend: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in (projection, *kernels)]
        kept = None if decay is None else decay.detach().to(dtype).requires_grad_()
        context, gates = _parts(leaves[0], channels, count, groups)
        arguments: dict[str, Any] = {"dilations": dilations, "decay": kept, "backend": backend}
        state = None
        if goes_on:
            with torch.no_grad():
                _, state = causal_focal_aggregation(context, gates, leaves[1:], **{**arguments, "backend": "reference"})
        result, after = causal_focal_aggregation(context, gates, leaves[1:], mask=mask, state=state, **arguments)
        leaves += [] if kept is None else [kept]
        gradients = torch.autograd.grad(result, leaves, upstream.to(dtype))
        return [result.detach(), *gradients, *after.windows, after.running]

    exact = run("reference", torch.float64)
    return judge(run("triton", dtype), run("reference", dtype), exact, torch.finfo(dtype).eps)


def measure_speed(record: Record, tiny: bool) -> None:
    """Time forward, and forward and backward together, beside plain PyTorch and a copy of as many bytes."""
    shapes = [(1, 5, 4)] if tiny else [(8, 1024, 384), (1, 65536, 384), (64, 256, 384)]
    for shape in shapes:
        for backward in (False, True):
            words = f"{'x'.join(map(str, shape))}, forward{' and backward' * backward}"
            record.measure(words, functools.partial(_speed, shape, backward, tiny))


def _speed(shape: tuple[int, int, int], backward: bool, tiny: bool) -> dict[str, Any]:
    levels = ((3, 1),) if tiny else _LEVELS
    projection, kernels, _ = _draw(shape, levels, 1, 0, torch.bfloat16)
    context, gates = (part.detach() for part in _parts(projection, shape[2], len(levels) + 1, 1))
    leaves = [tensor.requires_grad_(backward) for tensor in (context, gates, *kernels)]
    upstream = torch.randn(shape, device=DEVICE).to(torch.bfloat16)

    def call(backend: str) -> Any:
        with torch.set_grad_enabled(backward):
            result, _ = causal_focal_aggregation(context, gates, kernels, backend=backend)
        return torch.autograd.grad(result, leaves, upstream) if backward else result

    bytes_needed = (2 + 3 * backward) * context.numel() * context.element_size()
    source = torch.ones(max(1, bytes_needed // 2), dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    calls: dict[str, Call] = {
        "ours": functools.partial(call, "triton"),
        "eager": functools.partial(call, "reference"),
        "copy of as many bytes": lambda: target.copy_(source),
    }
    if not tiny:
        compiled: Any = torch.compile(call)
        calls["eager compiled"] = functools.partial(compiled, "reference")
        if not backward:
            calls["ours, CUDA graph"] = captured(calls["ours"])
    rows = interleaved(calls, budget_s=0.5 if tiny else 1.0, baseline="eager")
    copy = rows["copy of as many bytes"].get("median_s")
    if copy and "median_s" in rows["ours"]:
        rows["of the copy's bytes a second"] = round(copy / rows["ours"]["median_s"], 3)
        rows["copy, bytes a second"] = round(bytes_needed / copy)
    free()
    return rows
