"""Runs beside each other: what each reached, what it cost, and which settings tell them apart."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.errors import TrainingError
from focalnets.files import read_json, user_path
from focalnets.tasks.metric import Metric
from focalnets.training.config import TrainingConfig
from focalnets.training.run_folder import RunFolder

__all__ = ["RunSummary", "differing_settings", "find_runs", "read_run"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run in figures.

    Attributes:
        name: Its folder below the one that was searched.
        complete: Whether it came to its end.
        epochs: Epochs done.
        metric: The metric that the run watched, e.g. ``top1``.
        shown: How that metric is shown.
        best: Its best value in a validation; None before the first one. So with the next two.
        best_epoch: The epoch that reached it, counted from 1.
        last: Its value in the newest epoch.
        wall_time_s: Time of all epochs with their validations [s].
        images_per_s: Mean speed of training.
        parameters: Weights of the network; None where the run did not note them.
        config: Its settings.
        history: One row an epoch, the columns of ``metrics.csv`` as numbers.
        rank: Merit of its best epoch; larger is better.
    """

    name: str
    complete: bool
    epochs: int
    metric: str
    shown: Metric
    best: float | None
    best_epoch: int | None
    last: float | None
    wall_time_s: float
    images_per_s: float | None
    parameters: int | None
    config: TrainingConfig
    history: tuple[dict[str, float], ...]
    rank: tuple[float, float]


def find_runs(root: str | Path) -> list[RunSummary]:
    """Find all runs in ``root`` and the folders below it, or ``root`` itself if it is one; the best first.

    Raises:
        TrainingError: If there is none, or a file of one cannot be read.
    """
    root = user_path(root)
    if not root.is_dir():
        raise TrainingError(f"There is no folder '{root}'; name one that holds runs, e.g. runs.")
    folders = [path.parent for path in sorted(root.rglob("config.yaml")) if (path.parent / "environment.json").exists()]
    if not folders:
        raise TrainingError(f"There is no run in '{root}' or below it (none holds config.yaml and environment.json).")
    runs = [read_run(folder, name=root.name if folder == root else str(folder.relative_to(root))) for folder in folders]
    return sorted(runs, key=lambda run: run.rank, reverse=True)


def read_run(folder: str | Path, *, name: str | None = None) -> RunSummary:
    """Read the figures of the run in ``folder``.

    Raises:
        TrainingError: If one of its files cannot be read.
    """
    files = RunFolder(folder)
    try:
        config = files.read_config()
        environment = read_json(files.environment)
        history: tuple[dict[str, float], ...] = ()
        if files.metrics.exists():
            lines = files.metrics.read_text(encoding="utf-8").splitlines()
            history = tuple(
                {key: float(value) for key, value in row.items() if value != ""} for row in csv.DictReader(lines)
            )
        parameters = environment.get("parameters")
        for row in history:
            if not all(math.isfinite(row[column]) for column in ("epoch", "seconds", "images_per_s")):
                raise ValueError("an epoch, or its time, is no number")
        task = config.build_task()
        watch = task.watch
        best = max(history, key=watch.rank, default=None)
        trained = [row for row in history if row["epoch"] > 0]
        speeds = [row["images_per_s"] for row in trained]
        return RunSummary(
            name=name or files.root.name,
            complete=files.is_complete(),
            epochs=len(trained),
            metric=watch.metric,
            shown=task.metric_labels[watch.metric],
            best=None if best is None else best[watch.column],
            best_epoch=None if best is None else int(best["epoch"]),
            last=history[-1][watch.column] if history else None,
            rank=(-math.inf, -math.inf) if best is None else watch.rank(best),
            wall_time_s=sum(row["seconds"] for row in history),
            images_per_s=sum(speeds) / len(speeds) if speeds else None,
            parameters=parameters if type(parameters) is int else None,
            config=config,
            history=history,
        )
    except TrainingError:
        raise
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise TrainingError(f"The run '{files.root}' cannot be read ({reason}); repair or remove its files.") from error


def differing_settings(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """Find the settings in which the runs are not all the same, with the value of each run."""
    configs = [run.config.to_flat_dict() for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    values = {key: [config.get(key) for config in configs] for key in keys}
    return {key: of_runs for key, of_runs in values.items() if any(value != of_runs[0] for value in of_runs)}
