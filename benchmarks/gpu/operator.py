"""The aggregation alone: forward, backward, tiles, what the processor has to do for a call, and where time goes.

Axes: B batch, H W height and width [tokens], C channels, L focal levels.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.aggregation import Problem, Setting, TimmAggregation
from benchmarks.gpu.device import DEVICE, HAS_GPU, Call, captured, free, interleaved
from benchmarks.gpu.record import Record
from focalnets.ops import triton_launch, triton_tiles, triton_winners
from focalnets.ops.triton_backend import focal_aggregation_triton

__all__ = ["measure_backward", "measure_forward", "measure_host", "measure_tiles", "profile_backward", "winners"]

_STAGES = ((4, 96), (8, 192), (16, 384), (32, 768))
"""Stride and channels of FocalNet-T's stages."""


def _settings(tiny: bool, sizes: tuple[tuple[int, int], ...]) -> list[tuple[str, Setting]]:
    if tiny:
        return [("tiny", Setting(1, 3, 8, (3,)))]
    return [
        (f"{side} px, batch {batch}, stage {stage}", Setting(batch, side // stride, channels))
        for batch, side in sizes
        for stage, (stride, channels) in enumerate(_STAGES, start=1)
    ]


def measure_forward(record: Record, tiny: bool) -> None:
    """Time ours by both ways, with rows of whole loads and without, timm's, and a copy of as many bytes."""
    for name, setting in _settings(tiny, ((128, 224), (8, 224), (256, 224), (12, 1024), (1, 1024), (3, 2048))):
        record.measure(name, functools.partial(_forward, setting, tiny))


def _split(problem: Problem, whole_loads: bool) -> tuple[Tensor, Tensor]:
    projected = problem.projected
    if whole_loads:
        projected = pad(projected, (0, -projected.shape[-1] % 8))
    channels, _, gates = problem.sizes
    return projected[..., channels : 2 * channels], projected[..., 2 * channels : 2 * channels + gates]


@torch.no_grad()
def _forward(setting: Setting, tiny: bool) -> dict[str, Any]:
    problem = Problem(setting, DEVICE, torch.bfloat16)
    context, gates = _split(problem, whole_loads=True)
    narrow = _split(problem, whole_loads=False)
    kernels = problem.kernels
    bytes_needed = problem.necessary_bytes()
    source = torch.ones(bytes_needed // 2, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    calls: dict[str, Call] = {
        "ours": lambda: focal_aggregation_triton(context, gates, kernels),
        "ours, rows of 8-byte loads": lambda: focal_aggregation_triton(*narrow, kernels),
        "ours, by levels": lambda: triton_launch.forward(context, gates, kernels, None, False, whole_map=False),
        "ours, whole map": lambda: triton_launch.forward(context, gates, kernels, None, False, whole_map=True),
        "copy of as many bytes": lambda: target.copy_(source),
    }
    calls |= _timm(problem, tiny)
    rows = interleaved(calls, budget_s=1.0, baseline="timm channels_last")
    copy = rows["copy of as many bytes"].get("median_s")
    if copy and "median_s" in rows["ours"]:
        rows["of the copy's bytes a second"] = round(copy / rows["ours"]["median_s"], 3)
        rows["copy, bytes a second"] = round(bytes_needed / copy)
    free()
    return rows


def _timm(problem: Problem, tiny: bool) -> dict[str, Call]:
    calls: dict[str, Call] = {}
    images = problem.projected.movedim(-1, 1)
    for name, memory_format in (("timm", torch.contiguous_format), ("timm channels_last", torch.channels_last)):
        module = TimmAggregation(problem).to(memory_format=memory_format)
        laid_out = images.contiguous(memory_format=memory_format)
        calls[name] = functools.partial(module, laid_out)
    if not tiny:
        compiled: Any = torch.compile(module)
        calls["timm compiled"] = functools.partial(compiled, laid_out)
    return calls


def measure_backward(record: Record, tiny: bool) -> None:
    """Time forward and backward pass together, ours and timm's."""
    for name, setting in _settings(tiny, ((128, 224), (8, 224), (12, 1024))):
        record.measure(name, functools.partial(_both, setting))


def _both(setting: Setting) -> dict[str, Any]:
    problem = Problem(setting, DEVICE, torch.bfloat16)
    kernels = [kernel.clone().requires_grad_() for kernel in problem.kernels]
    context, gates = (part.detach().requires_grad_() for part in _split(problem, whole_loads=True))

    def ours() -> Any:
        result = focal_aggregation_triton(context, gates, kernels)
        return torch.autograd.grad(result, [context, gates, *kernels], problem.upstream)

    calls: dict[str, Call] = {"ours": ours}
    module = TimmAggregation(problem).to(memory_format=torch.channels_last)
    images = problem.projected.movedim(-1, 1).contiguous(memory_format=torch.channels_last)
    _, their_context, their_gates = (part.detach().requires_grad_() for part in images.split(problem.sizes, 1))
    upstream = problem.upstream.movedim(-1, 1)

    def theirs() -> Any:
        result = module.aggregate(their_context, their_gates)
        return torch.autograd.grad(result, [their_context, their_gates, *module.kernels()], upstream)

    calls["timm channels_last"] = theirs
    rows = interleaved(calls, budget_s=1.0, baseline="timm channels_last")
    free()
    return rows


def measure_host(record: Record, tiny: bool) -> None:
    """Measure what the processor does for a call, without waiting for the GPU, and a replay of a CUDA graph."""
    record.measure("host time a call", functools.partial(_host, tiny))


@torch.no_grad()
def _host(tiny: bool) -> dict[str, Any]:
    problem = Problem(Setting(1, 5, 8, (3,)) if tiny else Setting(1, 14, 384), DEVICE, torch.bfloat16)
    context, gates = _split(problem, whole_loads=True)

    def ours() -> Tensor:
        return focal_aggregation_triton(context, gates, problem.kernels)

    module = TimmAggregation(problem).to(memory_format=torch.channels_last)
    images = problem.projected.movedim(-1, 1).contiguous(memory_format=torch.channels_last)
    rows: dict[str, Any] = {}
    for name, call in (("ours", ours), ("timm channels_last", lambda: module(images))):
        call()
        repeats = 1 if tiny else 200
        if HAS_GPU:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        rows[name] = {"host_s": (time.perf_counter() - begin) / repeats}
        if HAS_GPU:
            torch.cuda.synchronize()
    if HAS_GPU:
        rows["graph"] = interleaved({"ours": captured(ours), "eager": ours}, budget_s=1.0, baseline="eager")
    return rows


def measure_tiles(record: Record, tiny: bool) -> None:
    """Time many tiles for each kernel size; the first one is what is taken without timing."""
    for side, channels in ((5, 8),) if tiny else ((56, 96), (14, 384)):
        for size in (3,) if tiny else (3, 5, 7):
            record.measure(
                f"{size} x {size}, {channels} channels", functools.partial(_tiles, side, channels, size, tiny)
            )


@torch.no_grad()
def _tiles(side: int, channels: int, size: int, tiny: bool) -> dict[str, Any]:
    problem = Problem(Setting(1 if tiny else 128, side, channels, (size,)), DEVICE, torch.bfloat16)
    context, gates = _split(problem, whole_loads=True)
    shapes = triton_launch.Problem(context, gates, problem.kernels, None)
    out = torch.empty_like(context, memory_format=torch.contiguous_format)
    first = triton_tiles.candidate_tiles(side, side, channels)[0]
    more = [
        triton_tiles.Tile(rows, columns, lanes, warps)
        for rows in (2, 4, 7, 8)
        for columns in (8, 16, 32)
        for lanes in (32, 64, 128)
        for warps in (2, 4, 8)
        if lanes < 32 * warps and lanes <= 2 * channels and rows <= side and rows * columns * lanes <= 16_384
    ]
    durations = {}
    for tile in [first, *([] if tiny else more)]:
        call = functools.partial(_launch_with, tile, shapes, out)
        try:
            call()
            durations[tile] = interleaved({"call": call}, budget_s=0.05, baseline="call")["call"]["median_s"]
        except Exception:  # Too many registers, or too much shared memory.
            continue
    best = sorted(durations, key=lambda tile: durations[tile])[:4]
    return {
        "first": [vars(first), durations[first]],
        "best": [[vars(tile), durations[tile]] for tile in best],
        "loss_of_the_first": round(durations[first] / durations[best[0]], 3),
        "tried": len(durations),
    }


def _launch_with(tile: triton_tiles.Tile, shapes: triton_launch.Problem, out: Tensor) -> None:
    class _Fixed:
        def run(self, launch: Any, *_: Any) -> Any:
            return launch(tile)

    usual, triton_launch.TUNER = triton_launch.TUNER, _Fixed()  # type: ignore[assignment]
    try:
        triton_launch.launch_levels(shapes, shapes.new_map(0), out, None)
    finally:
        triton_launch.TUNER = usual


def profile_backward(record: Record, tiny: bool) -> None:
    """Find how much time each kernel of the backward pass takes."""
    for name, setting in _settings(tiny, ((128, 224),)):
        record.measure(name, functools.partial(_profile, setting))


def _profile(setting: Setting) -> dict[str, Any]:
    problem = Problem(setting, DEVICE, torch.bfloat16)
    kernels = [kernel.clone().requires_grad_() for kernel in problem.kernels]
    context, gates = (part.detach().requires_grad_() for part in _split(problem, whole_loads=True))
    activity = torch.profiler.ProfilerActivity.CUDA if HAS_GPU else torch.profiler.ProfilerActivity.CPU

    def both() -> None:
        result = focal_aggregation_triton(context, gates, kernels)
        torch.autograd.grad(result, [context, gates, *kernels], problem.upstream)

    both()
    with torch.profiler.profile(activities=[activity]) as profile:
        both()
        if HAS_GPU:
            torch.cuda.synchronize()
    times = {
        event.key[:80]: (event.self_device_time_total if HAS_GPU else event.self_cpu_time_total) / 1e6
        for event in profile.key_averages()
    }
    return {"seconds_by_kernel": dict(sorted(times.items(), key=lambda pair: -pair[1])[:16])}


def winners() -> dict[str, Any]:
    """Read what the tuner has found on this device."""
    return dict(triton_winners.read(torch.cuda.get_device_name())) if HAS_GPU else {}
