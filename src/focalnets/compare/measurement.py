"""Fills the cells of a comparison, the cheap ones first, within the time and the memory that there are."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from focalnets.compare.calls import TASKS, Task, build_whole, prepare_call, sample_batch
from focalnets.compare.forecast import Forecast, wanted_rounds
from focalnets.compare.memory_process import MemoryProcess
from focalnets.compare.memory_worker import LARGEST_FRACTION
from focalnets.compare.models import ComparedModel, multiply_accumulates
from focalnets.compare.results import FINAL, Cell, Comparison, Network
from focalnets.errors import ConfigError
from focalnets.machine.description import describe_machine, describe_versions
from focalnets.machine.devices import device_name
from focalnets.machine.memory import available_bytes, is_out_of_memory
from focalnets.machine.timing import Timing, interleave, spread
from focalnets.tasks.batch import Batch
from focalnets.version import __version__

__all__ = ["Plan", "Step", "describe_setting", "fill"]

MeasureMemory = Callable[..., dict[str, Any]]

_UNKNOWN_S = 60.0
"""What a first call may take while nothing is known of its speed [s], if the time that is left allows it."""

_PATIENCE = 4.0
"""A call in a process of its own may take so many times what is expected of it."""

_AROUND_S = 30.0
"""Of the time given, what starting before the cells and drawing behind them take [s]; at most a tenth."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure.

    Attributes:
        models: The networks.
        sizes_px: Heights and widths of the images.
        batches: Images at once.
        tasks: ``inference``, ``training`` or both.
        device: Where.
        minutes: Time for all cells together.
        most_rounds: Of a cell.
        trained_for: Task whose head all get, see :data:`focalnets.tasks.table.TASKS`.
    """

    models: tuple[ComparedModel, ...]
    sizes_px: tuple[int, ...]
    batches: tuple[int, ...]
    tasks: tuple[Task, ...] = TASKS
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    minutes: float = 15.0
    most_rounds: int = 20
    trained_for: str = "classify"

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("a comparison needs at least one network, got none.")
        for name, values in (("sizes", self.sizes_px), ("batch", self.batches)):
            if not values or min(values) < 1:
                raise ConfigError(f"--{name} must be whole numbers from 1 up, got {list(values)}.")
        unknown = sorted(set(self.tasks) - set(TASKS))
        if unknown or not self.tasks:
            raise ConfigError(f"--tasks must be inference, training or both, got {', '.join(unknown) or 'none'}.")
        if not 0 < self.minutes < float("inf"):
            raise ConfigError(f"--minutes must be above 0, got {self.minutes}.")

    def groups(self) -> list[tuple[Task, int, int]]:
        """List task, size and batch of cells that are measured together, cheapest first."""
        listed = [(task, size, batch) for task in self.tasks for size in self.sizes_px for batch in self.batches]
        factor = {"inference": 1.0, "training": 3.5}
        return sorted(dict.fromkeys(listed), key=lambda group: factor[group[0]] * group[1] ** 2 * group[2])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """How far a comparison is: groups done and planned, what comes next, and about how long the rest takes [s]."""

    done: int
    groups: int
    doing: str
    left_s: float


Progress = Callable[[Step], None]


def describe_setting(
    device: torch.device, skeleton: Mapping[str, Any] | None = None, trained_for: str = "classify"
) -> dict[str, Any]:
    """Describe what cells that stand side by side must share."""
    machine, versions = describe_machine(), describe_versions(("timm",))
    return {
        "device": device_name(device),
        "processor": machine.processor,
        "threads": machine.threads,
        "focalnets": __version__,
        "torch": torch.__version__,
        "timm": versions.get("timm"),
        "python": platform.python_version(),
        "skeleton": dict(skeleton or {}),
        **({} if trained_for == "classify" else {"trained_for": trained_for}),
    }


def fill(
    comparison: Comparison,
    plan: Plan,
    *,
    after_group: Callable[[Comparison], None],
    progress: Progress | None = None,
    memory: MeasureMemory | None = None,
) -> None:
    """Measure what ``comparison`` lacks of the plan.

    Groups of cells are measured from the cheapest on. Before each, what every later cell will cost is estimated from
    the cells so far; cells that no longer fit into the time are left out, and what the others leave is spent on rounds.

    Args:
        comparison: Taken as it is; final cells stay.
        plan: What to measure.
        after_group: Called whenever cells were added, to keep them.
        progress: Gets each step.
        memory: In place of :meth:`MemoryProcess.measure`, for tests.
    """
    with MemoryProcess() as process:
        _Measurement(comparison, plan, memory or process.measure, progress).fill(after_group)


class _Measurement:
    def __init__(self, comparison: Comparison, plan: Plan, memory: MeasureMemory, progress: Progress | None) -> None:
        self.comparison, self.plan, self.memory, self.progress = comparison, plan, memory, progress
        self.ends = time.monotonic() + 60 * plan.minutes - min(_AROUND_S, 6 * plan.minutes)
        self.costs_s = 0.0
        self.forecast = Forecast()
        self.macs: dict[tuple[str, int], int | None] = {}
        for cell in sorted(comparison.cells.values(), key=lambda cell: cell.batch * cell.size_px**2):
            self.forecast.learn(cell, None if cell.latency_s is None else cell.latency_s["median"])

    def left_s(self) -> float:
        return max(0.0, self.ends - time.monotonic())

    def fill(self, after_group: Callable[[Comparison], None]) -> None:
        _describe_networks(self.comparison, self.plan)
        blank = [self._list_blank(*group) for group in self.plan.groups()]
        groups = [cells for cells in blank if cells]
        for done, cells in enumerate(groups):
            to_spare_s = self._look_ahead(groups[done:])
            show = functools.partial(self._show_progress, len(blank) - len(groups) + done, len(blank), cells[0])
            entering = self._admit(cells)
            results = [self._leave_out(cell) for cell in cells if cell not in entering]
            for cell in [*results, *self._measure_group(entering, to_spare_s, show)]:
                self.comparison.add(cell)
            after_group(self.comparison)
        if self.progress is not None:
            self.progress(Step(done=len(blank), groups=len(blank), doing="done", left_s=0.0))

    def _look_ahead(self, groups: Sequence[Sequence[Cell]]) -> float:
        """Compute what each of the groups that fit into the time can spend on rounds beyond those wanted of all [s]."""
        left, fitting, least = self.left_s(), 0, 0.0
        for cells in groups:
            needed = sum(map(self.forecast.cell_s, cells))
            if least + needed > left:
                break
            fitting, least = fitting + 1, least + needed
        to_spare = (left - least) / max(1, fitting)
        rounds_s = [sum(self.forecast.call_s(cell) or 0.0 for cell in cells) for cells in groups[:fitting]]
        self.costs_s = least + sum(min(to_spare, (self.plan.most_rounds - 1) * round_s) for round_s in rounds_s)
        return to_spare

    def _show_progress(self, done: int, groups: int, cell: Cell, name: str) -> None:
        if self.progress is None:
            return
        words = "training step" if cell.task == "training" else cell.task
        doing = f"{words}, {cell.size_px} px, batch {cell.batch}: {name}"
        self.progress(Step(done=done, groups=groups, doing=doing, left_s=min(self.left_s(), self.costs_s)))

    def _list_blank(self, task: Task, size: int, batch: int) -> list[Cell]:
        """List the cells that are to be filled."""
        cells = []
        for model in self.plan.models:
            known = self.comparison.cells.get((model.name, task, size, batch))
            if known is None or known.status not in FINAL:
                macs = self._count_macs(model, size)
                cells.append(Cell(model=model.name, task=task, size_px=size, batch=batch, status="failed", macs=macs))
        return cells

    def _count_macs(self, model: ComparedModel, size: int) -> int | None:
        key = model.name, size
        if key not in self.macs:
            self.macs[key] = None
            with contextlib.suppress(Exception):  # a network that refuses the size is reported when it is run
                self.macs[key] = multiply_accumulates(build_whole(model, self.plan.trained_for, size), size)
        return self.macs[key]

    def _admit(self, cells: Sequence[Cell]) -> list[Cell]:
        """Choose the cells for which there is time, the cheapest first; none if that would be fewer than half."""
        entering: list[Cell] = []
        for cell in sorted(cells, key=self.forecast.cell_s):
            if sum(map(self.forecast.cell_s, [*entering, cell])) <= self.left_s():
                entering.append(cell)
        return [cell for cell in cells if cell in entering] if 2 * len(entering) >= len(cells) else []

    def _leave_out(self, cell: Cell) -> Cell:
        expected = self.forecast.call_s(cell)
        call = "" if expected is None else f"; a call is expected to take about {expected:.0f} s"
        why = f"There were {self.left_s():.0f} s left{call}. Run again with more --minutes to fill it."
        return dataclasses.replace(cell, status="over the time", why=why, expected_s=expected)

    def _measure_group(self, cells: Sequence[Cell], to_spare_s: float, show: Callable[[str], None]) -> list[Cell]:
        """Fill cells of one task, size and batch: memory in processes of their own, then times together."""
        results: dict[str, Cell] = {}
        calls: dict[str, Callable[[], Any]] = {}
        once_s: dict[str, float] = {}
        models = {model.name: model for model in self.plan.models}
        for cell in cells:
            name = cell.model
            show(name)
            results[name] = cell = self._measure_alone(cell, models[name], once_s)
            if cell.status != "measured":
                continue
            try:
                place = (cell.size_px, self.plan.device)
                _, call = prepare_call(models[name], cell.task, *place, self.plan.trained_for)  # type: ignore[arg-type]
                calls[name] = _Call(call, sample_batch(self.plan.trained_for, cell.batch, *place))
            except Exception as error:
                results[name] = _not_timed(cell, error)
        show("all together")
        self._time(results, calls, once_s, to_spare_s)
        calls.clear()
        gc.collect()
        return list(results.values())

    def _measure_alone(self, cell: Cell, model: ComparedModel, once_s: dict[str, float]) -> Cell:
        """Measure the memory of one call in a process of its own; returns the cell with it."""
        expected_s, free = self.forecast.call_s(cell), available_bytes()
        needed = self.forecast.peak_bytes(cell)
        if (
            self.plan.device.type == "cpu"
            and free is not None
            and needed is not None
            and needed > LARGEST_FRACTION * free
        ):
            why = f"It would take about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free."
            return dataclasses.replace(cell, status="over the memory", why=why)
        timeout = (
            _UNKNOWN_S if expected_s is None else max(_UNKNOWN_S / 2, _PATIENCE * expected_s * (1 + 1 / cell.batch))
        )
        job = {
            "model": cell.model,
            "skeleton": dict(model.skeleton),
            "trained_for": self.plan.trained_for,
            "task": cell.task,
            "size_px": cell.size_px,
            "batch": cell.batch,
            "device": str(self.plan.device),
        }
        outcome = self.memory(job, timeout_s=max(5.0, min(timeout, self.left_s())))
        cell = dataclasses.replace(
            cell, status=outcome["status"], why=outcome.get("why"), peak_bytes=outcome.get("peak_bytes")
        )
        if cell.status == "measured":
            once_s[cell.model] = outcome["seconds"]
            self.forecast.learn(cell, outcome["seconds"])
        return cell

    def _time(
        self, results: dict[str, Cell], calls: dict[str, Callable[[], Any]], once_s: dict[str, float], to_spare_s: float
    ) -> None:
        """Put the times of the calls into the cells; who breaks down is left out and the others go on."""
        left = self.left_s()
        for name in sorted(calls, key=once_s.__getitem__):
            left -= once_s[name]
            if left < 0:  # the calls in processes of their own took longer than expected
                del calls[name]
                results[name] = self._leave_out(results[name])
        if not calls:
            return
        round_s = sum(once_s[name] for name in calls)
        wanted = wanted_rounds(round_s / len(calls)) * round_s
        # A slow call is measured once at least; its few rounds are told in the table.
        budget = min(wanted + to_spare_s, max(round_s, self.left_s()))
        samples = interleave(calls, Timing(budget, fewest=1, most=self.plan.most_rounds), once_s)
        for name, values in samples.items():
            error = calls[name].error  # type: ignore[attr-defined]
            if error is not None:
                results[name] = _not_timed(results[name], error)
                continue
            results[name] = dataclasses.replace(
                results[name], latency_s=spread(values), rounds=len(values), together_with=tuple(calls)
            )
            self.forecast.learn(results[name], spread(values)["median"])


class _Call:
    """A call that keeps its first error to itself, so that the others' rounds go on."""

    def __init__(self, call: Callable[[Any], Any], batch: Batch) -> None:
        self._call, self._batch = call, batch
        self.error: Exception | None = None

    def __call__(self) -> None:
        if self.error is None:
            try:
                self._call(self._batch)
            except Exception as error:
                self.error = error.with_traceback(None)  # which would keep what the call had made


def _describe_networks(comparison: Comparison, plan: Plan) -> None:
    for model in plan.models:
        known = comparison.networks.get(model.name)
        if known is not None and known.parameters is not None:
            continue
        parameters = None
        for size in plan.sizes_px:
            with contextlib.suppress(Exception):  # why a size is refused stands in its cell
                network = build_whole(model, plan.trained_for, size)
                parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
                break
        published = model.published
        comparison.networks[model.name] = Network(
            name=model.name,
            family=model.family,
            parameters=parameters,
            published_top1_percent=None if published is None else published.top1_percent,
            published_by=None if published is None else published.source,
        )


def _not_timed(cell: Cell, error: Exception) -> Cell:
    words = (str(error).strip().splitlines() or ["no message"])[0][:200]
    status = "out of memory" if is_out_of_memory(error) else "unsupported"
    return dataclasses.replace(cell, status=status, why=f"{type(error).__name__}: {words}")
