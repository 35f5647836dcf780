"""A comparison as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from focalnets.compare.accuracy import Accuracies
from focalnets.compare.charts import accuracies_figure, comparison_figures
from focalnets.compare.results import Cell, Comparison
from focalnets.report.names import shown_command, without_folders
from focalnets.report.page import write_page as write_parts
from focalnets.report.parts import (
    Chart,
    CodeBlock,
    Column,
    Opening,
    Paragraph,
    Part,
    Row,
    Section,
    Table,
    TableCell,
    WithInterval,
)
from focalnets.version import __version__

__all__ = ["write_page"]

_METHOD = (
    "All networks of a task, size and batch are timed in one process, in rounds whose order is drawn anew; the figure "
    "is the median, with 20th and 80th percentiles where there is more than one round. Peak memory is what one call "
    "adds, each network alone in a process of its own. Weights are random and stochastic depth is off. "
    "Multiply-accumulates are those of matrices, convolutions and attention, elementwise products left out; where a "
    "head answers for places in an image, those of the backbone. Accuracy is quoted from the publications, not "
    "measured."
)

_TRAINED = (
    "Every network got the same images, augmentation, schedule and epochs, from random weights where none stand behind "
    "an @ in its name. Given is the score in the validation after the last epoch, not of the best one: the mean over "
    "the seeds with its 95 % interval by Student's distribution; of a single seed an accuracy has one by the number of "
    "images, other scores have none. Published accuracies are those of full training on ImageNet-1K, of variations "
    "with the skeleton of their publication; they are quoted, not measured."
)

_DESCRIPTIONS = {
    "latency": "Time of a call over the size of the images, and per pixel",
    "memory": "Peak memory over the size of the images, and per pixel",
    "macs": "Multiply-accumulates over the size of the images, and per pixel",
    "published_accuracy": "Published accuracy over time and multiply-accumulates",
    "accuracy": "Accuracy after equal training, by network and over multiply-accumulates",
}


def write_page(comparison: Comparison, accuracies: Accuracies | None, pictures: Sequence[str], folder: Path) -> None:
    """Write ``report.html`` with tables and charts.

    Args:
        comparison: What calls cost; may be empty.
        accuracies: What was reached after equal training, if that was measured.
        pictures: Names of the charts to show, as :func:`.charts.draw_comparison` returns them, and ``accuracy.png``.
        folder: Where the page is written.
    """
    cost, trained = bool(comparison.cells), accuracies is not None and bool(accuracies.rows)
    charts = {name: Chart(draw, _description(name)) for name, draw in comparison_figures(comparison).items()}
    if accuracies is not None and (draw := accuracies_figure(accuracies)):
        charts["accuracy.png"] = Chart(draw, _description("accuracy.png"))
    shown = [(name, charts[name]) for name in pictures if name in charts]
    networks = len(comparison.networks) or (len(accuracies.rows) if accuracies is not None else 0)
    measured = " and ".join(["what they cost"] * cost + ["what they reach after equal training"] * trained)
    sections = []
    if cost:
        sections += [
            Section("What they cost", [Paragraph(_METHOD), *_setting(comparison.setting, comparison.origin)]),
            Section("Cost over resolution", [chart for name, chart in shown if name != "accuracy.png"]),
            Section("The networks", [_networks(comparison)]),
            Section("Cost, cell by cell", [_cells(comparison.sorted_cells())]),
        ]
    if accuracies is not None and trained:
        setting = {**accuracies.setting["data"], **accuracies.setting["training"]}
        setting |= {key: accuracies.setting[key] for key in ("drop_path", "skeleton")}
        parts = [Paragraph(_TRAINED), *_setting(setting, accuracies.origin), _trained(accuracies)]
        parts += [chart for name, chart in shown if name == "accuracy.png"]
        sections.append(Section("After equal training", parts))
    write_parts(
        folder / "report.html",
        title="Networks side by side",
        opening=[Opening("Networks side by side", f"{networks:,} networks: {measured}." if measured else "")],
        sections=sections,
        footer=[Paragraph(f"focalnets {__version__}.")],
    )


def _setting(setting: Mapping[str, Any], origin: Mapping[str, Any]) -> list[Part]:
    words = ", ".join(f"{key} {value}" for key, value in setting.items() if value not in (None, {}))
    command = origin.get("command")
    parts: list[Part] = [Paragraph(without_folders(words), "note")]
    return [*parts, CodeBlock(shown_command(str(command)))] if command else parts


def _description(name: str) -> str:
    key = next((key for key in _DESCRIPTIONS if Path(name).stem.endswith(key)), "")
    return _DESCRIPTIONS.get(key, name)


def _trained(accuracies: Accuracies) -> Table:
    columns = (
        Column("network"), Column("parameters [M]", "number", ".2f"), Column("GMACs", "number", ".3f"),
        Column("seeds", "number"), Column(f"{accuracies.metric.label} (95 % interval)", "number", ".1%"),
        Column("training [min]", "number", ".1f"),
        Column("published ImageNet-1K top-1 [%]", "number", ".1f"), Column("what it changes"),
    )  # fmt: skip
    rows = []
    for row in accuracies.rows:
        score: TableCell = without_folders(row.result) if row.mean is None else row.mean
        if row.mean is not None and row.interval is not None:
            score = WithInterval(row.mean, *row.interval)
        minutes = None if row.training_s is None else row.training_s / 60
        cells = (
            row.model, _scaled(row.parameters, 1e6), _scaled(row.macs, 1e9), len(row.scores), score, minutes,
            row.published_top1_percent, row.summary or "",
        )  # fmt: skip
        rows.append(Row(cells))
    return Table(columns, rows)


def _networks(comparison: Comparison) -> Table:
    columns = (
        Column("network"), Column("parameters [M]", "number", ".2f"), Column("published top-1 [%]", "number", ".1f"),
        Column("published by"),
    )  # fmt: skip
    rows = [
        Row(
            (
                network.name,
                _scaled(network.parameters, 1e6),
                network.published_top1_percent,
                network.published_by or "",
            )
        )
        for network in comparison.networks.values()
    ]
    return Table(columns, rows)


def _cells(cells: Sequence[Cell]) -> Table:
    reasons = any(cell.why for cell in cells)
    columns = [
        Column("network"), Column("task"), Column("size [px]", "number"), Column("batch", "number"),
        Column("GMACs", "number", ".2f"), Column("time [ms] (20 to 80 %)", "number", ".1f"),
        Column("rounds", "number"), Column("images/s", "number", ".2f"), Column("peak [MiB]", "number", ".0f"),
    ]  # fmt: skip
    rows = []
    for cell in cells:
        time: TableCell = cell.result
        if cell.latency_s is not None:
            low, median, high = (1e3 * cell.latency_s[key] for key in ("p20", "median", "p80"))
            time = median if cell.rounds < 2 else WithInterval(median, low, high)
        shown: list[Any] = [
            cell.model, cell.task, cell.size_px, cell.batch, _scaled(cell.macs, 1e9), time,
            cell.rounds or None, cell.images_per_s, _scaled(cell.peak_bytes, 2**20),
        ]  # fmt: skip
        rows.append(Row([*shown, without_folders(cell.why or "")] if reasons else shown))
    return Table([*columns, Column("why not")] if reasons else columns, rows)


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit
