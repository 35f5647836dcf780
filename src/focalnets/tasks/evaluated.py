"""What evaluating returns, for every task: an evaluation that can be shown, written and put into tables."""

from __future__ import annotations

import dataclasses
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focalnets.files import csv_text, user_path
from focalnets.report.names import without_folders
from focalnets.report.parts import Column, Facts, Paragraph, Row, Table
from focalnets.report.showing import data_frame, display_in_notebook, has_display
from focalnets.tasks.evaluation import EvaluationReport
from focalnets.tasks.report import write_evaluation
from focalnets.tasks.studies import CorruptionStudy, ResolutionStudy
from focalnets.tasks.task import Task

if TYPE_CHECKING:
    import pandas

__all__ = ["Evaluated"]

_MOST_ROWS = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluated:
    """A network measured on labelled data, with the means to show it.

    Every attribute of the task's evaluation is one of this too, e.g. ``top1`` of a
    :class:`focalnets.tasks.classify.results.Evaluation`.

    Attributes:
        report: What was measured, and on what.
        task: What the network is for.
        split: File of the run whose held-out part was measured; None if all of the data was.
    """

    report: EvaluationReport
    task: Task
    split: Path | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "report" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.report.evaluation, name)

    def __repr__(self) -> str:
        return f"Evaluated({self._in_words()})"

    @property
    def evaluation(self) -> Any:
        """The evaluation proper, as the task types it."""
        return self.report.evaluation

    @property
    def resolutions(self) -> ResolutionStudy | None:
        """What was measured at other input sizes, if that was asked for."""
        return self.report.resolutions

    @property
    def corruptions(self) -> CorruptionStudy | None:
        """What was measured on corrupted pictures, if that was asked for."""
        return self.report.corruptions

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``focalnets evaluate --json`` writes them."""
        return self.report.to_dict()

    def to_csv(self) -> str:
        """The evaluation as CSV, as ``focalnets evaluate --csv`` writes it; of a classifier one line a class."""
        return csv_text(*self.task.evaluation_table(self.evaluation))

    def to_dataframe(self) -> pandas.DataFrame:
        """The table of :meth:`to_csv` as a data frame.

        Raises:
            MissingPackageError: If pandas is not installed.
        """
        return data_frame(*self.task.evaluation_table(self.evaluation))

    def save(self, folder: str | Path) -> list[str]:
        """Write ``report.html``, figures as JSON and CSV and pictures as PNG to a folder; returns the files' names."""
        return write_evaluation(self.task, self.report, user_path(folder))

    def show(self) -> None:
        """Show the evaluation in the notebook or, where there is a screen, the whole report in a browser."""
        if display_in_notebook(self):
            return
        if not has_display():
            print(f"{self._in_words()} (there is no display here; write a report with save('report'))")
            return
        folder = Path(tempfile.mkdtemp(prefix="focalnets-"))
        self.save(folder)
        webbrowser.open((folder / "report.html").as_uri())

    def _repr_html_(self) -> str:
        from focalnets.report.fragment import render_fragment

        heading, rows = self.evaluation.table()
        tables = []
        if rows:
            columns = [Column(title, "number" if number else "text") for number, title in enumerate(heading)]
            caption = f"{_MOST_ROWS} of {len(rows)} rows" if len(rows) > _MOST_ROWS else ""
            tables.append(Table(columns, [Row(tuple(row)) for row in rows[:_MOST_ROWS]], caption))
        words = Paragraph(without_folders(self._in_words()), "note")
        return render_fragment([Facts(tuple(self.task.facts(self.evaluation))), words, *tables])

    def _in_words(self) -> str:
        lines = "; ".join(self.task.summary(self.evaluation))
        held_out = "" if self.split is None else f"; measured on what {self.split} holds out"
        left_out = f"; {len(self.left_out)} not read" if self.left_out else ""
        return f"{lines}{held_out}{left_out}"
