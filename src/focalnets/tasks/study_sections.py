"""Charts and sections of a page about other sizes and corrupted pictures, for every task."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from focalnets.data.corruptions import corrupt
from focalnets.report.colours import ACCURACY_MAP, LIGHT, Theme
from focalnets.report.figure import ink_on, new_figure, percent_axis, write_chart
from focalnets.report.parts import (
    Card,
    Chart,
    Column,
    Gallery,
    Paragraph,
    Picture,
    Row,
    Section,
    Table,
    TableCell,
    WithInterval,
)
from focalnets.tasks.metric import Figures, Metric
from focalnets.tasks.studies import CorruptionStudy, ResolutionStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "corruptions_figure",
    "corruptions_section",
    "draw_corruptions",
    "draw_resolutions",
    "resolutions_figure",
    "resolutions_section",
]

_SHOWN_PX = 224


def resolutions_figure(study: ResolutionStudy, metrics: Mapping[str, Metric], theme: Theme = LIGHT) -> Figure:
    """Draw the metrics over the input size, with 95 % intervals where there are any."""
    figure, axes = new_figure(size=(7.2, 4.2))
    sizes = list(study.sizes_px)
    # The most important one is drawn last, on top of the others.
    drawn = list(zip(metrics.items(), (theme.blue, theme.orange, theme.grey), "osD", strict=False))
    for (name, metric), colour, marker in reversed(drawn):
        values = [figures.value(name) for figures in study.figures]
        intervals = [figures.interval(name) for figures in study.figures]
        known = [interval for interval in intervals if interval is not None]
        margins = None
        if len(known) == len(values):
            lows, highs = zip(*known, strict=True)
            axes.fill_between(sizes, lows, highs, color=colour, alpha=0.15, linewidth=0)
            # A band over one size has no width, so that the intervals are bars, too.
            margins = [
                [max(0.0, value - low) for value, low in zip(values, lows, strict=True)],
                [max(0.0, high - value) for value, high in zip(values, highs, strict=True)],
            ]
        axes.errorbar(
            sizes, values, yerr=margins, color=colour, marker=marker, elinewidth=0.8, capsize=2, label=metric.label
        )
    axes.axvline(study.own_size_px, color=theme.grey, linestyle="--", linewidth=1, label="the network's own size")
    low, high = min(*sizes, study.own_size_px), max(*sizes, study.own_size_px)
    room = max(0.04 * (high - low), 0.08 * high)
    axes.set_xlim(low - room, high + room)
    axes.set_xticks(sizes, [str(size) for size in sizes], rotation=90 if len(sizes) > 12 else 0)
    axes.set_xlabel("input size [px]")
    if all(metric.is_fraction for metric in metrics.values()):
        axes.set_ylabel("accuracy, 95 % intervals")
        percent_axis(axes.yaxis)
        axes.set_ylim(0, 1.03)
    axes.legend(fontsize=8)
    return figure


def corruptions_figure(study: CorruptionStudy, clean: Figures, metric: Metric, theme: Theme = LIGHT) -> Figure:
    """Draw the watched metric as a table: one row a corruption, one column a severity, clean pictures at the left."""
    import numpy as np

    del theme  # a table of colours is the same on every ground
    usual = clean.value(study.metric)
    measured = np.array([trial.figures.value(study.metric) for trial in study.trials])
    measured = measured.reshape(len(study.corruptions), len(study.severities))
    heads = ["clean", *(f"severity {severity}" for severity in study.severities)]
    columns = [np.full((len(measured), 1), usual), measured]
    if len(study.severities) > 1:
        heads.append("mean")
        columns.append(measured.mean(1, keepdims=True))
    table = np.concatenate(columns, axis=1)
    figure, axes = new_figure(size=(3.2 + 0.8 * table.shape[1], 1.6 + 0.36 * len(table)))
    limits = (0.0, 1.0) if metric.is_fraction else (float(table.min()), float(table.max()))
    image = axes.imshow(table, cmap=ACCURACY_MAP, vmin=limits[0], vmax=limits[1], aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        colour = ink_on(image.cmap(image.norm(value)))
        axes.text(column, row, metric.format(value), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(heads)), heads, fontsize=8)
    axes.set_yticks(range(len(table)), [name.replace("_", " ") for name in study.corruptions], fontsize=9)
    mean = f"{metric.label} {metric.format(study.mean())} on average"
    axes.set_title(f"{mean}, {metric.format(usual)} on clean pictures", fontsize=10)
    ticks = [0.0, 0.5, 1.0] if metric.is_fraction and len(table) < 6 else None
    bar = figure.colorbar(image, ax=axes, label=metric.label, ticks=ticks)
    if metric.is_fraction:
        percent_axis(bar.ax.yaxis)
    axes.grid(visible=False)
    return figure


def draw_resolutions(study: ResolutionStudy, metrics: Mapping[str, Metric], path: str | Path) -> None:
    """Draw :func:`resolutions_figure` into a PNG file."""
    write_chart(functools.partial(resolutions_figure, study, metrics), path)


def draw_corruptions(study: CorruptionStudy, clean: Figures, metric: Metric, path: str | Path) -> None:
    """Draw :func:`corruptions_figure` into a PNG file."""
    write_chart(functools.partial(corruptions_figure, study, clean, metric), path)


def resolutions_section(study: ResolutionStudy, metrics: Mapping[str, Metric]) -> Section:
    """Tell how the metrics change with the input size."""
    rows = []
    for size, figures in zip(study.sizes_px, study.figures, strict=True):
        own = size == study.own_size_px
        cells: list[TableCell] = []
        for name in metrics:
            value, interval = figures.value(name), figures.interval(name)
            cells.append(value if interval is None else WithInterval(value, *interval))
        rows.append(Row((f"{size} px{' (its own)' if own else ''}", *cells), "strong" if own else ""))
    forms = [".1%" if metric.is_fraction else ".3g" for metric in metrics.values()]
    columns = (
        Column("input"),
        *(Column(metric.label, "number", form) for metric, form in zip(metrics.values(), forms, strict=True)),
    )
    words = (
        "The same images, resized to other input sizes with the same crop. The network was made for "
        f"{study.own_size_px} px. Intervals are those of 95 %."
    )
    chart = Chart(functools.partial(resolutions_figure, study, metrics), "Metrics over the input size")
    return Section("At other sizes", [Paragraph(words), chart, Table(columns, rows)])


def corruptions_section(
    study: CorruptionStudy, clean: Figures, metric: Metric, example: tuple[Image.Image, int]
) -> Section:
    """Tell how the watched metric changes with corrupted pictures.

    Args:
        study: What was measured on corrupted pictures.
        clean: What was measured on clean ones.
        metric: How the watched metric is shown.
        example: One picture as the network sees it, and its number in the data.
    """
    (original, index), severity = example, study.severities[-1]
    cards = [
        Card(
            [Picture(corrupt(original, name, severity, seed=study.seed, index=index), name, longest_px=_SHOWN_PX)],
            [name.replace("_", " ")],
        )
        for name in study.corruptions
    ]
    label = metric.label[0].upper() + metric.label[1:]
    words = (
        f"{label} is {metric.format(study.mean())} on average, and {metric.format(clean.value(study.metric))} on clean "
        f"pictures. Pictures are corrupted after resizing and cropping; the same seed ({study.seed}) corrupts each "
        "image in the same way every time. The strengths are our own, so the figures cannot be compared with those of "
        "ImageNet-C."
    )
    chart = Chart(
        functools.partial(corruptions_figure, study, clean, metric), f"{label} for each corruption and severity"
    )
    return Section(
        "With corrupted pictures",
        [Paragraph(words), chart, Paragraph(f"One image at severity {severity}:", "note"), Gallery(cards, "medium")],
    )
