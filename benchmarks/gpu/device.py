"""The device that is measured: a CUDA device, or, for dry runs, a CPU on which Triton interprets the kernels."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["DEVICE", "HAS_GPU", "Call", "captured", "free", "interleaved", "peak_bytes"]

HAS_GPU = torch.cuda.is_available()
DEVICE = "cuda" if HAS_GPU else "cpu"

Call = Callable[[], Any]


def interleaved(calls: Mapping[str, Call], *, budget_s: float, baseline: str, turn_s: float = 0.02) -> dict[str, Any]:
    """Time calls in rounds, each in an order drawn anew: medians [s], and ratios to a baseline within rounds.

    A call that fails is left out, with its error.
    """
    ready: dict[str, tuple[Call, int]] = {}
    rows: dict[str, Any] = {}
    for name, call in calls.items():
        try:
            ready[name] = call, 1
            call()
            if HAS_GPU:
                ready[name] = call, max(1, min(200, int(turn_s / max(_turn(call, 1), 1e-6))))
        except Exception as error:
            ready.pop(name, None)
            rows[name] = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    samples: dict[str, list[float]] = {name: [] for name in ready}
    begin, generator = time.monotonic(), random.Random(0)
    while ready and (len(samples[next(iter(ready))]) < 5 or time.monotonic() - begin < budget_s):
        for name in generator.sample(list(ready), len(ready)):
            samples[name].append(_turn(*ready[name]))
        if not HAS_GPU or len(samples[name]) >= 60:
            break
    for name, values in samples.items():
        rows[name] = {"median_s": statistics.median(values), "best_s": min(values), "rounds": len(values)}
        if baseline in samples:
            within = [other / own for other, own in zip(samples[baseline], values, strict=True)]
            rows[name]["times_as_fast"] = round(statistics.median(within), 3)
    return rows


def _turn(call: Call, repeats: int) -> float:
    if not HAS_GPU:
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - begin) / repeats
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    for _ in range(repeats):
        call()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1000 / repeats


def captured(call: Call) -> Call:
    """Capture a call into a CUDA graph; returns its replay."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def free() -> None:
    """Give back what is no longer needed."""
    torch._dynamo.reset()
    if HAS_GPU:
        torch.cuda.empty_cache()


def peak_bytes(call: Call) -> int:
    """Measure how much memory a call needs beside what is there already [bytes]."""
    free()
    call()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
