"""A comparison as one HTML file that loads nothing."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from focalnets.compare.results import Cell, Comparison
from focalnets.tasks.page import page, png_address

__all__ = ["write_page"]

_METHOD = (
    "All networks of a task, size and batch are timed in one process, in rounds whose order is drawn anew; the figure "
    "is the median, with 20th and 80th percentiles. Peak memory is what one call adds, each network alone in a fresh "
    "process. Weights are random and stochastic depth is off. Accuracy is quoted from the publications, not measured."
)


def write_page(comparison: Comparison, pictures: Sequence[str], folder: Path) -> None:
    """Write ``report.html`` with the tables and the pictures, which lie in ``folder``."""
    from focalnets.files import write_text

    setting = ", ".join(f"{key} {value}" for key, value in comparison.setting.items() if value is not None)
    sections = [
        f"<section><h1>Networks side by side</h1><p class='lead'>{html.escape(_METHOD)}</p>"
        f"<p class='note'>{html.escape(setting)}</p></section>",
        f"<section><h2>The networks</h2>{_networks(comparison)}</section>",
        f"<section><h2>What they cost</h2>{_cells(comparison.sorted_cells())}</section>",
    ]
    drawn = "".join(
        f'<img class="wide" loading="lazy" alt="{html.escape(name)}" src="{png_address(folder / name)}">'
        for name in pictures
    )
    if drawn:
        sections.append(f"<section><h2>Drawn</h2>{drawn}</section>")
    write_text(folder / "report.html", page("Networks side by side", sections))


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
                cell.status if latency is None else f"{1e3 * latency['median']:.1f}",
                "" if latency is None else f"{1e3 * latency['p20']:.1f} to {1e3 * latency['p80']:.1f}",
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
