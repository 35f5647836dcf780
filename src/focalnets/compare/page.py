"""A comparison as one HTML file that loads nothing."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from focalnets.compare.accuracy import Accuracies
from focalnets.compare.results import Cell, Comparison
from focalnets.files import write_text
from focalnets.report.page import page, png_address

__all__ = ["write_page"]

_METHOD = (
    "All networks of a task, size and batch are timed in one process, in rounds whose order is drawn anew; the figure "
    "is the median, with 20th and 80th percentiles where there is more than one round. Peak memory is what one call "
    "adds, each network alone in a process of its own. Weights are random and stochastic depth is off. "
    "Multiply-accumulates are those of matrices, convolutions and attention, elementwise products left out. Accuracy "
    "is quoted from the publications, not measured."
)

_TRAINED = (
    "Every network got the same images, augmentation, schedule and epochs, from random weights. Given is the "
    "validation accuracy after the last epoch, not of the best one: the mean over the seeds with its 95 % interval by "
    "Student's distribution, or of a single seed with the interval by the number of images. Published accuracies are "
    "those of full training on ImageNet-1K, of variations with the skeleton of their publication; they are quoted, not "
    "measured."
)


def write_page(comparison: Comparison, accuracies: Accuracies | None, pictures: Sequence[str], folder: Path) -> None:
    """Write ``report.html`` with the tables and the pictures, which lie in ``folder``; either kind may be empty."""
    sections = ["<section><h1>Networks side by side</h1></section>"]
    if comparison.cells:
        setting = _words(comparison.setting)
        sections += [
            f"<section><h2>What they cost</h2><p class='lead'>{html.escape(_METHOD)}</p>"
            f"<p class='note'>{html.escape(setting)}</p>{_origin(comparison.origin)}</section>",
            f"<section><h2>The networks</h2>{_networks(comparison)}</section>",
            f"<section><h2>Cost, cell by cell</h2>{_cells(comparison.sorted_cells())}</section>",
        ]
    if accuracies is not None and accuracies.rows:
        setting = _words({**accuracies.setting["data"], **accuracies.setting["training"], **_rest(accuracies)})
        sections.append(
            f"<section><h2>After equal training</h2><p class='lead'>{html.escape(_TRAINED)}</p>"
            f"<p class='note'>{html.escape(setting)}</p>{_origin(accuracies.origin)}{_trained(accuracies)}</section>"
        )
    drawn = "".join(
        f'<img class="wide" loading="lazy" alt="{html.escape(name)}" src="{png_address(folder / name)}">'
        for name in pictures
    )
    if drawn:
        sections.append(f"<section><h2>Drawn</h2>{drawn}</section>")
    write_text(folder / "report.html", page("Networks side by side", sections))


def _words(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in setting.items() if value not in (None, {}))


def _rest(accuracies: Accuracies) -> dict[str, Any]:
    return {key: accuracies.setting[key] for key in ("drop_path", "skeleton")}


def _origin(origin: Mapping[str, Any]) -> str:
    return f"<pre>{html.escape(origin['command'])}</pre>" if "command" in origin else ""


def _trained(accuracies: Accuracies) -> str:
    heads = (
        "network", "parameters [M]", "GMACs", "seeds", "top-1 (95 % interval)", "training [min]",
        "published ImageNet-1K top-1 [%]", "what it changes",
    )  # fmt: skip
    rows = [
        (
            one.model,
            "-" if one.parameters is None else f"{one.parameters / 1e6:.2f}",
            "-" if one.macs is None else f"{one.macs / 1e9:.3f}",
            str(len(one.top1)),
            one.result,
            "-" if one.training_s is None else f"{one.training_s / 60:.1f}",
            "-" if one.published_top1_percent is None else f"{one.published_top1_percent:.1f}",
            one.summary or "",
        )
        for one in accuracies.rows
    ]
    return _table(heads, rows)


def _networks(comparison: Comparison) -> str:
    rows = [
        (
            one.name,
            "-" if one.parameters is None else f"{one.parameters / 1e6:.2f}",
            "-" if one.published_top1_percent is None else f"{one.published_top1_percent:.1f}",
            one.published_by or "",
        )
        for one in comparison.networks.values()
    ]
    return _table(("network", "parameters [M]", "published top-1 [%]", "published by"), rows)


def _cells(cells: Sequence[Cell]) -> str:
    rows = []
    for cell in cells:
        latency = cell.latency_s
        rows.append(
            (
                cell.model,
                cell.task,
                str(cell.size_px),
                str(cell.batch),
                "-" if cell.macs is None else f"{cell.macs / 1e9:.2f}",
                cell.result if latency is None else f"{1e3 * latency['median']:.1f}",
                ""
                if latency is None or cell.rounds < 2
                else f"{1e3 * latency['p20']:.1f} to {1e3 * latency['p80']:.1f}",
                str(cell.rounds) if latency else "",
                f"{cell.images_per_s:.2f}" if cell.images_per_s else "",
                "-" if cell.peak_bytes is None else f"{cell.peak_bytes / 2**20:.0f}",
                cell.why or "",
            )
        )
    heads = ("network", "task", "size", "batch", "GMACs", "time [ms]", "20 to 80 %", "rounds", "images/s", "peak [MiB]")
    return _table((*heads, "why not"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(one)}</td>" for one in row) + "</tr>" for row in rows)
    return f'<div class="panel"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
