"""Pictures of a comparison: cost against resolution, and accuracy, published or measured, against cost."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focalnets.compare.accuracy import Accuracies, Accuracy
from focalnets.compare.results import Cell, Comparison, Network
from focalnets.report.colours import LIGHT, Theme
from focalnets.report.figure import DrawChart, log_axis, new_figure, percent_axis, shortened, write_chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["accuracies_figure", "comparison_figures", "draw_accuracies", "draw_comparison", "draw_progress"]

_MARKERS = "osD^vP*Xph<>"

_COSTS: tuple[tuple[str, str, Callable[[Cell], float | None]], ...] = (
    ("latency", "time of a call [s]", lambda cell: (cell.latency_s or {}).get("median")),
    ("memory", "peak memory added [MiB]", lambda cell: None if cell.peak_bytes is None else cell.peak_bytes / 2**20),
    ("macs", "multiply-accumulates an image [G]", lambda cell: None if cell.macs is None else cell.macs / 1e9),
)

_LEAST_SPAN = 8.0
"""The cost per pixel is drawn on an axis that spans at least this factor."""

_PER_PIXEL = {"latency": ("time per pixel [µs]", 1e6), "memory": ("peak memory per pixel [KiB]", 2.0**10),
              "macs": ("multiply-accumulates per pixel [k]", 1e6)}  # fmt: skip

Points = Mapping[str, Sequence[tuple[int, float]]]
"""Sizes [px] with a cost each, by network."""


def comparison_figures(comparison: Comparison) -> dict[str, DrawChart]:
    """Find everything that there is something to show on.

    Returns:
        By the name of its file, what draws each chart in the colours of a theme.
    """
    figures: dict[str, DrawChart] = {}
    names = list(comparison.networks)
    kinds = sorted({(cell.task, cell.batch) for cell in comparison.cells.values()})
    for task, batch in kinds:
        cells = [cell for cell in comparison.sorted_cells() if (cell.task, cell.batch) == (task, batch)]
        for name, label, cost in _COSTS:
            if name == "macs" and (task, batch) != kinds[0]:
                continue  # the same for all
            points = _points(cells, names, cost)
            if points:
                images = 1 if name == "macs" else batch
                sizes = sorted({cell.size_px for cell in cells})
                title = "" if name == "macs" else f"{task}, batch {batch}"
                file = "macs.png" if name == "macs" else f"{task}_batch{batch}_{name}.png"
                figures[file] = functools.partial(_costs_figure, names, points, sizes, images, name, label, title)
    if known := _published(comparison):
        figures["published_accuracy.png"] = functools.partial(_published_figure, names, known)
    return figures


def accuracies_figure(accuracies: Accuracies) -> DrawChart | None:
    """Find what draws the accuracy after the same training, by network and against its cost; None if there is none."""
    rows = [row for row in accuracies.rows if row.mean is not None]
    return functools.partial(_accuracies_figure, accuracies, rows) if rows else None


def draw_comparison(comparison: Comparison, folder: Path) -> list[str]:
    """Write every picture that there is something to show on; returns the names of the files."""
    figures = comparison_figures(comparison)
    for name, draw in figures.items():
        write_chart(draw, folder / name)
    return list(figures)


def draw_accuracies(accuracies: Accuracies, path: Path) -> bool:
    """Draw what was reached after the same training into a PNG file; returns False if nothing was."""
    draw = accuracies_figure(accuracies)
    if draw is not None:
        write_chart(draw, path)
    return draw is not None


def draw_progress(epochs: Sequence[float], minutes: Sequence[float], top1: Sequence[float], path: Path) -> None:
    """Draw how the accuracy of one training grew, by its epochs and by the minutes they took."""

    def draw(theme: Theme) -> Figure:
        figure, panels = new_figure(1, 2, size=(10.4, 3.6))
        for axes, places, label in zip(panels, (epochs, minutes), ("epochs", "minutes"), strict=True):
            axes.plot(places, top1, marker="o", markersize=3, color=theme.series[0])
            axes.set_xlabel(label)
            axes.set_ylabel("validation top-1")
            percent_axis(axes.yaxis, None)
        return figure

    write_chart(draw, path)


def _points(cells: Sequence[Cell], names: Sequence[str], cost: Callable[[Cell], float | None]) -> Points:
    """Costs above zero by network, in the order of the names; networks without any are left out."""
    points: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    for cell in cells:
        value = cost(cell)
        if value is not None and value > 0:
            points[cell.model].append((cell.size_px, value))
    return {name: some for name, some in points.items() if some}


def _costs_figure(
    names: Sequence[str],
    points: Points,
    sizes_px: Sequence[int],
    images: int,
    name: str,
    label: str,
    title: str,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw a cost over the size of the images, and per pixel."""
    figure, (whole, per_pixel) = new_figure(1, 2, size=(10.4, 4.6))
    per_pixel_label, unit = _PER_PIXEL[name]
    for model, style in _styles(names, theme).items():
        if some := points.get(model):
            sizes = [size for size, _ in some]
            whole.plot(sizes, [value for _, value in some], label=shortened(model, 60), **style)
            per_pixel.plot(sizes, [unit * value / (images * size**2) for size, value in some], label=model, **style)
    for axes, words in ((whole, label), (per_pixel, per_pixel_label)):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(sizes_px[0] / 1.08, sizes_px[-1] * 1.08)
        log_axis(axes.xaxis, sizes_px)
        log_axis(axes.yaxis)
        axes.set_xlabel("height and width [px]")
        axes.set_ylabel(words)
    for axes in (whole, per_pixel) if len(sizes_px) == 1 else (per_pixel,):
        low, high = axes.dataLim.intervaly
        room = max(1.15, (_LEAST_SPAN / (high / low)) ** 0.5)  # what is flat shall look flat
        axes.set_ylim(low / room, high * room)
    figure.suptitle(title)
    _legend(figure, whole)
    return figure


def _published(comparison: Comparison) -> list[tuple[Network, Cell]]:
    """Networks of which an accuracy is published, with what was measured at 224 px and the smallest batch."""
    at: dict[str, Cell] = {}
    for cell in comparison.sorted_cells():
        if cell.size_px == 224 and cell.task == "inference" and cell.latency_s is not None:
            at.setdefault(cell.model, cell)
    networks = comparison.networks.items()
    return [(network, at[name]) for name, network in networks if network.published_top1_percent and name in at]


def _published_figure(names: Sequence[str], known: Sequence[tuple[Network, Cell]], theme: Theme = LIGHT) -> Figure:
    """Draw published accuracy at 224 px over what was measured there."""
    styles = {name: style | {"linestyle": ""} for name, style in _styles(names, theme).items()}
    figure, panels = new_figure(1, 2, size=(10.4, 4.6))
    for axes, (_, label, cost) in zip(panels, (_COSTS[0], _COSTS[2]), strict=True):
        values = []
        for network, cell in known:
            value = cost(cell)
            if value is not None:
                axes.plot(value, network.published_top1_percent, label=network.name, **styles[network.name])
                values.append(value)
        axes.set_xscale("log")
        log_axis(axes.xaxis)
        if values:
            axes.set_xlim(min(values) / 1.3, max(values) * 1.3)
        axes.set_xlabel(f"{label}, 224 px")
        axes.set_ylabel("published ImageNet-1K top-1 [%]")
    figure.suptitle("accuracy as published by the authors of each network, cost as measured here", fontsize=10)
    _legend(figure, panels[0])
    return figure


def _accuracies_figure(accuracies: Accuracies, rows: Sequence[Accuracy], theme: Theme = LIGHT) -> Figure:
    """Draw what was reached after the same training, by network and against its cost."""
    figure, (by_name, by_cost) = new_figure(1, 2, size=(10.4, max(4.0, 1.4 + 0.3 * len(rows))))
    styles, label = _styles([row.model for row in rows], theme), accuracies.metric.label
    for place, row in enumerate(reversed(rows)):
        assert row.mean is not None
        low, high = row.interval or (row.mean, row.mean)
        # An accuracy of 100 % lies above its interval by a rounding.
        spread = [[max(0.0, row.mean - low)], [max(0.0, high - row.mean)]]
        style = styles[row.model]
        by_name.errorbar(row.mean, place, xerr=spread, capsize=3, color=style["color"], marker=style["marker"])
        by_name.plot(list(row.scores.values()), [place] * len(row.scores), ".", color=theme.grey, markersize=4)
        if row.macs:
            by_cost.errorbar(row.macs / 1e6, row.mean, yerr=spread, capsize=3, linestyle="", **style)
    by_name.set_yticks(range(len(rows)), [shortened(row.model, 44) for row in reversed(rows)], fontsize=8)
    by_name.set_ylim(-0.6, len(rows) - 0.4)
    by_name.set_xlabel(f"{label} after the last epoch, 95 % intervals; dots are seeds")
    by_name.xaxis.get_major_locator().set_params(nbins=5)  # the names leave little room
    percent_axis(by_name.xaxis, None)
    by_cost.set_xscale("log")
    log_axis(by_cost.xaxis)
    macs = [row.macs / 1e6 for row in rows if row.macs]
    if macs:
        by_cost.set_xlim(min(macs) / 1.3, max(macs) * 1.3)
    by_cost.set_xlabel("multiply-accumulates an image [M]")
    by_cost.set_ylabel(f"{label} after the last epoch")
    percent_axis(by_cost.yaxis, None)
    data, training = accuracies.setting["data"], accuracies.setting["training"]
    words = (
        f"{data['name']}, {training['image_size']} px, {training['epochs']} epochs: measured, equal training for all"
    )
    figure.suptitle(words, fontsize=10)
    return figure


def _legend(figure: Figure, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3 if max(map(len, labels)) < 40 else 1, fontsize=8)


def _styles(names: Sequence[str], theme: Theme) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each; those of FocalNets are drawn thicker."""
    return {
        name: {
            "color": theme.series[index % len(theme.series)],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linewidth": 2.6 if name.startswith("focalnet") or name == "full" else 1.3,
        }
        for index, name in enumerate(names)
    }
