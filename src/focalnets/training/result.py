"""What a training returns: figures that can be shown and put into tables. Imports no torch."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from focalnets.report.colours import LIGHT
from focalnets.report.figure import chart_png
from focalnets.report.names import without_folders
from focalnets.report.parts import Chart, Paragraph
from focalnets.report.showing import data_frame, show_picture
from focalnets.tasks.table import task_class
from focalnets.training.curves import CurvePanel, curve_panels, curves_figure
from focalnets.training.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas

__all__ = ["TrainingResult"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training reached.

    Attributes:
        run: The run's folder.
        best_weights: Weights of the best epoch by the watched metric (the lowest loss among equals).
        metric: Name of that metric, e.g. ``top1``.
        label: What it is called, with its best value, for people.
        best: Its value in that epoch.
        best_epoch: That epoch, counted from 1.
        history: One row an epoch, the columns of ``metrics.csv``.
    """

    run: Path
    best_weights: Path
    metric: str
    label: str
    best: float
    best_epoch: int
    history: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``focalnets train --json`` writes them; the best value is called e.g. ``best_top1``."""
        return {
            "run": str(self.run),
            "best_weights": str(self.best_weights),
            f"best_{self.metric}": self.best,
            "best_epoch": self.best_epoch,
            "history": [dict(row) for row in self.history],
        }

    def to_dataframe(self) -> pandas.DataFrame:
        """The history as a data frame, one row an epoch.

        Raises:
            MissingPackageError: If pandas is not installed.
        """
        heading = list(dict.fromkeys(name for row in self.history for name in row))
        return data_frame(heading, [[row.get(name) for name in heading] for row in self.history])

    def draw(self) -> Image.Image:
        """Draw the curves of losses, metrics and learning rate over the epochs."""
        content, _ = chart_png(lambda theme: curves_figure(self.history, self._panels(), theme), LIGHT)
        return Image.open(io.BytesIO(content)).convert("RGB")

    def show(self) -> None:
        """Show the curves, in the notebook or in a window."""
        show_picture(self.draw(), f"{self._in_words()} (there is no display here; the curves are in the run's folder)")

    def _repr_html_(self) -> str:
        from focalnets.report.fragment import render_fragment

        chart = Chart(lambda theme: curves_figure(self.history, self._panels(), theme), "curves of the training")
        return render_fragment([Paragraph(without_folders(self._in_words())), chart])

    def _panels(self) -> Sequence[CurvePanel]:
        return curve_panels(task_class(RunFolder(self.run).read_config().task).metric_labels)

    def _in_words(self) -> str:
        epochs = len(self.history)
        return f"{self.label} in epoch {self.best_epoch} of {epochs}; everything is in '{self.run}'"
