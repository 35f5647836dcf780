"""A comparison of language models as one HTML file that loads nothing, and its chart."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focalnets.compare.language.results import LanguageComparison, LanguageRow
from focalnets.report.colours import Theme
from focalnets.report.figure import DrawChart, new_figure, percent_axis, shortened, whole_number_axis, write_chart
from focalnets.report.names import shown_command, without_folders
from focalnets.report.page import write_page
from focalnets.report.parts import Chart, CodeBlock, Column, Opening, Paragraph, Part, Row, Section, Table, WithInterval
from focalnets.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_language_page"]

CHART = "language.png"
_MARKERS = "osD^vP*X"

_METHOD = (
    "All networks have the same skeleton: an embedding at both ends, blocks of a mixer and an MLP, each behind a "
    "LayerNorm; they differ in what mixes the tokens. Speed was taken in one process, in rounds in which each network "
    "had a turn, in an order drawn anew; given is the median. Tokens of a training step are read at once, those of a "
    "continuation one after the other, for a single text. The state is what is carried from one token to the next."
)
_RECALL = (
    "Recall (MQAR): a small network of the same kind learns to tell the value that stood behind a key. Who knows the "
    "{pairs} pairs of a text but not which belong together is right in {chance:.0%} of all cases. It is the best of "
    "the learning rates {rates}, after {steps:,} steps."
)
_TRAINED = (
    "Every network got the same text, passages, schedule and steps, from random weights, and took the best of the "
    "learning rates {rates}, by one training each{search}. Given are nats a token on all that is held out after the "
    "last epoch, not the best one: the mean over the seeds with its 95 % interval by Student's distribution; of one "
    "seed there is none."
)


def write_language_page(comparison: LanguageComparison, folder: Path) -> list[str]:
    """Write ``report.html``, and ``language.png`` where networks were trained; returns the names of the files."""
    draw = _chart(comparison)
    parts: list[Part] = [Paragraph(_METHOD)]
    setting = comparison.setting
    if recall := setting.get("recall"):
        rates = ", ".join(f"{rate:g}" for rate in recall["learning_rates"])
        values = {"pairs": recall["pairs"], "chance": 1 / recall["pairs"], "steps": recall["steps"], "rates": rates}
        parts.append(Paragraph(_RECALL.format(**values)))
    if training := setting.get("training"):
        rates = ", ".join(f"{rate:g}" for rate in training["learning_rates"])
        search = f" of {training['search_epochs']} epochs" if training["search_epochs"] else ""
        parts.append(Paragraph(_TRAINED.format(rates=rates, search=search)))
    parts += [_table(comparison), *(Paragraph(note) for note in _notes(comparison))]
    if draw is not None:
        words = "Nats a token over the epochs, and beside what the networks recall"
        parts.append(Chart(draw, words))
    machine = ", ".join(f"{key} {value}" for key, value in setting["machine"].items() if value not in (None, {}))
    parts.append(Paragraph(without_folders(machine), "note"))
    if command := comparison.origin.get("command"):
        parts.append(CodeBlock(shown_command(str(command))))
    write_page(
        folder / "report.html",
        title="Language models side by side",
        opening=[
            Opening("Language models side by side", f"{len(comparison.rows):,} ways to mix the tokens of a text.")
        ],
        sections=[Section("What they learn, recall and cost", parts)],
        footer=[Paragraph(f"focalnets {__version__}.")],
    )
    if draw is None:
        return ["report.html"]
    write_chart(draw, folder / CHART)
    return [CHART, "report.html"]


def _table(comparison: LanguageComparison) -> Table:
    columns = [
        Column("network"), Column("parameters [M]", "number", ".3f"), Column("nats a token (95 %)", "number", ".3f"),
        Column("seeds", "number"), Column("learning rate", "number", "g"), Column("recall", "number", ".1%"),
        Column("training [tokens/s]", "number", ",.0f"),
    ]  # fmt: skip
    for length in comparison.lengths:
        columns.append(Column(f"continuing after {length:,} [tokens/s]", "number", ",.0f"))
        columns.append(Column(f"state after {length:,} [KiB]", "number", ",.1f"))
    columns.append(Column("what it is"))
    rows = [Row(_cells(row, comparison.lengths)) for row in comparison.sorted_rows()]
    return Table(columns, rows)


def _cells(row: LanguageRow, lengths: Sequence[int]) -> list[Any]:
    training, speed = row.training, row.speed
    nats: Any = None
    if training is not None:
        nats = without_folders(training.result) if training.mean is None else training.mean
        if training.mean is not None and training.interval is not None:
            nats = WithInterval(training.mean, *training.interval)
    cells = [
        row.model, row.parameters / 1e6, nats, None if training is None else len(training.nats),
        None if training is None else training.learning_rate, None if row.recall is None else row.recall.fraction,
        None if speed is None else speed.training["median"],
    ]  # fmt: skip
    for length in lengths:
        cells += (
            [None, None] if speed is None else [speed.generation[length]["median"], speed.state_bytes[length] / 2**10]
        )
    return [*cells, row.summary]


def _notes(comparison: LanguageComparison) -> list[str]:
    """Say where a rate outside of those tried may be better."""
    at_the_end = [
        row.model for row in comparison.sorted_rows() if row.training is not None and row.training.is_at_the_end
    ]
    if not at_the_end:
        return []
    return [
        f"The best rate of {', '.join(at_the_end)} is the lowest or highest of those tried; one beyond may be better."
    ]


def _chart(comparison: LanguageComparison) -> DrawChart | None:
    rows = [row for row in comparison.sorted_rows() if row.training is not None and row.training.mean is not None]
    return functools.partial(_figure, rows) if rows else None


def _figure(rows: Sequence[LanguageRow], theme: Theme) -> Figure:
    """Draw nats over the epochs, and nats beside recall."""
    figure, (over_epochs, beside_recall) = new_figure(1, 2, size=(10.4, 4.4))
    epochs: set[int] = set()
    recalled = False
    for index, row in enumerate(rows):
        training = row.training
        assert training is not None
        assert training.mean is not None
        style = {
            "color": theme.series[index % len(theme.series)],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linewidth": 2.6 if row.model.startswith("focal") else 1.3,
        }
        places = [epoch for epoch, _ in training.curve]
        epochs.update(places)
        over_epochs.plot(places, [nats for _, nats in training.curve], label=shortened(row.model, 40), **style)
        if row.recall is not None:
            recalled = True
            beside_recall.plot(row.recall.fraction, training.mean, **style)
    whole_number_axis(over_epochs, epochs)
    over_epochs.set_xlabel("epochs")
    over_epochs.set_ylabel("nats a token, held out")
    beside_recall.set_xlabel("recall (MQAR)")
    beside_recall.set_ylabel("nats a token after the last epoch")
    beside_recall.set_xlim(-0.04, 1.04)
    percent_axis(beside_recall.xaxis)
    if not recalled:
        beside_recall.set_visible(False)
    handles, labels = over_epochs.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    return figure
