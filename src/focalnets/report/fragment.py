"""Parts of pages alone, for notebooks: markup that brings its style and takes its colours from the notebook."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from focalnets.report.figure import DrawChart
from focalnets.report.parts import Chart, Column, Part, Picture, Row, Table, TableCell
from focalnets.report.templating import render_template
from focalnets.report.words import Words

__all__ = ["render_chart", "render_fragment", "render_picture", "render_table"]


def render_fragment(parts: Sequence[Part]) -> str:
    """Turn parts into markup for a notebook, as ``_repr_html_`` returns it; it loads nothing from anywhere."""
    return str(render_template("report/fragment.html", parts=parts))


def render_table(
    columns: Sequence[Column | str], rows: Sequence[Sequence[TableCell] | Row], caption: Words = ""
) -> str:
    """Turn a table into markup for a notebook.

    Args:
        columns: Headings, or columns of which more is said.
        rows: As many cells each as there are columns.
        caption: A line below.
    """
    typed = tuple(Column(column) if isinstance(column, str) else column for column in columns)
    filled = tuple(row if isinstance(row, Row) else Row(tuple(row)) for row in rows)
    return render_fragment([Table(typed, filled, caption)])


def render_picture(
    pixels: Image.Image | np.ndarray, alt: str = "", caption: Words = "", *, longest_px: int | None = 640
) -> str:
    """Turn a picture into markup for a notebook; the arguments are those of :class:`.parts.Picture`."""
    return render_fragment([Picture(pixels, alt, (caption,) if caption else (), longest_px)])


def render_chart(draw: DrawChart, alt: str = "", caption: Words = "") -> str:
    """Turn a chart into markup for a notebook; the arguments are those of :class:`.parts.Chart`."""
    return render_fragment([Chart(draw, alt, (caption,) if caption else ())])
