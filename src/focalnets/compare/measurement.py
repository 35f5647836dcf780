"""Fills the cells of a comparison, the cheap ones first, within a time that is given."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from focalnets.compare.calls import TASKS, Task, is_out_of_memory, prepare_call, sample_images
from focalnets.compare.entrants import Entrant, build, multiply_accumulates
from focalnets.compare.results import FINAL, Cell, Comparison, Network
from focalnets.compare.timing import Timing, interleave, spread
from focalnets.errors import ConfigError
from focalnets.version import __version__

__all__ = ["Plan", "describe_setting", "fill", "measure_memory"]

Progress = Callable[[int, str], None]

_LARGEST_SHARE = 4.0
"""A cell may take this many times its even share of the time that is left; cheap cells leave the rest to dear ones."""

_CALLS_A_CELL = 5
"""Calls that a cell costs at least: two in the process of its own, warm-up, estimate and one round."""

_STARTING_S = 6.0
"""What starting a process of its own takes [s]."""

_TRAINING_OVER_INFERENCE = 3.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure.

    Attributes:
        entrants: The networks.
        sizes_px: Heights and widths of the images.
        batches: Images at once.
        tasks: ``inference``, ``training`` or both.
        device: Where.
        minutes: Time for all cells together.
        most_rounds: Of a cell.
    """

    entrants: tuple[Entrant, ...]
    sizes_px: tuple[int, ...]
    batches: tuple[int, ...]
    tasks: tuple[Task, ...] = TASKS
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    minutes: float = 15.0
    most_rounds: int = 20

    def __post_init__(self) -> None:
        if not self.entrants:
            raise ConfigError("a comparison needs at least one network, got none.")
        for name, values in (("sizes", self.sizes_px), ("batch", self.batches)):
            if not values or min(values) < 1:
                raise ConfigError(f"--{name} must be whole numbers from 1 up, got {list(values)}.")
        if not self.minutes > 0:
            raise ConfigError(f"--minutes must be above 0, got {self.minutes}.")

    def groups(self) -> list[tuple[Task, int, int]]:
        """Task, size and batch of cells that are measured together, cheapest first."""
        listed = [(task, size, batch) for task in self.tasks for size in self.sizes_px for batch in self.batches]
        factor = {"inference": 1.0, "training": _TRAINING_OVER_INFERENCE}
        return sorted(dict.fromkeys(listed), key=lambda one: factor[one[0]] * one[1] ** 2 * one[2])


def describe_setting(device: torch.device) -> dict[str, Any]:
    """What cells that stand side by side must share."""
    try:
        timm = importlib.metadata.version("timm")
    except importlib.metadata.PackageNotFoundError:
        timm = None
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "focalnets": __version__,
        "torch": torch.__version__,
        "timm": timm,
    }


def fill(
    comparison: Comparison,
    plan: Plan,
    *,
    after_group: Callable[[Comparison], None],
    progress: Progress | None = None,
    memory: Callable[..., dict[str, Any]] | None = None,
) -> None:
    """Measure what ``comparison`` lacks of the plan.

    Args:
        comparison: Taken as it is; final cells stay.
        plan: What to measure.
        after_group: Called whenever cells were added, to keep them.
        progress: Gets the number of groups done and what comes next.
        memory: In place of :func:`measure_memory`, for tests.
    """
    _describe_networks(comparison, plan)
    ends = time.monotonic() + 60 * plan.minutes
    groups = plan.groups()
    speeds: dict[tuple[str, str], float] = {}
    for done, (task, size, batch) in enumerate(groups):
        if progress is not None:
            progress(done, f"{'training step' if task == 'training' else task}, {size} px, batch {batch}")
        todo = [one for one in plan.entrants if not _is_final(comparison, (one.name, task, size, batch))]
        if not todo:
            continue
        left = max(0.0, ends - time.monotonic())
        allowance = min(left, _LARGEST_SHARE * left / (len(groups) - done)) / len(todo)
        for cell in _group(todo, task, size, batch, plan, allowance, speeds, memory or measure_memory):
            comparison.add(cell)
        after_group(comparison)
    if progress is not None:
        progress(len(groups), "done")


def _is_final(comparison: Comparison, key: tuple[str, str, int, int]) -> bool:
    known = comparison.cells.get(key)
    return known is not None and known.status in FINAL


def _describe_networks(comparison: Comparison, plan: Plan) -> None:
    for entrant in plan.entrants:
        known = comparison.networks.get(entrant.name)
        if known is not None and known.parameters is not None:
            continue
        parameters = None
        for size in plan.sizes_px:
            with contextlib.suppress(Exception):  # why a size is refused stands in its cell
                parameters = sum(one.numel() for one in build(entrant, size_px=size).parameters())
                break
        published = entrant.published
        comparison.networks[entrant.name] = Network(
            name=entrant.name,
            family=entrant.family,
            parameters=parameters,
            published_top1_percent=None if published is None else published.top1_percent,
            published_by=None if published is None else published.source,
        )


def _group(
    entrants: Sequence[Entrant],
    task: Task,
    size: int,
    batch: int,
    plan: Plan,
    allowance_s: float,
    speeds: dict[tuple[str, str], float],
    memory: Callable[..., dict[str, Any]],
) -> list[Cell]:
    """The cells of all entrants at one task, size and batch: memory in processes of their own, then times together.

    ``speeds`` are multiply-accumulates a second that earlier cells reached, by model and task.
    """
    cells: dict[str, Cell] = {}
    calls: dict[str, Callable[[], Any]] = {}
    once_s: dict[str, float] = {}
    for entrant in entrants:
        name = entrant.name
        cell = Cell(model=name, task=task, size_px=size, batch=batch, status="failed")
        with contextlib.suppress(Exception):  # a network that refuses the size is reported below
            cell = dataclasses.replace(cell, macs=multiply_accumulates(build(entrant, size_px=size), size))
        expected_s = (cell.macs or 0) * batch / speeds.get((name, task), float("inf"))
        if _STARTING_S + _CALLS_A_CELL * expected_s > allowance_s:
            cells[name] = _over(cell, allowance_s, expected_s)
            continue
        job = {"model": name, "task": task, "size_px": size, "batch": batch, "device": str(plan.device)}
        outcome = memory(job, timeout_s=max(allowance_s, _STARTING_S))
        cells[name] = cell = dataclasses.replace(
            cell, status=outcome["status"], why=outcome.get("why"), peak_bytes=outcome.get("peak_bytes")
        )
        if cell.status != "measured":
            continue
        once_s[name] = outcome["seconds"]
        if cell.macs and once_s[name] > 0:
            speeds[name, task] = cell.macs * batch / once_s[name]
        try:
            _, call = prepare_call(entrant, task, size, plan.device)
            images = sample_images(batch, size, plan.device)
            calls[name] = _bound(call, images)
        except Exception as error:
            cells[name] = _not_timed(cell, error)
    _time(cells, calls, plan, allowance_s, once_s)
    calls.clear()
    gc.collect()
    return list(cells.values())


def _time(
    cells: dict[str, Cell],
    calls: dict[str, Callable[[], Any]],
    plan: Plan,
    allowance_s: float,
    once_s: dict[str, float],
) -> None:
    """Put the times of the calls into the cells; who breaks down is left out and the others go on."""
    for name in list(calls):
        try:
            calls[name]()  # the first of each call decides whether it can take part
        except Exception as error:
            cells[name] = _not_timed(cells[name], error)
            del calls[name]
    if not calls:
        return
    spent = sum(_STARTING_S + 3 * once_s[name] for name in calls)
    budget = max(0.0, allowance_s * len(calls) - spent)
    # A slow call is measured once at least; its few rounds are told in the table.
    samples = interleave(calls, Timing(budget, fewest=1, most=plan.most_rounds), once_s)
    for name, values in samples.items():
        cells[name] = dataclasses.replace(
            cells[name], latency_s=spread(values), rounds=len(values), together_with=tuple(calls)
        )


def _bound(call: Callable[[Any], Any], images: torch.Tensor) -> Callable[[], Any]:
    return lambda: call(images)


def _not_timed(cell: Cell, error: Exception) -> Cell:
    words = (str(error).strip().splitlines() or ["no message"])[0][:200]
    status = "out of memory" if is_out_of_memory(error) else "unsupported"
    return dataclasses.replace(cell, status=status, why=f"{type(error).__name__}: {words}")


def _over(cell: Cell, allowance_s: float, expected_s: float | None) -> Cell:
    call = "" if expected_s is None else f"; a call is expected to take about {expected_s:.0f} s"
    why = f"There were {allowance_s:.0f} s for this cell{call}. Run again with more --minutes to fill it."
    return dataclasses.replace(cell, status="over the time", why=why)


def measure_memory(job: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Do a job of :mod:`focalnets.compare.memory_worker` in a fresh process; returns its outcome.

    A process that the system ended counts as out of memory, one that takes longer than ``timeout_s`` as over the time.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcome.json"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        request = {**job, "threads": torch.get_num_threads(), "outcome": str(file)}
        try:
            ended = subprocess.run(
                [sys.executable, "-m", "focalnets.compare.memory_worker"],
                input=json.dumps(request), capture_output=True, text=True, env=environment, timeout=timeout_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"status": "over the time", "why": f"It took more than {timeout_s:.0f} s; give more --minutes."}
        if ended.returncode == 0 and file.exists():
            return json.loads(file.read_text(encoding="utf-8"))
    if ended.returncode in (-9, 137):
        return {"status": "out of memory", "why": "The system ended the process, as it does where memory runs out."}
    last = (ended.stderr.strip().splitlines() or ["no message"])[-1][:200]
    return {"status": "failed", "why": f"The process ended with status {ended.returncode}: {last}"}
