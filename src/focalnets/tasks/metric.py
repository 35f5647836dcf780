"""What metrics are called and which of them decides. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol

__all__ = ["Figures", "Metric", "PlainFigures", "Watch"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """How a metric is called and shown.

    Attributes:
        label: For people, e.g. ``top-1``.
        is_fraction: Whether it lies between 0 and 1 and is shown in percent.
        hub_type, hub_name: What the Hugging Face Hub calls it; empty takes its own name and label.
    """

    label: str
    is_fraction: bool = True
    hub_type: str = ""
    hub_name: str = ""

    def format(self, value: float, decimals: int = 1) -> str:
        """Write the value as tables and lines show it."""
        return f"{value:.{decimals}%}" if self.is_fraction else f"{value:.{decimals + 2}g}"


@dataclasses.dataclass(frozen=True)
class Watch:
    """The metric that chooses the best weights, ends a training early and orders runs.

    Attributes:
        metric: Its name among the task's metrics.
        mode: Whether larger or smaller is better.
        of_inputs: Whether it is the fraction of inputs that are right, so that their number says how sure it is.
    """

    metric: str
    mode: Literal["max", "min"] = "max"
    of_inputs: bool = False

    @property
    def column(self) -> str:
        """The column of ``metrics.csv`` that holds it."""
        return f"val_{self.metric}"

    def rank(self, row: Mapping[str, Any]) -> tuple[float, float]:
        """Rank an epoch: larger is better; among equals, which small sets often give, the lower loss."""
        value = float(row[self.column])
        return (value if self.mode == "max" else -value), -float(row["val_loss"])


class Figures(Protocol):
    """An evaluation in one line."""

    def value(self, metric: str) -> float:
        """Return a metric by its name."""

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Return the 95 % confidence interval of a metric, where there is one."""

    def to_row(self) -> dict[str, Any]:
        """Return one cell for each column of a table."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""


@dataclasses.dataclass(frozen=True)
class PlainFigures:
    """Metrics without intervals, the number of inputs and the loss; see :class:`Figures`."""

    inputs: int
    metrics: Mapping[str, float]
    loss: float | None

    def value(self, metric: str) -> float:
        """Return a metric by its name."""
        return self.metrics[metric]

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Return None: there is no interval."""
        return None

    def to_row(self) -> dict[str, Any]:
        """Return one cell for each column of a table."""
        return {"inputs": self.inputs, **self.metrics, "loss": self.loss}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return self.to_row()
