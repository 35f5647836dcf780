"""What pages consist of: plain frozen values, each of which a template of the same name turns into markup.

Nothing here knows about markup; every text is shown as it is, whatever it holds.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from PIL import Image

from focalnets.report.colours import DARK, LIGHT
from focalnets.report.figure import DrawChart, chart_png
from focalnets.report.pictures import fit_within
from focalnets.report.words import Mark, Words

__all__ = [
    "Bullets",
    "Card",
    "Chart",
    "CodeBlock",
    "Column",
    "Curve",
    "Details",
    "Emphasis",
    "Fact",
    "Facts",
    "Gallery",
    "Matrix",
    "Opening",
    "Paragraph",
    "Part",
    "Picture",
    "Row",
    "Section",
    "Table",
    "TableCell",
    "Templated",
    "WithInterval",
]


@dataclasses.dataclass(frozen=True)
class WithInterval:
    """A number, and the ends of its interval, which is written below it."""

    value: float
    low: float
    high: float


TableCell: TypeAlias = "float | WithInterval | Words | Picture | None"
"""A number, with or without an interval, that the column writes down; or words; or a picture; or nothing."""

Emphasis = Literal["", "strong", "soft"]
"""How much a row stands out: more than others, or less."""

_MISSING = "–"
_NARROW_CHART_PX = 660


class Part(Protocol):
    """Anything that a page can show.

    Further kinds of parts need not be known here: a class with the name of a template is one, and the template finds
    it as ``part``.
    """

    @property
    def template(self) -> str:
        """Room and file of the template that turns it into markup, e.g. ``report/table.html``."""


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph; ``kind`` ``note`` is smaller, ``lead`` larger."""

    template: ClassVar[str] = "report/paragraph.html"
    text: Words
    kind: Literal["", "lead", "note"] = ""


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list of texts."""

    template: ClassVar[str] = "report/bullets.html"
    items: Sequence[Words]


@dataclasses.dataclass(frozen=True)
class CodeBlock:
    """Lines to copy."""

    template: ClassVar[str] = "report/code_block.html"
    text: str


@dataclasses.dataclass(frozen=True)
class Fact:
    """A figure, and what it is."""

    value: str
    text: Words


@dataclasses.dataclass(frozen=True)
class Facts:
    """The few figures that count most, as large numbers side by side."""

    template: ClassVar[str] = "report/facts.html"
    facts: Sequence[Fact]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        kind: ``text``, ``number`` at the right, ``bar``: a fraction from 0 to 1 as a bar with the number beside it, or
            ``picture``.
        format: How numbers are written, as in :func:`format`, e.g. ``.1%``.
    """

    title: str
    kind: Literal["text", "number", "bar", "picture"] = "text"
    format: str = ""

    def write(self, cell: TableCell) -> Words:
        """Write a cell as words."""
        if cell is None:
            return _MISSING
        if isinstance(cell, WithInterval):
            low, high = format(cell.low, self.format), format(cell.high, self.format)
            return (format(cell.value, self.format), Mark(f"{low} to {high}", "below"))
        return cell if isinstance(cell, (str, Mark, tuple)) else format(cell, self.format)

    def bar(self, cell: TableCell) -> float | None:
        """Return how long the bar of a cell is, from 0 to 1; None if there is none."""
        if self.kind != "bar":
            return None
        value = cell.value if isinstance(cell, WithInterval) else cell
        if value is None or isinstance(value, (str, Mark, tuple, Picture)) or math.isnan(value):
            return 0.0
        return min(max(float(value), 0.0), 1.0)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table."""

    cells: Sequence[TableCell]
    emphasis: Emphasis = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table in a box of its own, in which it scrolls where it is wide or long.

    Attributes:
        columns: The first one stays in sight where the table scrolls.
        rows: As many cells each as there are columns.
        caption: A line below.
    """

    template: ClassVar[str] = "report/table.html"
    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: Words = ""

    def __post_init__(self) -> None:
        assert all(len(row.cells) == len(self.columns) for row in self.rows), "a cell for each column"


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Counts of what was taken for what, one row for each true class, shaded by the fraction of their row."""

    template: ClassVar[str] = "report/matrix.html"
    names: Sequence[str]
    counts: Sequence[Sequence[int]]

    def shades(self) -> list[list[tuple[int, float]]]:
        """Return each count with its fraction of the row's total, from 0 to 1."""
        return [[(count, count / max(1, sum(row))) for count in row] for row in self.counts]


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line of fractions from 0 to 1 over counted steps, in named stretches one after the other.

    Attributes:
        stretches: Name of each stretch, and its values.
        level, level_name: A line across to compare with.
        description: What is drawn, for those who cannot see it.
    """

    template: ClassVar[str] = "report/curve.html"
    stretches: Sequence[tuple[str, Sequence[float]]]
    level: float
    level_name: str
    description: str

    @property
    def steps(self) -> int:
        """Steps of all stretches together."""
        return sum(len(values) for _, values in self.stretches)


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """Pixels of any kind, kept inside the page.

    Attributes:
        pixels: A PIL image, or (H, W, 3) uint8.
        alt: What is on it, for those who cannot see it.
        caption: Lines below.
        longest_px: The longest side, beyond which it is made smaller [px].
        quality: Of the JPEG file, 1 to 95.
    """

    template: ClassVar[str] = "report/picture.html"
    pixels: Image.Image | np.ndarray
    alt: str
    caption: Sequence[Words] = ()
    longest_px: int | None = None
    quality: int = 88

    def image(self) -> Image.Image:
        """Return the picture as it is kept in the page, in RGB."""
        drawn = self.pixels if isinstance(self.pixels, Image.Image) else Image.fromarray(self.pixels)
        drawn = drawn if drawn.mode == "RGB" else drawn.convert("RGB")
        return drawn if self.longest_px is None else fit_within(drawn, self.longest_px)

    def address(self) -> str:
        """Return the picture as a JPEG file in a data address."""
        stream = io.BytesIO()
        self.image().save(stream, format="jpeg", quality=self.quality, optimize=True)
        return _data_address(stream.getvalue(), "jpeg")


@dataclasses.dataclass(frozen=True, eq=False)
class Chart:
    """A chart, drawn once for light and once for dark pages.

    Attributes:
        draw: Draws it in the colours of a theme.
        alt: What it shows, for those who cannot see it.
        caption: Lines below.
    """

    template: ClassVar[str] = "report/chart.html"
    draw: DrawChart
    alt: str
    caption: Sequence[Words] = ()

    def variants(self) -> dict[str, Any]:
        """Draw the chart.

        Returns:
            The addresses ``light`` and ``dark``, and the usual and the least width at which they are shown [px of CSS].
            A narrow chart shrinks to a phone's width; a wide one scrolls in its box before its letters get too small.
        """
        light, width_px = chart_png(self.draw, LIGHT)
        dark, _ = chart_png(self.draw, DARK)
        return {
            "light": _data_address(light, "png"),
            "dark": _data_address(dark, "png"),
            "width_px": width_px,
            "least_px": round(width_px * (0.5 if width_px <= _NARROW_CHART_PX else 0.7)),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Card:
    """One or two pictures side by side with lines below; with ``framed`` in a box."""

    pictures: Sequence[Picture]
    caption: Sequence[Words] = ()
    framed: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Gallery:
    """Cards in as many columns as there is room for; ``size`` says how wide they are."""

    template: ClassVar[str] = "report/gallery.html"
    cards: Sequence[Card]
    size: Literal["small", "medium", "large"] = "medium"


@dataclasses.dataclass(frozen=True)
class Details:
    """Parts that show once their heading is clicked."""

    template: ClassVar[str] = "report/details.html"
    summary: str
    parts: Sequence[Part]


@dataclasses.dataclass(frozen=True)
class Opening:
    """The head of a page: its heading, what it is about, and a card beside it if there is one."""

    template: ClassVar[str] = "report/opening.html"
    heading: str
    lead: Words = ""
    note: Words = ""
    card: Card | None = None


@dataclasses.dataclass(frozen=True)
class Templated:
    """A part that one page alone needs, made by a template of that page's room.

    Attributes:
        template: Room and file, e.g. ``visualize/blocks.html`` for ``focalnets/visualize/templates/blocks.html``.
        values: What the template finds as ``part.values``.
    """

    template: str
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with what belongs below it; without a title the parts stand alone."""

    title: str
    parts: Sequence[Part]


def _data_address(content: bytes, kind: str) -> str:
    """Return a picture file of a kind (``jpeg``, ``png``) as a data address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
