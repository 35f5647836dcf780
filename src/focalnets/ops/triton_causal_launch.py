"""Launching the Triton kernels of causal focal aggregation. Imports triton: import it only where triton is there.

Legend: B sequences, T positions, C channels, L focal levels, R running levels, H groups of channels with gates of their
own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from focalnets.ops import triton_causal_gradient_kernels, triton_causal_kernels
from focalnets.ops.causal_call import reach_of, running_levels
from focalnets.ops.causal_chunks import chunk_of, warm_up_of
from focalnets.ops.causal_reference import running_dtype
from focalnets.ops.triton_launch import PACKED_TAPS, TUNER, on_device_of
from focalnets.ops.triton_tiles import LAUNCH_OPTIONS

__all__ = ["backward", "forward"]

_EVERYTHING, _LEVELS_ONLY, _RUNNING_ONLY = 0, 1, 2
_FORWARD_UNROLL, _BACKWARD_UNROLL, _SCAN_UNROLL = 8, 4, 16
_FORWARD_BLOCKS = ((64, 1), (32, 1), (128, 2), (128, 4))
"""Channels a program, and its warps, the pair first that is taken without timing."""
_BACKWARD_BLOCKS = ((32, 1), (64, 1), (64, 2), (128, 4))


class Problem:
    """The tensors of one call as the kernels want them: adjacent channels, packed kernels, known strides."""

    def __init__(
        self,
        context: Tensor,
        gates: Tensor,
        kernels: Sequence[Tensor],
        dilations: Sequence[int],
        decay: Tensor | None,
        mask: Tensor | None,
        windows: Tensor | None,
        running: Tensor | None,
        count: Tensor | None,
    ) -> None:
        self.context = _adjacent(context)
        self.batch, self.length, self.channels = context.shape
        self.groups, self.levels, self.running = gates.shape[3], len(kernels), running_levels(decay)
        levels_adjacent = gates.stride(2) == self.groups and (self.groups == 1 or gates.stride(3) == 1)
        self.gates = gates if levels_adjacent else gates.contiguous()
        self.decay_kind = 0 if decay is None else 1 if decay.ndim == 2 else 2
        self.decay = self.context if decay is None else decay.contiguous() if decay.ndim == 2 else _adjacent(decay)
        self.has_mask = mask is not None
        self.valid = self.context if mask is None else mask.contiguous().view(torch.uint8)
        self.steps = self.context if mask is None else mask.cumsum(1)
        self.has_state = running is not None
        self.windows = self.context if windows is None else windows.contiguous()
        self.initial = None if running is None else running.contiguous()
        self.count = self.context if count is None else count
        self.taps = PACKED_TAPS.get(kernels) if kernels else self.context
        reach = reach_of(kernels, dilations)
        self.rows = sum(reach)
        self.warm_up = warm_up_of(reach)
        self.chunk = chunk_of(context, self.warm_up)
        self.chunks = triton.cdiv(self.length, self.chunk)
        self.sizes = [kernel.shape[1] for kernel in kernels]
        first_taps = [sum(self.sizes[:level]) for level in range(self.levels)]
        first_rows = [sum(reach[:level]) for level in range(self.levels)]
        rows = zip(self.sizes, dilations, first_taps, first_rows, strict=True)
        self.kernels = tuple(number for row in rows for number in row) or (1, 1, 0, 0)

    def new(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Allocate an uninitialised tensor beside the context."""
        return torch.empty(shape, dtype=dtype, device=self.context.device)

    def programs(self, block: int, items: int | None = None) -> tuple[int]:
        """Count the programs that take ``block`` channels of a group each, for every chunk, or so many items."""
        blocks = self.groups * triton.cdiv(self.channels // self.groups, block)
        return (self.batch * (self.chunks if items is None else items) * blocks,)

    def arguments(self, source: Tensor, block: int, warps: int) -> dict[str, Any]:
        """Give the arguments common to the kernels that read ``source`` (B, T, C)."""
        strides = [stride if size > 1 else 0 for stride, size in zip(source.stride(), source.shape, strict=True)]
        alignment = math.gcd(*strides[:2], 16)
        by_position = self.decay_kind == 2
        return {
            "length": self.length,
            "chunk_positions": self.chunk,
            "source_batch_stride": strides[0] // alignment,
            "source_row_stride": strides[1] // alignment,
            "gate_batch_stride": self.gates.stride(0),
            "gate_row_stride": self.gates.stride(1),
            "decay_batch_stride": self.decay.stride(0) if by_position else 0,
            "decay_row_stride": self.decay.stride(1) if by_position else 0,
            "C": self.channels,
            "GROUPS": self.groups,
            "RUNNING": self.running,
            "DECAY": self.decay_kind,
            "ALIGNMENT": alignment,
            "HAS_MASK": self.has_mask,
            "HAS_STATE": self.has_state,
            "BLOCK_C": block,
            "num_warps": warps,
            **LAUNCH_OPTIONS,
        }

    def of_levels(self) -> dict[str, Any]:
        """Give the arguments that describe the focal levels."""
        return {
            "warm_up": self.warm_up,
            "KERNELS": self.kernels,
            "LEVELS": self.levels,
            "TAPS": sum(self.sizes),
            "ROWS": self.rows,
        }


def _adjacent(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def _blocks(candidates: Sequence[tuple[int, int]], problem: Problem) -> list[tuple[int, int]]:
    """List blocks of channels and warps that suit groups of that size, without repetition."""
    most = triton.next_power_of_2(problem.channels // problem.groups)
    fitting = {(min(block, most), min(warps, max(1, min(block, most) // 32))): None for block, warps in candidates}
    return list(fitting)


def forward(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    windows: Tensor | None,
    running: Tensor | None,
    count: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute the result, windows of all levels (B, rows, C), running levels, count, and what each chunk begins with.

    Arguments are those of :func:`focalnets.ops.causal.causal_focal_aggregation`, gates (B, T, L + R, H), the state's
    windows side by side. The last result is (B, chunks, R, C), or empty where there is one chunk.
    """
    with on_device_of(context):
        problem = Problem(context, gates, kernels, dilations, decay, mask, windows, running, count)
        batch, channels, dtype = problem.batch, problem.channels, context.dtype
        result = problem.new(*context.shape, dtype=dtype)
        windows_after = problem.new(batch, problem.rows, channels, dtype=dtype)
        running_after = problem.new(batch, problem.running, channels, dtype=running_dtype(context, decay))
        count_after = problem.new(batch, dtype=torch.int64)
        several = problem.chunks > 1
        starts = problem.new(batch, problem.chunks, problem.running, channels) if several else problem.new(0)
        if result.numel() > 0:
            after = (windows_after, running_after, count_after)
            way = _by_chunks if several else _at_once
            ways: list[Callable[[], None]] = [
                functools.partial(way, problem, result, after, starts, *block)
                for block in _blocks(_FORWARD_BLOCKS, problem)
            ]
            TUNER.choose(ways, problem.context.unsqueeze(1), *_kind("causal", problem))
        return result, windows_after, running_after, count_after, starts


def _kind(name: str, problem: Problem) -> tuple[Any, ...]:
    return (name, *problem.kernels, problem.running, problem.groups, problem.decay_kind, problem.has_mask)


def _at_once(
    problem: Problem, result: Tensor, after: tuple[Tensor, Tensor, Tensor], starts: Tensor, block: int, warps: int
) -> None:
    _launch_aggregate(problem, problem.context, result, result, starts, starts, after, problem.initial, _EVERYTHING,
                      block, warps)  # fmt: skip


def _by_chunks(
    problem: Problem, result: Tensor, after: tuple[Tensor, Tensor, Tensor], starts: Tensor, block: int, warps: int
) -> None:
    top = torch.empty_like(result) if problem.levels else problem.context
    totals = torch.empty_like(starts)
    products = torch.empty_like(starts) if problem.decay_kind else starts
    _launch_aggregate(problem, problem.context, result, top, totals, products, after, None, _LEVELS_ONLY, block, warps)
    _launch_scan(problem, totals, products, starts, problem.initial, after[1])
    _launch_aggregate(problem, top, result, top, totals, products, after, starts, _RUNNING_ONLY, block, warps)


def _launch_aggregate(
    problem: Problem,
    source: Tensor,
    result: Tensor,
    top: Tensor,
    totals: Tensor,
    products: Tensor,
    after: tuple[Tensor, Tensor, Tensor],
    starts: Tensor | None,
    part: int,
    block: int,
    warps: int,
) -> None:
    no_levels = {"warm_up": 0, "KERNELS": (1, 1, 0, 0), "LEVELS": 0, "TAPS": 0, "ROWS": 0}
    triton_causal_kernels.aggregate_kernel[problem.programs(block)](
        source,
        problem.taps,
        problem.gates,
        problem.decay,
        problem.valid,
        problem.steps,
        problem.count,
        problem.windows,
        totals if starts is None else starts,
        result,
        top,
        totals,
        products,
        *after,
        **problem.arguments(source, block, warps),
        **(no_levels if part == _RUNNING_ONLY else problem.of_levels()),
        FIRST_GATE=problem.levels if part == _RUNNING_ONLY else 0,
        HAS_START=starts is not None,
        PART=part,
        UNROLL=_FORWARD_UNROLL,
    )


def _launch_scan(
    problem: Problem,
    totals: Tensor,
    products: Tensor,
    starts: Tensor,
    initial: Tensor | None,
    final: Tensor | None,
    *,
    backwards: bool = False,
) -> None:
    block = min(32, triton.next_power_of_2(problem.channels))
    programs = problem.batch * problem.running * triton.cdiv(problem.channels, block)
    triton_causal_kernels.scan_kernel[(programs,)](
        totals,
        products,
        totals if initial is None else initial,
        starts,
        totals if final is None else final,
        items=totals.shape[1],
        C=problem.channels,
        RUNNING=problem.running,
        HAS_PRODUCTS=problem.decay_kind != 0,
        HAS_INITIAL=initial is not None,
        HAS_FINAL=final is not None,
        REVERSED=backwards,
        UNROLL=_SCAN_UNROLL,
        BLOCK_C=block,
        num_warps=1,
        **LAUNCH_OPTIONS,
    )


def backward(
    upstream: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    dilations: Sequence[int],
    decay: Tensor | None,
    mask: Tensor | None,
    windows: Tensor | None,
    running: Tensor | None,
    count: Tensor | None,
    starts: Tensor,
) -> list[Tensor]:
    """Compute gradients of context, gates, decay and each kernel, contiguous; that of no decay is empty.

    ``starts`` is what :func:`forward` gave; the other arguments are those of it.
    """
    if context.numel() == 0:
        everything = (context, gates, *([] if decay is None else [decay]), *kernels)
        gradients = [torch.zeros_like(tensor, memory_format=torch.contiguous_format) for tensor in everything]
        return gradients if decay is not None else [*gradients[:2], context.new_empty(0), *gradients[2:]]
    with on_device_of(context):
        problem = Problem(context, gates, kernels, dilations, decay, mask, windows, running, count)
        ways = [
            functools.partial(_go_back, problem, upstream.contiguous(), starts, *block)
            for block in _blocks(_BACKWARD_BLOCKS, problem)
        ]
        found: list[Any] = []

        def keep(way: Callable[[], Any]) -> None:
            found[:] = way()

        TUNER.choose(
            [functools.partial(keep, way) for way in ways],
            problem.context.unsqueeze(1),
            *_kind("causal backward", problem),
        )
        context_gradient, gate_gradient, decay_gradient, filters = found
        kernel_gradients = []
        for part, kernel in zip(filters.split(problem.sizes) if problem.sizes else (), kernels, strict=True):
            kernel_gradients.append(torch.empty_like(kernel, memory_format=torch.contiguous_format).copy_(part.t()))
        return [context_gradient, gate_gradient, decay_gradient, *kernel_gradients]


def _go_back(
    problem: Problem, upstream: Tensor, starts: Tensor, block: int, warps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of context, gates, decay, and of all kernels (taps, C), float32."""
    shape, dtype = problem.context.shape, problem.context.dtype
    levels, running, channels = problem.levels, problem.running, problem.channels
    preactivations = problem.new(levels, *shape, dtype=dtype)
    runs = problem.new(running, *shape, dtype=dtype if problem.decay_kind == 0 else torch.float32)
    blocks = triton.cdiv(channels // problem.groups, block)
    gate_partials = problem.new(*shape[:2], blocks, levels + running, problem.groups)
    totals = problem.new(problem.batch, 2 * problem.chunks, running, channels)
    products = torch.empty_like(totals) if problem.decay_kind else totals
    carries = torch.empty_like(totals)
    begins = starts if problem.chunks > 1 else problem.initial
    common = {
        **problem.arguments(problem.context, block, warps),
        **problem.of_levels(),
        "map_elements": shape.numel(),
        "UNROLL": _BACKWARD_UNROLL,
    }
    inputs = (
        problem.context, problem.taps, problem.gates, problem.decay, problem.valid, problem.steps, problem.count,
        problem.windows,
    )  # fmt: skip
    triton_causal_gradient_kernels.recompute_kernel[problem.programs(block)](
        *inputs, totals if begins is None else begins, upstream, preactivations, runs, gate_partials, totals, products,
        **common, HAS_START=begins is not None,
    )  # fmt: skip
    if problem.chunks > 1:
        _launch_scan(problem, totals, products, carries, None, None, backwards=True)
    context_gradient = problem.new(*shape, dtype=dtype)
    decay_gradient = problem.new(*shape, dtype=dtype) if problem.decay_kind == 2 else problem.new(0, dtype=dtype)
    items = problem.batch * problem.chunks
    kernel_partials = problem.new(items, sum(problem.sizes), channels)
    decay_partials = problem.new(items, running, channels)
    triton_causal_gradient_kernels.gradient_kernel[problem.programs(block)](
        *inputs, totals if problem.initial is None else problem.initial, upstream, preactivations, runs, carries,
        context_gradient, decay_gradient, kernel_partials, decay_partials, **common,
    )  # fmt: skip
    if problem.decay_kind == 1:
        decay_gradient = decay_partials.sum(0).to(dtype)
    gate_gradient = (gate_partials.squeeze(2) if blocks == 1 else gate_partials.sum(2)).to(dtype)
    return context_gradient, gate_gradient, decay_gradient, kernel_partials.sum(0)
