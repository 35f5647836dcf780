"""Timing several calls side by side: in rounds, each in an order drawn anew.

A machine that slows down or speeds up does so for all of a round; ratios are taken within rounds.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["Timing", "interleave", "ratios", "spread"]

_LONG_S = 1.0
"""A first call at least this long [s] is trusted as an estimate; what happens only once hardly shows in it."""

_PAUSE_S = 0.01
"""Between turns [s]: the thread pools of the libraries keep their cores busy for a moment after the last call."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long to measure: rounds fill ``budget_s`` within ``[fewest, most]``; a turn repeats calls for ``turn_s``."""

    budget_s: float
    fewest: int = 7
    most: int = 30
    turn_s: float = 0.05


def interleave(
    calls: Mapping[str, Callable[[], Any]], timing: Timing, first: Mapping[str, float] | None = None, seed: int = 0
) -> dict[str, list[float]]:
    """Time calls in rounds.

    Args:
        calls: What to time, by name; warmed up here.
        timing: How long.
        first: How long a call took before [s], by name; a long one serves as warm-up and estimate.
        seed: Of the order within rounds.

    Returns:
        For each name one mean time a call and round [s], rounds in order.
    """
    generator = random.Random(seed)
    once = {name: _estimate(call, (first or {}).get(name, 0.0)) for name, call in calls.items()}
    repeats = {name: max(1, min(1000, math.ceil(timing.turn_s / estimate))) for name, estimate in once.items()}
    round_s = sum(once[name] * (repeats[name] + (repeats[name] > 1)) + _PAUSE_S for name in calls)
    rounds = max(timing.fewest, min(timing.most, int(timing.budget_s / round_s)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name in generator.sample(list(calls), len(calls)):
                samples[name].append(_turn(calls[name], repeats[name]))
    finally:
        gc.enable()
    return samples


def _estimate(call: Callable[[], Any], first_s: float) -> float:
    if first_s >= _LONG_S:
        return first_s
    call()
    begin = time.perf_counter()
    call()
    return max(time.perf_counter() - begin, 1e-7)


def _turn(call: Callable[[], Any], repeats: int) -> float:
    time.sleep(_PAUSE_S)
    if repeats > 1:
        call()  # brings back to the caches what the others displaced
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def spread(values: Sequence[float]) -> dict[str, float]:
    """Compute the median and the 20th and 80th percentile."""
    p20, median, p80 = np.percentile(np.asarray(values, dtype=np.float64), (20, 50, 80))
    return {"median": float(median), "p20": float(p20), "p80": float(p80)}


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> dict[str, float]:
    """Compute the spread of the ratios within rounds."""
    return spread([above / below for above, below in zip(numerator, denominator, strict=True)])
