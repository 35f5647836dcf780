"""Timing several contenders side by side, and refusing to when they do not compute the same.

All contenders of a case live in one process. Each round calls every one of them, in an order drawn anew, so that a
machine that slows down or speeds up does so for all; ratios are taken within rounds.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from focalnets.machine.timing import Timing, interleave, ratios, spread

__all__ = [
    "Absent",
    "Contender",
    "DisagreementError",
    "Target",
    "Timing",
    "attempt",
    "check_agreement",
    "describe_case",
    "describe_goal",
    "interleave",
    "own_tolerances",
    "ratios",
    "relative_error",
    "spread",
    "time_case",
]


class DisagreementError(Exception):
    """Contenders do not compute the same, so their times must not be compared."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """Something to be timed.

    Attributes:
        name: As printed.
        call: What is timed; everything that can be prepared is prepared.
        outputs: What the call computes, by name, in layouts common to all contenders; None for what computes nothing
            comparable, such as a copy of memory.
        tolerance: Of its outputs, relative; None takes that of the case.
    """

    name: str
    call: Callable[[], Any]
    outputs: Callable[[], Mapping[str, Tensor]] | None
    tolerance: float | None = None


@dataclasses.dataclass(frozen=True)
class Absent:
    """A contender that was not measured.

    ``status`` is ``"not installed"``, ``"cannot run here"``, ``"not run"`` or ``"failed"``, ``why`` a sentence.
    """

    name: str
    status: str
    why: str


@dataclasses.dataclass(frozen=True)
class Target:
    """What a ratio should be.

    For times the ratio says how many times as fast ``contender`` is as ``against``; for memory, and for ``of="error"``,
    which fraction of that of ``against`` it needs or has. ``missing`` says what this processor lacks for what the
    target was set for, or None.
    """

    contender: str
    against: str
    at_least: float | None = None
    at_most: float | None = None
    of: str | None = None
    missing: str | None = None


def attempt(name: str, build: Callable[[], Contender]) -> Contender | Absent:
    """Make a contender ready. A peer that breaks down meanwhile is a failed one; our own failures are errors."""
    try:
        return build()
    except Exception as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> Absent:
    if name.startswith("focalnets") or isinstance(error, DisagreementError):
        raise error
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return Absent(name, "failed", f"{type(error).__name__}: {first[:200]}")


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Compute the norm of the difference over that of what was expected, in float64; infinite if not finite."""
    if got.shape != expected.shape:
        raise DisagreementError(f"an output has shape {tuple(got.shape)} where {tuple(expected.shape)} is expected.")
    got, expected = got.detach().double().cpu(), expected.detach().double().cpu()
    error = float((got - expected).norm() / expected.norm().clamp(min=torch.finfo(torch.float64).tiny))
    return error if math.isfinite(error) else math.inf


def check_agreement(
    contenders: Sequence[Contender], expected: Mapping[str, Tensor], tolerance: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Compare what contenders compute.

    Returns:
        The largest relative error of each contender over all outputs, and how long computing them took [s].

    Raises:
        DisagreementError: If an error is above the tolerance, or outputs are missing.
    """
    errors, durations = {}, {}
    for contender in contenders:
        if contender.outputs is None:
            continue
        begin = time.perf_counter()
        got = contender.outputs()
        durations[contender.name] = time.perf_counter() - begin
        if set(got) != set(expected):
            raise DisagreementError(f"{contender.name} gives other outputs than expected; nothing is reported.")
        worst, errors[contender.name] = max(
            ((name, relative_error(got[name], expected[name])) for name in expected), key=lambda pair: pair[1]
        )
        allowed = tolerance if contender.tolerance is None else contender.tolerance
        if not errors[contender.name] <= allowed:
            raise DisagreementError(
                f"{contender.name} does not compute the same: the relative error of {worst} is "
                f"{errors[contender.name]:.1e}, allowed is {allowed:.0e}; nothing is reported."
            )
    return errors, durations


def own_tolerances(contenders: Sequence[Contender], tolerance: float) -> dict[str, float]:
    """List the tolerances that are not that of the case."""
    return {each.name: each.tolerance for each in contenders if each.tolerance not in (None, tolerance)}


def time_case(
    name: str,
    contenders: Sequence[Contender | Absent],
    *,
    baseline: str,
    tolerance: float,
    timing: Timing,
    expected: Mapping[str, Tensor] | None = None,
    targets: Sequence[Target] = (),
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Check that all contenders agree, time them, and describe the outcome as plain values for JSON.

    Args:
        name: As printed.
        contenders: Who takes part, and who does not.
        baseline: The contender that the others are compared with in the report.
        tolerance: Of the outputs, relative; of contenders that have none of their own.
        timing: How long to measure.
        expected: The outputs; None takes those of the baseline, or of the first where the baseline is absent.
        targets: What ratios should be.
        details: Further plain values that describe the case.

    Raises:
        DisagreementError: If a contender does not compute what is expected.
    """
    present = [contender for contender in contenders if isinstance(contender, Contender)]
    absent = [contender for contender in contenders if isinstance(contender, Absent)]
    errors: dict[str, float] = {}
    durations: dict[str, float] = {}
    if expected is None:
        judge = next((contender for contender in present if contender.name == baseline), present[0])
        assert judge.outputs is not None
        begin = time.perf_counter()
        expected = {key: output.detach().clone() for key, output in judge.outputs().items()}
        durations[judge.name] = time.perf_counter() - begin
        own = expected
        errors |= check_agreement([dataclasses.replace(judge, outputs=lambda: own)], expected, tolerance)[0]
    for contender in [each for each in present if each.name not in errors]:
        try:
            found = check_agreement([contender], expected, tolerance)
        except Exception as error:
            absent.append(_failed(contender.name, error))
            present.remove(contender)
        else:
            errors |= found[0]
            durations |= found[1]
    samples = interleave({contender.name: contender.call for contender in present}, timing, durations)
    return describe_case(
        name,
        "s",
        samples,
        absent,
        errors,
        baseline=baseline,
        tolerance=tolerance,
        tolerances=own_tolerances(present, tolerance),
        targets=targets,
        details=details,
    )


def describe_case(
    name: str,
    unit: str,
    samples: Mapping[str, Sequence[float]],
    absent: Sequence[Absent],
    errors: Mapping[str, float],
    *,
    baseline: str,
    tolerance: float,
    tolerances: Mapping[str, float] | None = None,
    targets: Sequence[Target] = (),
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe a case in plain values; ``unit`` is ``"s"``, with ratios of speed, or ``"bytes"``, of memory."""

    def ratio(contender: str, against: str) -> dict[str, float]:
        if unit == "s":
            return ratios(samples[against], samples[contender])
        return ratios(samples[contender], samples[against])

    def reached(target: Target) -> dict[str, float] | None:
        if target.of == "error":
            both = target.contender in errors and errors.get(target.against, 0.0) > 0
            return ratios([errors[target.contender]], [errors[target.against]]) if both else None
        both = target.contender in samples and target.against in samples
        return ratio(target.contender, target.against) if both else None

    rows: list[dict[str, Any]] = []
    for contender, values in samples.items():
        row: dict[str, Any] = {"name": contender, "status": "measured", **spread(values)}
        if baseline in samples:
            row["ratio"] = ratio(contender, baseline)
        if contender in errors:
            row["relative_error"] = errors[contender]
        if contender in (tolerances or {}):
            row["tolerance"] = (tolerances or {})[contender]
        row["samples"] = [float(f"{value:.5g}") for value in values]
        rows.append(row)
    rows.extend({"name": missing.name, "status": missing.status, "why": missing.why} for missing in absent)
    return {
        "name": name,
        "unit": unit,
        "baseline": baseline,
        "tolerance": tolerance,
        "rounds": max((len(values) for values in samples.values()), default=0),
        **(details or {}),
        "contenders": rows,
        "targets": [describe_goal(target, reached(target)) for target in targets],
    }


def describe_goal(target: Target, ratio: Mapping[str, float] | None) -> dict[str, Any]:
    """Describe in plain values what a target came to; ``ratio`` is its spread, None where it was not measured."""
    goal = {key: value for key, value in dataclasses.asdict(target).items() if value is not None}
    if ratio is not None:
        low = -math.inf if target.at_least is None else target.at_least
        high = math.inf if target.at_most is None else target.at_most
        goal |= {"ratio": dict(ratio), "reached": low <= ratio["median"] <= high}
    return goal
