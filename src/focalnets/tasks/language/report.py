"""Files and the part of a page about a language model that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.files import csv_text, write_text
from focalnets.report.colours import Theme
from focalnets.report.figure import new_figure, write_chart
from focalnets.report.parts import Chart, Column, Paragraph, Row, Section, Table
from focalnets.tasks.language.results import Evaluation, PassageScore

__all__ = ["evaluation_sections", "write_evaluation_files"]

_MOST_SHOWN_CHARACTERS = 600


def write_evaluation_files(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write tables of positions and of passages, and the curve over positions; returns the files' names."""
    rows = [list(row) for row in evaluation.by_position]
    write_text(folder / "positions.csv", csv_text(["tokens_before", "nats", "tokens"], rows))
    scores = [
        [kind, score.number, score.nats, score.text]
        for kind, scores in (("surprising", evaluation.surprising), ("expected", evaluation.expected))
        for score in scores
    ]
    write_text(folder / "passages.csv", csv_text(["kind", "passage", "nats", "text"], scores))
    write_chart(lambda theme: _positions_figure(evaluation, theme), folder / "positions.png")
    return ["positions.csv", "passages.csv", "positions.png"]


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Show what context helps, and the passages that surprised most and least."""
    first, last = evaluation.by_position[0], evaluation.by_position[-1]
    unit = evaluation.preprocessing["unit"]
    sections = [
        Section(
            "How context helps",
            [
                Paragraph(
                    f"With a single token read before, a token surprises the network by {first[1]:.2f} nats; with "
                    f"{last[0]:,} {unit} read before, by {last[1]:.2f}."
                ),
                Chart(lambda theme: _positions_figure(evaluation, theme), "Nats a token over the tokens read before"),
            ],
        )
    ]
    for title, scores in (
        ("What surprises it most", evaluation.surprising),
        ("What it expects best", evaluation.expected),
    ):
        if scores:
            sections.append(Section(title, [_passages(scores)]))
    return sections


def _passages(scores: Sequence[PassageScore]) -> Table:
    columns = [Column("passage", "number"), Column("nats", "number", ".2f"), Column("text")]
    rows: list[Any] = [Row((float(score.number), score.nats, _abridged(score.text))) for score in scores]
    return Table(columns, rows)


def _abridged(text: str) -> str:
    shown = text if len(text) <= _MOST_SHOWN_CHARACTERS else f"{text[:_MOST_SHOWN_CHARACTERS]} ..."
    return shown.strip().replace("\n", " ⏎ ")


def _positions_figure(evaluation: Evaluation, theme: Theme) -> Any:
    figure, axes = new_figure(size=(6.4, 3.4))
    places = [place for place, _, _ in evaluation.by_position]
    axes.plot(places, [nats for _, nats, _ in evaluation.by_position], color=theme.series[0])
    if len(places) > 1:
        axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens read before")
    axes.set_ylabel("nats a token")
    axes.set_ylim(bottom=0)
    return figure
