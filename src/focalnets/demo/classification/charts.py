"""Charts and tables of the demonstration's report."""

from __future__ import annotations

from collections.abc import Sequence

from focalnets.demo.classification.scores import MapScore
from focalnets.report.parts import Column, Curve, Matrix, Row, Table, WithInterval

__all__ = ["confusion_table", "learning_curve", "score_table"]


def learning_curve(lessons: Sequence[tuple[str, Sequence[float]]], chance: float) -> Curve:
    """Draw accuracy after each epoch, one stretch a lesson.

    Args:
        lessons: Name of each lesson, and the accuracy after each of its epochs, from 0 to 1.
        chance: What guessing gets, drawn as a line.
    """
    return Curve(lessons, chance, "guessing", "Accuracy after each epoch of the lessons")


def confusion_table(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Matrix:
    """Show what was called what, with one row for each true class."""
    return Matrix(names, counts)


def score_table(scores: Sequence[MapScore]) -> Table:
    """Write down how well each kind of map finds the object; the last two know nothing of the picture."""
    columns = (
        Column("map"), Column("brightest point on the object or just beside it", "bar", ".1%"),
        Column("exactly on it (95 % interval)", "number", ".1%"), Column("on something else", "number", ".1%"),
        Column("fraction of the map on it", "number", ".1%"),
    )  # fmt: skip
    rows = []
    for number, score in enumerate(scores):
        hits = WithInterval(score.hits, *score.hits_interval)
        cells = (score.name, score.near, hits, score.on_others, score.energy)
        rows.append(Row(cells, "strong" if score.drawn else "soft" if number >= len(scores) - 2 else ""))
    return Table(columns, rows)
