"""Pictures of a comparison: cost against resolution, and published accuracy against cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from focalnets.compare.results import Cell, Comparison
from focalnets.tasks.figures import save_chart

__all__ = ["draw_comparison"]

_MARKERS = "osD^vP*Xph<>"

_COSTS: tuple[tuple[str, str, Callable[[Cell], float | None]], ...] = (
    ("latency", "time of a call [s]", lambda cell: (cell.latency_s or {}).get("median")),
    ("memory", "peak memory added [MiB]", lambda cell: None if cell.peak_bytes is None else cell.peak_bytes / 2**20),
    ("macs", "multiply-accumulates an image [G]", lambda cell: None if cell.macs is None else cell.macs / 1e9),
)


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
                comparison, cells, label, cost, "" if name == "macs" else f"{task}, batch {batch}", folder / file
            ):
                names.append(file)
    if _draw_accuracy(comparison, folder / "accuracy.png"):
        names.append("accuracy.png")
    return names


def _draw_costs(
    comparison: Comparison, cells: list[Cell], label: str, cost: Callable[[Cell], float | None], title: str, path: Path
) -> bool:
    figure, (whole, per_pixel) = _figure(2)
    drawn = False
    for name, style in _styles(comparison).items():
        points = [(one.size_px, value) for one in cells if one.model == name and (value := cost(one)) is not None]
        points = [(size, value) for size, value in points if value > 0]
        if not points:
            continue
        drawn = True
        sizes = [size for size, _ in points]
        whole.plot(sizes, [value for _, value in points], label=name, **style)
        batch = cells[0].batch if "multiply" not in label else 1
        per_pixel.plot(sizes, [value / (batch * size**2) for size, value in points], label=name, **style)
    ticks = sorted({one.size_px for one in cells})
    for axes, words in ((whole, label), (per_pixel, f"{label}, per pixel")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(ticks, [str(size) for size in ticks])
        axes.minorticks_off()
        axes.set_xlabel("height and width [px]")
        axes.set_ylabel(words)
    if not drawn:
        return False
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
    styles = _styles(comparison)
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


def _styles(comparison: Comparison) -> dict[str, dict[str, Any]]:
    from matplotlib import colormaps

    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    return {
        name: {"color": colours[index % 10], "marker": _MARKERS[index % len(_MARKERS)], "linewidth": 1.3}
        for index, name in enumerate(comparison.networks)
    }


def _figure(columns: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * columns, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, columns)
    for axes in panels:
        axes.grid(alpha=0.3)
    return figure, panels
