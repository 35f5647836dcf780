"""A training's figures as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from focalnets.files import replacing
from focalnets.tasks.metric import Metric

__all__ = ["draw_curves", "draw_runs"]


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path, metrics: Mapping[str, Metric]) -> None:
    """Draw loss, accuracy and learning rate over the epochs into a PNG file, replaced at once."""
    # The object interface leaves pyplot's global backend and figures of the caller alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    loss, accuracy, rate = figure.subplots(1, 3)
    for key, label in (("train_loss", "training"), ("val_loss", "validation")):
        loss.plot(epochs, [row[key] for row in history], marker="o", markersize=3, label=label)
    for name, metric in metrics.items():
        accuracy.plot(epochs, [row[f"val_{name}"] for row in history], marker="o", markersize=3, label=metric.label)
    rate.plot(epochs, [row["learning_rate"] for row in history], marker="o", markersize=3)
    if all(metric.is_fraction for metric in metrics.values()):
        accuracy.set_ylim(0.0, 1.03)
        accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes, title in ((loss, "Loss"), (accuracy, "Validation metrics"), (rate, "Learning rate at the epoch's end")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    loss.legend()
    accuracy.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def draw_runs(histories: Mapping[str, Sequence[Mapping[str, Any]]], path: str | Path) -> None:
    """Draw the losses and the accuracy of several runs, by name, into a PNG file, replaced at once."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (("train_loss", "Training loss"), ("val_loss", "Validation loss"), ("val_top1", "Validation top-1"))
    for axes, (key, title) in zip(figure.subplots(1, 3), panels, strict=True):
        for name, history in histories.items():
            epochs = [row["epoch"] for row in history]
            axes.plot(epochs, [row[key] for row in history], marker="o", markersize=3, label=name)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if key == "val_top1":
            axes.set_ylim(0.0, 1.03)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            if histories:
                axes.legend(fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
