"""What networks reached after the same training, as typed results that are kept in the comparison's folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from focalnets.errors import ConfigError
from focalnets.files import csv_text, read_json, write_json, write_text
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.table import task_class
from focalnets.tasks.task import Task

__all__ = ["Accuracies", "Accuracy", "read_accuracies"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """What one network reached.

    Attributes:
        model: Its name.
        summary: What it changes, of a variation.
        parameters: Learnt numbers.
        macs: Multiply-accumulates for one image at the size trained at.
        scores: Metric of the task, by seed, in the validation after the last epoch; not the best epoch, whose choice
            would use the same images.
        mean, interval: Their mean with its 95 % interval, see :func:`mean_interval`; None if no training came to its
            end. One training alone has no interval if the metric is no fraction of the images.
        training_s: Mean time of a training with its validations [s].
        failed: Why a training did not come to its end, by seed.
        published_top1_percent, published_by: ImageNet-1K top-1 as published.
    """

    model: str
    summary: str | None
    parameters: int | None
    macs: int | None
    scores: Mapping[int, float]
    mean: float | None
    interval: tuple[float, float] | None
    training_s: float | None
    failed: Mapping[int, str]
    published_top1_percent: float | None
    published_by: str | None

    @property
    def result(self) -> str:
        """The mean with its interval in percent, or why there is none."""
        if self.mean is None:
            return next(iter(self.failed.values()), "not trained")
        if self.interval is None:
            return f"{self.mean:.1%}"
        return f"{self.mean:.1%} ({self.interval[0]:.1%} to {self.interval[1]:.1%})"


@dataclasses.dataclass
class Accuracies:
    """All networks trained under one setting.

    Attributes:
        setting: Training config, skeleton of variations and data.
        origin: Command, date, duration and machine of the newest training.
        rows: In the order in which they were first asked for.
    """

    setting: dict[str, Any]
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: list[Accuracy] = dataclasses.field(default_factory=list)

    @property
    def watch(self) -> Watch:
        """Which metric the networks were trained for."""
        return self._task.watch

    @property
    def metric(self) -> Metric:
        """How that metric is called and shown."""
        return self._task.metric_labels[self.watch.metric]

    @property
    def _task(self) -> type[Task]:
        return task_class(self.setting["training"].get("task", "classify"))

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain values that survive JSON."""
        return {"setting": self.setting, "origin": self.origin, "rows": [dataclasses.asdict(row) for row in self.rows]}

    def to_csv(self) -> str:
        """Format as CSV, one line a network."""
        metric = self.watch.metric
        heading = (
            "model", "parameters", "macs", "seeds", f"{metric}_mean", f"{metric}_low", f"{metric}_high",
            f"{metric}_by_seed", "training_s", "published_top1_percent", "failed",
        )  # fmt: skip
        lines = []
        for row in self.rows:
            low, high = row.interval or (None, None)
            by_seed = " ".join(f"{value:.6g}" for _, value in sorted(row.scores.items()))
            failed = "; ".join(f"seed {seed}: {why}" for seed, why in row.failed.items())
            lines.append(
                (
                    row.model, row.parameters, row.macs, len(row.scores), row.mean, low, high, by_seed, row.training_s,
                    row.published_top1_percent, failed,
                )
            )  # fmt: skip
        return csv_text(heading, lines)

    def write(self, folder: Path) -> None:
        """Write ``accuracy.json`` and ``accuracy.csv``, whole or not at all."""
        write_json(folder / "accuracy.json", self.to_dict())
        write_text(folder / "accuracy.csv", self.to_csv())


def read_accuracies(folder: Path) -> Accuracies | None:
    """Read what is kept in ``folder``; None if nothing.

    Raises:
        ConfigError: If the file there is damaged.
    """
    file = folder / "accuracy.json"
    if not file.exists():
        return None
    try:
        content = read_json(file)
        rows = [Accuracy(**_restore_types(row)) for row in content["rows"]]
        return Accuracies(content["setting"], content["origin"], rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"'{file}' cannot be read ({type(error).__name__}); remove it, or name another --output."
        ) from error


def _restore_types(row: dict[str, Any]) -> dict[str, Any]:
    """Undo what JSON has done: it made texts of seeds and a list of the interval. Older files say top1 for scores."""
    if "top1" in row:
        row["scores"] = row.pop("top1")
    row |= {key: {int(seed): value for seed, value in row[key].items()} for key in ("scores", "failed")}
    return row | {"interval": row["interval"] and tuple(row["interval"])}
