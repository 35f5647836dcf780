"""What explaining a text returns: figures of each token that can be shown, written and turned into tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from focalnets.errors import ConfigError
from focalnets.files import csv_text, user_path, write_json, write_text
from focalnets.report.fragment import render_fragment
from focalnets.report.showing import data_frame, display_in_notebook
from focalnets.visualize.text.figures import TextFigures
from focalnets.visualize.text.page import coloured_tokens, write_token_page

if TYPE_CHECKING:
    import pandas

__all__ = ["TextExplanation"]


class TextExplanation(TextFigures):
    """What a network listens to in a text, and how it is shown and kept."""

    def __repr__(self) -> str:
        return f"TextExplanation({self.in_words()})"

    def to_dataframe(self) -> pandas.DataFrame:
        """The figures as a data frame, one row a token.

        Raises:
            MissingPackageError: If pandas is not installed.
        """
        return data_frame(*self.table())

    def save(self, path: str | Path) -> Path:
        """Write a page (.html), the table of tokens (.csv) or everything as plain values (.json); returns the file.

        Raises:
            ConfigError: If the file ends otherwise.
        """
        path = user_path(path)
        ending = path.suffix.lower()
        if ending == ".html":
            write_token_page(self, path)
        elif ending == ".csv":
            write_text(path, csv_text(*self.table()))
        elif ending == ".json":
            write_json(path, self.to_dict())
        else:
            raise ConfigError(f"an explanation of a text is written as .html, .csv or .json, got '{path.name}'.")
        return path

    def show(self) -> None:
        """Show the coloured tokens in a notebook, else a line about the text."""
        if not display_in_notebook(self):
            print(f"{self.in_words()} (there is no notebook here; write it with save('name.html'))")

    def _repr_html_(self) -> str:
        return render_fragment([coloured_tokens(self, still=True)])
