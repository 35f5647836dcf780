"""Showing pictures and results where people sit: in a notebook, on a screen, or as tables of pandas."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from focalnets.errors import MissingPackageError
from focalnets.report.pictures import fit_within

if TYPE_CHECKING:
    import pandas

__all__ = ["contact_sheet", "data_frame", "display_in_notebook", "has_display", "show_picture"]

_PAPER = (255, 255, 255)


def show_picture(picture: Image.Image, otherwise: str) -> None:
    """Show a picture in the notebook or, where there is a screen, in a window; else print a sentence.

    Args:
        picture: Of any mode.
        otherwise: What is printed where nothing can be shown.
    """
    if display_in_notebook(picture):
        return
    if has_display():
        picture.show()
    else:
        print(otherwise)


def display_in_notebook(thing: Any) -> bool:
    """Display anything that notebooks can show below the cell that runs; False if this is no notebook."""
    # A notebook has imported IPython already; nothing else needs it.
    ipython, display = sys.modules.get("IPython"), sys.modules.get("IPython.display")
    shell = ipython.get_ipython() if ipython is not None else None
    if display is None or not hasattr(shell, "kernel"):
        return False
    display.display(thing)
    return True


def has_display() -> bool:
    """Whether windows can be opened here."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def data_frame(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> pandas.DataFrame:
    """Make a data frame of a table.

    Raises:
        MissingPackageError: If pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingPackageError("Data frames need pandas, which is not installed; run: pip install pandas") from None
    return pandas.DataFrame([list(row) for row in rows], columns=list(heading))


def contact_sheet(
    pictures: Iterable[Image.Image], *, cell_px: int = 320, most_columns: int = 5, gap_px: int = 12
) -> Image.Image:
    """Put pictures side by side in rows, each made smaller where it is larger than its cell.

    Args:
        pictures: In mode RGB, of any size; at least one. Taken one by one, so that they need not all be in memory.
        cell_px: Largest width and height of a picture on the sheet [px].
        most_columns: Pictures in a row, at most.
        gap_px: Room around pictures [px].

    Returns:
        The sheet in mode RGB.
    """
    shown = [fit_within(picture, cell_px) for picture in pictures]
    columns = min(most_columns, len(shown))
    rows = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    width = max(picture.width for picture in shown)
    heights = [max(picture.height for picture in row) for row in rows]
    page_size = (gap_px + columns * (width + gap_px), gap_px + sum(height + gap_px for height in heights))
    page = Image.new("RGB", page_size, _PAPER)
    top = gap_px
    for row, height in zip(rows, heights, strict=True):
        for number, picture in enumerate(row):
            page.paste(picture, (gap_px + number * (width + gap_px), top))
        top += height + gap_px
    return page
