"""What predicting returns, for every task: results that can be shown, written and put into tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from PIL import Image

from focalnets.data.inputs import Input
from focalnets.errors import ConfigError, DataError, ImageError
from focalnets.files import csv_text, replacing, user_path, write_json, write_text
from focalnets.report.names import unique_names, without_folders
from focalnets.report.parts import Column, Picture, Row, Table, TableCell
from focalnets.report.showing import contact_sheet, data_frame, show_picture
from focalnets.report.words import plain_text
from focalnets.tasks.clips import PredictedClip
from focalnets.tasks.evaluation import Failure
from focalnets.tasks.task import Task

if TYPE_CHECKING:
    import pandas

__all__ = ["Predicted", "Results", "table_of"]

_MOST_ON_SHEET, _MOST_IN_NOTEBOOK = 40, 24
_THUMBNAIL_PX = 128


class Predicted:
    """What a network says about one input, with the means to show it.

    Every attribute of the task's result is one of this too, e.g. ``class_names`` of a
    :class:`focalnets.tasks.classify.results.Prediction`. A picture that is a file is read again when it is shown.

    Args:
        value: The task's result, a frozen value.
        input: What the network looked at.
        task: What the network is for.
    """

    def __init__(self, value: Any, input: Input, task: Task) -> None:
        self.value = value
        self.input = input
        self.task = task

    def __getattr__(self, name: str) -> Any:
        if name == "value" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.value, name)

    def __repr__(self) -> str:
        return repr(self.value)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self.value.to_dict()

    def to_dataframe(self) -> pandas.DataFrame:
        """A data frame with the rows that the result has in a CSV file.

        Raises:
            MissingPackageError: If pandas is not installed.
        """
        return data_frame(*self.task.result_table([self.value]))

    def draw(self) -> Image.Image:
        """Draw the result on its picture, in mode RGB.

        Raises:
            ImageError: If the picture cannot be read any more.
            ConfigError: If the input is no picture.
        """
        self.task.require_images("draw()")
        return self.task.draw(self.input.read(), self.value)

    def show(self) -> None:
        """Show the picture with the result, in the notebook or in a window."""
        line = ", ".join(self._cells().values())
        if not self.task.sees_images:
            print(line)
            return
        show_picture(self.draw(), f"{line} (there is no display here; write the picture with draw().save('name.png'))")

    def _cells(self) -> dict[str, str]:
        return {column.title: plain_text(column.write(cell)) for column, cell in self.task.row(self.value).items()}  # type: ignore[arg-type]

    def _repr_html_(self) -> str:
        return Results([self], (), self.task)._repr_html_()


class Results(Sequence[Predicted]):
    """What a network says about several inputs, in their order.

    Attributes:
        failures: Inputs that could not be read, with the reason.
        task: What the network is for.
        model: Where the network came from, in words.
        input_size_px: Size at which it saw the inputs [px].
        clips: What it says about videos, frame by frame.
    """

    def __init__(
        self,
        entries: Sequence[Predicted],
        failures: Sequence[Failure],
        task: Task,
        *,
        model: str = "",
        input_size_px: int | None = None,
        clips: Sequence[PredictedClip] = (),
    ) -> None:
        self._entries = tuple(entries)
        self.failures = tuple(failures)
        self.task = task
        self.model = model
        self.input_size_px = input_size_px
        self.clips = tuple(clips)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Predicted]:
        return iter(self._entries)

    @overload
    def __getitem__(self, index: int) -> Predicted: ...

    @overload
    def __getitem__(self, index: slice) -> Results: ...

    def __getitem__(self, index: int | slice) -> Predicted | Results:
        if isinstance(index, slice):
            return self._with(self._entries[index])
        try:
            return self._entries[index]
        except IndexError:
            raise IndexError(f"There is no result {index}; {self._in_words()}.") from None

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self._entries[:3]))
        more = f", and {len(self) - 3:,} more" if len(self) > 3 else ""
        return f"Results({self._in_words()}{': ' if shown else ''}{shown}{more})"

    def with_failures(self, failures: Sequence[Failure]) -> Results:
        """The same results with further failures before its own."""
        return self._with(self._entries, [*failures, *self.failures])

    def _with(self, entries: Sequence[Predicted], failures: Sequence[Failure] | None = None) -> Results:
        failures = self.failures if failures is None else failures
        options: dict[str, Any] = {"model": self.model, "input_size_px": self.input_size_px, "clips": self.clips}
        return Results(entries, failures, self.task, **options)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``focalnets predict --json`` writes them."""
        clips = {"videos": [clip.to_dict() for clip in self.clips]} if self.clips else {}
        return {
            "model": self.model,
            "input_size_px": self.input_size_px,
            "predictions": [result.to_dict() for result in self],
            **clips,
            "failures": [failure.to_dict() for failure in self.failures],
        }

    def to_csv(self) -> str:
        """The results as CSV, as ``focalnets predict --csv`` writes them, those of frames last; without failures."""
        frames = [result for clip in self.clips for result in clip.results]
        return csv_text(*self.task.result_table([*(result.value for result in self), *frames]))

    def to_dataframe(self) -> pandas.DataFrame:
        """The table of :meth:`to_csv` as a data frame.

        Raises:
            MissingPackageError: If pandas is not installed.
        """
        return data_frame(*self.task.result_table([result.value for result in self]))

    def sheet(self, most: int = _MOST_ON_SHEET) -> Image.Image:
        """Draw the results on their pictures, side by side, in mode RGB.

        Args:
            most: Results that are drawn, at most.

        Raises:
            DataError: If there is no result.
            ImageError: If a picture cannot be read any more.
        """
        if not self:
            raise DataError(f"There is nothing to draw: {self._in_words()}.")
        return contact_sheet(result.draw() for result in itertools.islice(self, most))

    def show(self) -> None:
        """Show the results on their pictures, in the notebook or in a window."""
        if not self.task.sees_images:
            print(self.to_csv(), end="")
            return
        sentence = f"{self._in_words()} (there is no display here; write a picture with save('results.png'))"
        show_picture(self.sheet(), sentence)

    def write(self, folder: str | Path) -> list[str]:
        """Write everything into a folder: results as JSON and CSV, a picture of each, and the task's own files.

        Pictures are called ``NAME_predicted.png``; of the task's own files one of naming pixels is the map of classes.

        Returns:
            The files' names.

        Raises:
            ImageError: If a picture cannot be read any more.
        """
        folder = user_path(folder)
        write_json(folder / "predictions.json", self.to_dict())
        write_text(folder / "predictions.csv", self.to_csv())
        names = ["predictions.json", "predictions.csv"]
        pictured = self if self.task.sees_images else ()
        pictures = unique_names([result.path for result in pictured], "_predicted.png")
        for result, name in zip(pictured, pictures, strict=True):
            with replacing(folder / name) as temporary:
                result.draw().save(temporary, format="png")
        return [*names, *pictures, *self.task.write_results([result.value for result in self], folder)]

    def save(self, path: str | Path) -> Path:
        """Write the results, by the ending of the file: .json, .csv, or .png with their pictures; returns the file.

        Raises:
            ConfigError: If the file ends otherwise.
            DataError, ImageError: As :meth:`sheet`.
        """
        path = user_path(path)
        kind = path.suffix.lower()
        if kind == ".json":
            write_json(path, self.to_dict())
        elif kind == ".csv":
            write_text(path, self.to_csv())
        elif kind == ".png":
            sheet = self.sheet()
            with replacing(path) as temporary:
                sheet.save(temporary, format="png")
        else:
            raise ConfigError(f"expected a name that ends in .json, .csv or .png, got '{path}'.")
        return path

    def _repr_html_(self) -> str:
        from focalnets.report.fragment import render_fragment

        shown = self._entries[:_MOST_IN_NOTEBOOK]
        columns, cells = table_of(self.task, [result.value for result in shown])
        pictured = self.task.sees_images
        rows = [
            Row((*([_thumbnail(result)] if pictured else []), *map(_without_folders, row)))
            for result, row in zip(shown, cells, strict=True)
        ]
        pictures = [Column("", "picture")] if pictured else []
        caption = self._in_words() + (f"; the first {len(shown)} are shown" if len(shown) < len(self) else "")
        return render_fragment([Table((*pictures, *columns), rows, without_folders(caption))])

    def _in_words(self) -> str:
        counted = f"{len(self):,} result{'' if len(self) == 1 else 's'}"
        if self.clips:
            counted += f", {len(self.clips):,} video{'' if len(self.clips) == 1 else 's'}"
        if not self.failures:
            return counted
        first = self.failures[0].reason.rstrip(".")
        more = f" and {len(self.failures) - 1:,} more" if len(self.failures) > 1 else ""
        return f"{counted}, {len(self.failures):,} not read ({first}{more})"


def table_of(task: Task, results: Sequence[Any]) -> tuple[list[Column], list[list[TableCell]]]:
    """The task's rows of results below the columns of all of them; what a row lacks is None."""
    rows = [task.row(result) for result in results]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return columns, [[row.get(column) for column in columns] for row in rows]


def _thumbnail(result: Predicted) -> Picture | None:
    """The picture with its result in small; None if it cannot be read any more."""
    try:
        return Picture(result.draw(), f"result of {result.input.path.name}", longest_px=_THUMBNAIL_PX)
    except ImageError:
        return None


def _without_folders(cell: TableCell) -> TableCell:
    return without_folders(cell) if isinstance(cell, str) else cell
