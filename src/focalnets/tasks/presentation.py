"""How a task shows what a network says, and how well it does: pictures, tables, lines and the parts of pages."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from focalnets.errors import ConfigError
from focalnets.models.config import Preprocessing
from focalnets.report.parts import Column, Fact, Section, TableCell
from focalnets.tasks.evaluation import EvaluationReport, loss_in_words, size_in_words
from focalnets.tasks.metric import Metric
from focalnets.tasks.plain_tables import plain_row, plain_table

if TYPE_CHECKING:
    from PIL import Image

    from focalnets.tasks.large_look import LargeLook

__all__ = ["Presentation"]


class Presentation(abc.ABC):
    """The part of a task that is for people and for files; see :class:`focalnets.tasks.task.Task`.

    Attributes:
        name: Of the task.
        metric_labels: How its metrics are called, the most important first.
    """

    name: ClassVar[str]
    metric_labels: ClassVar[Mapping[str, Metric]]

    @abc.abstractmethod
    def results(
        self, output: Any, *, paths: Sequence[Path], sizes: Sequence[tuple[int, int]], labels: Sequence[str]
    ) -> list[Any]:
        """Make typed results of a batch, in pixels of the pictures, whose sizes are (width, height)."""

    def row(self, result: Any) -> dict[Column, TableCell]:
        """A result as a row of a table for people: a cell for each column; the first is the input."""
        return {Column("image"): str(result.path), **plain_row(result.to_dict())}

    def result_table(self, results: Sequence[Any]) -> tuple[list[str], list[list[Any]]]:
        """Heading and rows of results as a table for programs; a result may take several rows."""
        return plain_table([result.to_dict() for result in results])

    def write_results(self, results: Sequence[Any], folder: Path) -> list[str]:
        """Write the task's own files of predictions, e.g. masks; returns the files' names."""
        return []

    @abc.abstractmethod
    def draw(self, picture: Image.Image, result: Any) -> Image.Image:
        """Draw the result on the picture."""

    def draw_frame(self, picture: Image.Image, result: Any) -> Image.Image:
        """Draw the result on a frame of a video, whose size stays; a line below takes the place of the first rows.

        A frame with no room for the line stays as it is.
        """
        drawn = self.draw(picture, result)
        if drawn.width < picture.width or drawn.height > 1.5 * picture.height:
            return picture
        return drawn.crop((0, drawn.height - picture.height, picture.width, drawn.height))

    def seen(self, item: tuple[Any, Any], spec: Preprocessing) -> Image.Image:
        """Show what the network sees of an item's picture."""
        from focalnets.data.transforms import framing

        return framing(spec)(item[0])

    def summary(self, evaluation: Any) -> list[str]:
        """Sum up an evaluation in a line or two, for terminals."""
        figures = evaluation.figures()
        shown = [
            f"{metric.label} {metric.format(figures.value(name), 2)}" for name, metric in self.metric_labels.items()
        ]
        loss, size = loss_in_words(evaluation.loss), size_in_words(evaluation.preprocessing)
        return [f"{', '.join(shown)}{loss} on {evaluation.inputs:,} inputs {size}"]

    def evaluation_table(self, evaluation: Any) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows of an evaluation as a table."""
        row = evaluation.figures().to_row()
        return list(row), [list(row.values())]

    def heading(self, evaluation: Any) -> str:
        """Return the title of an evaluation's page."""
        return f"How well it does on {evaluation.inputs:,} inputs"

    def facts(self, evaluation: Any) -> list[Fact]:
        """Choose the figures of an evaluation that count most."""
        figures = evaluation.figures()
        return [Fact(metric.format(figures.value(name)), metric.label) for name, metric in self.metric_labels.items()]

    def large(self, model: nn.Module) -> LargeLook:
        """Say how the network looks at images of any size.

        Raises:
            ConfigError: If it does not.
        """
        raise ConfigError(f"Networks of the task {self.name} do not look at images of any size; leave context out.")

    def write_files(self, report: EvaluationReport, folder: Path) -> list[str]:
        """Write the task's own tables and pictures of an evaluation; returns the files' names."""
        return []

    def sections(self, report: EvaluationReport) -> list[Section]:
        """Make the task's part of the page about an evaluation."""
        return []
