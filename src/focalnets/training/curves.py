"""A training's figures as a picture, and those of several beside each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focalnets.report.colours import LIGHT, Theme
from focalnets.report.figure import new_figure, percent_axis, shortened, whole_number_axis, write_chart
from focalnets.report.names import list_some
from focalnets.tasks.metric import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CurvePanel", "curve_panels", "curves_figure", "draw_curves", "draw_runs", "run_panels"]

_FEW_RUNS, _MOST_NAMED_RUNS = 5, 15
_LINE_STYLES = ("-", "--", "-.", ":")


@dataclasses.dataclass(frozen=True)
class CurvePanel:
    """Some columns of a history in one panel.

    Attributes:
        title: What they are.
        columns: Name of each column, and how the legend calls it; a single one needs no name.
        fraction: Whether they are fractions from 0 to 1, which are shown as percent on the whole of that span.
    """

    title: str
    columns: Mapping[str, str]
    fraction: bool = False


def curve_panels(metrics: Mapping[str, Metric]) -> list[CurvePanel]:
    """Choose what is drawn of one run: losses, the metrics (all fractions in one panel), and the learning rate."""
    fractions = {f"val_{name}": metric.label for name, metric in metrics.items() if metric.is_fraction}
    panels = [CurvePanel("Loss", {"train_loss": "training", "val_loss": "validation"})]
    if fractions:
        panels.append(CurvePanel(f"Validation {', '.join(fractions.values())}", fractions, fraction=True))
    panels += [
        CurvePanel(f"Validation {metric.label}", {f"val_{name}": ""})
        for name, metric in metrics.items()
        if not metric.is_fraction
    ]
    return [*panels, CurvePanel("Learning rate at the epoch's end", {"learning_rate": ""})]


def run_panels(metrics: Mapping[str, Metric]) -> list[CurvePanel]:
    """Choose what is drawn of several runs, one column a panel: losses and the metrics that they watched."""
    losses = [CurvePanel("Training loss", {"train_loss": ""}), CurvePanel("Validation loss", {"val_loss": ""})]
    return losses + [
        CurvePanel(f"Validation {metric.label}", {f"val_{name}": ""}, fraction=metric.is_fraction)
        for name, metric in metrics.items()
    ]


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path, panels: Sequence[CurvePanel]) -> None:
    """Draw figures over the epochs into a PNG file, replaced at once.

    Args:
        history: One row an epoch, with its number as ``epoch``.
        path: The file.
        panels: What to draw, see :func:`curve_panels`; columns that no row has, and panels that are left without any,
            are left out.
    """
    write_chart(lambda theme: curves_figure(history, panels, theme), path)


def draw_runs(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], path: str | Path, panels: Sequence[CurvePanel]
) -> None:
    """Draw the figures of several runs, by name, into a PNG file, replaced at once.

    Args:
        histories: The rows of each run; a line says which runs have none yet.
        path: The file.
        panels: What to draw, see :func:`run_panels`; of several columns of a panel the first one counts.
    """
    write_chart(lambda theme: _runs_figure(histories, panels, theme), path)


def curves_figure(history: Sequence[Mapping[str, Any]], panels: Sequence[CurvePanel], theme: Theme = LIGHT) -> Figure:
    """Draw the figures of one run over its epochs in the colours of a theme, see :func:`draw_curves`."""
    shown = [panel for panel in panels if any(_points(history, column)[0] for column in panel.columns)]
    if not shown:
        return _empty_figure("No epoch is finished yet.")
    figure, grid = new_figure(1, len(shown), size=(4 * len(shown), 3.4), squeeze=False)
    for axes, panel in zip(grid.flat, shown, strict=True):
        epochs: list[float] = []
        for (column, label), colour in zip(panel.columns.items(), theme.series, strict=False):
            places, values = _points(history, column)
            if places:
                size = _marker_size(places)
                axes.plot(places, values, marker="o", markersize=size, label=label or None, color=colour)
                epochs += places
        _finish_axes(axes, panel, epochs)
        if len(axes.lines) > 1:
            axes.legend()
    return figure


def _runs_figure(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], panels: Sequence[CurvePanel], theme: Theme = LIGHT
) -> Figure:
    begun = {name: history for name, history in histories.items() if history}
    waiting = [shortened(name, 40) for name in histories if name not in begun]
    columns = [(panel, next(iter(panel.columns))) for panel in panels]
    shown = [
        (panel, column) for panel, column in columns if any(_points(history, column)[0] for history in begun.values())
    ]
    if not shown:
        return _empty_figure("None of these runs has finished an epoch.")
    figure, grid = new_figure(1, len(shown), size=(4.35 * len(shown), 4), squeeze=False)
    for axes, (panel, column) in zip(grid.flat, shown, strict=True):
        epochs = []
        for index, (name, history) in enumerate(begun.items()):
            places, values = _points(history, column)
            if places:
                turn, place = divmod(index, len(theme.series))
                # The space before a name lets it begin with an underscore.
                axes.plot(
                    places, values, marker="o", markersize=_marker_size(places), color=theme.series[place],
                    linestyle=_LINE_STYLES[turn % len(_LINE_STYLES)],
                    label=f" {shortened(name, 40)}" if index < _MOST_NAMED_RUNS else None,
                )  # fmt: skip
                epochs += places
        _finish_axes(axes, panel, epochs)
    handles, labels = _collect_named_lines(grid)
    if len(labels) <= _FEW_RUNS:
        grid.flat[-1].legend(handles, labels, fontsize="small")
    else:
        figure.legend(handles, labels, fontsize="small", loc="outside lower center", ncols=3)
    notes = []
    if len(begun) > _MOST_NAMED_RUNS:
        notes.append(f"and {len(begun) - _MOST_NAMED_RUNS} runs more")
    if waiting:
        notes.append(f"without a finished epoch: {list_some(waiting)}")
    if notes:
        figure.supxlabel("; ".join(notes), fontsize=9)
    return figure


def _collect_named_lines(grid: Any) -> tuple[list[Any], list[str]]:
    """Collect every line that has a name, once, from whichever panel has it."""
    named: dict[str, Any] = {}
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    return list(named.values()), list(named)


def _finish_axes(axes: Any, panel: CurvePanel, epochs: Sequence[float]) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel("epoch")
    whole_number_axis(axes, epochs)
    if panel.fraction:
        axes.set_ylim(0.0, 1.03)
        percent_axis(axes.yaxis)
    elif len(set(epochs)) == 1 and axes.dataLim.y0 > 0:
        # One epoch spans nothing: from zero on, figures keep their meaning.
        axes.set_ylim(0.0, 1.15 * axes.dataLim.y1)


def _marker_size(epochs: Sequence[float]) -> float:
    return 3 if len(epochs) > 1 else 6  # a single point has no line that shows where it is


def _points(history: Sequence[Mapping[str, Any]], column: str) -> tuple[list[float], list[float]]:
    """Collect epochs and values of the rows that have a finite value."""
    rows = [(row["epoch"], row[column]) for row in history if row.get(column) is not None]
    rows = [(epoch, value) for epoch, value in rows if math.isfinite(value)]
    return [epoch for epoch, _ in rows], [value for _, value in rows]


def _empty_figure(words: str) -> Figure:
    figure, axes = new_figure(size=(6.0, 1.2))
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes)
    return figure
