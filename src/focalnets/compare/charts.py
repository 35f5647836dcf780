"""Pictures of a comparison: cost against resolution, and accuracy, published or measured, against cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from focalnets.compare.accuracy import Accuracies
from focalnets.compare.results import Cell, Comparison
from focalnets.report.figure import save_chart

__all__ = ["draw_accuracies", "draw_comparison", "draw_progress"]

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


def draw_comparison(comparison: Comparison, folder: Path) -> list[str]:
    """Write every picture that there is something to show on; returns the names of the files."""
    names = []
    for task, batch in sorted({(cell.task, cell.batch) for cell in comparison.cells.values()}):
        cells = [one for one in comparison.sorted_cells() if (one.task, one.batch) == (task, batch)]
        for name, label, cost in _COSTS:
            if name == "macs" and (task, batch) != min((one.task, one.batch) for one in comparison.cells.values()):
                continue  # the same for all
            file = "macs.png" if name == "macs" else f"{task}_batch{batch}_{name}.png"
            if _draw_costs(
                comparison, cells, name, label, cost, "" if name == "macs" else f"{task}, batch {batch}", folder / file
            ):
                names.append(file)
    if _draw_accuracy(comparison, folder / "published_accuracy.png"):
        names.append("published_accuracy.png")
    return names


def _draw_costs(
    comparison: Comparison,
    cells: list[Cell],
    name: str,
    label: str,
    cost: Callable[[Cell], float | None],
    title: str,
    path: Path,
) -> bool:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure, (whole, per_pixel) = _figure(2)
    drawn = False
    batch = 1 if name == "macs" else cells[0].batch
    per_pixel_label, unit = _PER_PIXEL[name]
    for model, style in _styles(comparison).items():
        points = [(one.size_px, value) for one in cells if one.model == model and (value := cost(one)) is not None]
        points = [(size, value) for size, value in points if value > 0]
        if not points:
            continue
        drawn = True
        sizes = [size for size, _ in points]
        whole.plot(sizes, [value for _, value in points], label=model, **style)
        per_pixel.plot(sizes, [unit * value / (batch * size**2) for size, value in points], label=model, **style)
    ticks = sorted({one.size_px for one in cells})
    for axes, words in ((whole, label), (per_pixel, per_pixel_label)):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(ticks, [str(size) for size in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        # A span below ten would have one number at most on its axis.
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("height and width [px]")
        axes.set_ylabel(words)
    if not drawn:
        return False
    low, high = per_pixel.get_ylim()
    room = max(1.0, (_LEAST_SPAN / (high / low)) ** 0.5)  # what is flat shall look flat
    per_pixel.set_ylim(low / room, high * room)
    figure.suptitle(title)
    figure.legend(*whole.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    save_chart(figure, path)
    return True


def _draw_accuracy(comparison: Comparison, path: Path) -> bool:
    """Published accuracy at 224 px over what was measured there, with the smallest batch."""
    at: dict[str, Cell] = {}
    for cell in comparison.sorted_cells():
        if cell.size_px == 224 and cell.task == "inference" and cell.latency_s is not None:
            at.setdefault(cell.model, cell)
    known = [(one, at[name]) for name, one in comparison.networks.items() if one.published_top1_percent and name in at]
    if not known:
        return False
    styles = {name: style | {"linestyle": ""} for name, style in _styles(comparison).items()}
    figure, panels = _figure(2)
    for axes, (_, label, cost) in zip(panels, (_COSTS[0], _COSTS[2]), strict=True):
        for network, cell in known:
            value = cost(cell)
            if value is not None:
                axes.plot(value, network.published_top1_percent, label=network.name, **styles[network.name])
        axes.set_xscale("log")
        axes.set_xlabel(f"{label}, 224 px")
        axes.set_ylabel("published ImageNet-1K top-1 [%]")
    figure.suptitle("accuracy as published by the authors of each network, cost as measured here", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    save_chart(figure, path)
    return True


def draw_accuracies(accuracies: Accuracies, path: Path) -> bool:
    """Draw what was reached after the same training, by network and against its cost; False if nothing was."""
    from matplotlib.ticker import PercentFormatter

    rows = [one for one in accuracies.rows if one.mean is not None and one.interval is not None]
    if not rows:
        return False
    figure, (by_name, by_cost) = _figure(2, height=max(4.0, 1.4 + 0.3 * len(rows)))
    styles = _styled([one.model for one in rows])
    for place, row in enumerate(reversed(rows)):
        assert row.mean is not None
        assert row.interval is not None
        # An accuracy of 100 % lies above its interval by a rounding.
        spread = [[max(0.0, row.mean - row.interval[0])], [max(0.0, row.interval[1] - row.mean)]]
        style = styles[row.model]
        by_name.errorbar(row.mean, place, xerr=spread, capsize=3, color=style["color"], marker=style["marker"])
        by_name.plot(list(row.top1.values()), [place] * len(row.top1), ".", color="0.5", markersize=4)
        if row.macs:
            by_cost.errorbar(row.macs / 1e6, row.mean, yerr=spread, capsize=3, linestyle="", **styles[row.model])
    by_name.set_yticks(range(len(rows)), [one.model for one in reversed(rows)], fontsize=8)
    by_name.set_xlabel("top-1 after the last epoch, 95 % intervals; dots are seeds")
    by_name.xaxis.set_major_formatter(PercentFormatter(1.0))
    by_cost.set_xscale("log")
    by_cost.set_xlabel("multiply-accumulates an image [M]")
    by_cost.set_ylabel("top-1 after the last epoch")
    by_cost.yaxis.set_major_formatter(PercentFormatter(1.0))
    data, training = accuracies.setting["data"], accuracies.setting["training"]
    words = (
        f"{data['name']}, {training['image_size']} px, {training['epochs']} epochs: measured, equal training for all"
    )
    figure.suptitle(words, fontsize=10)
    save_chart(figure, path)
    return True


def draw_progress(epochs: Sequence[float], minutes: Sequence[float], top1: Sequence[float], path: Path) -> None:
    """Draw how the accuracy of one training grew, by its epochs and by the minutes they took."""
    from matplotlib.ticker import PercentFormatter

    figure, panels = _figure(2, height=3.6)
    for axes, places, label in zip(panels, (epochs, minutes), ("epochs", "minutes"), strict=True):
        axes.plot(places, top1, marker="o", markersize=3)
        axes.set_xlabel(label)
        axes.set_ylabel("validation top-1")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    save_chart(figure, path)


def _styles(comparison: Comparison) -> dict[str, dict[str, Any]]:
    return _styled(list(comparison.networks))


def _styled(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each; those of FocalNets are drawn thicker."""
    from matplotlib import colormaps

    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    return {
        name: {
            "color": colours[index % 10],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linewidth": 2.6 if name.startswith("focalnet") or name == "full" else 1.3,
        }
        for index, name in enumerate(names)
    }


def _figure(columns: int, height: float = 4.6) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, columns)
    for axes in panels:
        axes.grid(alpha=0.3)
    return figure, panels
