"""A page of pictures in rows, measured in inches, that stays tidy for pictures of any proportions."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from focalnets.report.colours import SHEET
from focalnets.report.figure import shortened
from focalnets.report.fonts import choose_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Page", "Panel", "Scale"]

Scale = tuple[str, tuple[float, float]]
"""Name of a colour map, and the values of its first and last colour."""

_MARGIN, _GAP = 0.45, 0.22
_CONTENT_WIDTH = 11.6
_BARS_WIDTH = 2.9
_LABEL_HEIGHT, _BAR_HEIGHT = 0.3, 0.36
_TALLEST_LARGE, _TALLEST_SMALL = 6.2, 3.6
_NARROWEST_PANEL = 1.9
_DPI = 130
_MOST_DPI = 300


@dataclasses.dataclass(frozen=True)
class Panel:
    """A picture (H, W, 3) uint8 with its label above and, if given, its colour scale below."""

    picture: np.ndarray
    label: str
    scale: Scale | None = None


@dataclasses.dataclass(frozen=True)
class _Grid:
    columns: int
    rows: int
    width: float
    height: float

    @property
    def total_width(self) -> float:
        return self.columns * self.width + (self.columns - 1) * _GAP


class Page:
    """A page that collects rows of panels, then draws them one below the other.

    Args:
        aspect: Width over height of every picture.
        title, notes: First lines of the page.
    """

    def __init__(self, *, aspect: float, title: str, notes: str) -> None:
        # Beyond these proportions a panel keeps its frame and the picture floats in it.
        self.aspect = min(max(aspect, 0.3), 9.0)
        self.title = title
        self.notes = notes
        self._large: list[Panel] = []
        self._predictions: Sequence[tuple[str, float]] = ()
        self._rows: list[tuple[str, str, Sequence[Panel], Scale | None]] = []

    def add_large(self, panels: Sequence[Panel], predictions: Sequence[tuple[str, float]]) -> None:
        """Add large panels, with the predictions as bars beside them."""
        self._large = list(panels)
        self._predictions = predictions

    def add_row(self, heading: str, caption: str, panels: Sequence[Panel], shared_scale: Scale | None = None) -> None:
        """Add a heading, a caption, small panels and, if they have a common one, their colour scale."""
        self._rows.append((heading, caption, panels, shared_scale))

    def figure(self) -> Figure:
        """Draw everything."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        bars = _BARS_WIDTH + _GAP if self._predictions else 0.0
        large = _grid(len(self._large), self.aspect, _CONTENT_WIDTH - bars, _TALLEST_LARGE, stack_from=2.2)
        smalls = [_grid(len(row[2]), self.aspect, _CONTENT_WIDTH, _TALLEST_SMALL, stack_from=2.6) for row in self._rows]
        content = max([large.total_width + bars, *(grid.total_width for grid in smalls), 6.0])
        characters = int(content * 13.5)

        height = _MARGIN + 0.78 + _grid_height(large, self._large) + 0.1
        for (_, caption, panels, shared), grid in zip(self._rows, smalls, strict=True):
            height += 0.78 + 0.2 * (len(textwrap.wrap(caption, characters)) - 1) + _grid_height(grid, panels)
            height += 0.45 if shared else 0.0
        height += _MARGIN - 0.1

        detail = self._large[0].picture.shape[1] / large.width
        figure = Figure((content + 2 * _MARGIN, height), dpi=min(max(detail, _DPI), _MOST_DPI), facecolor=SHEET.paper)
        FigureCanvasAgg(figure)
        pen = _Pen(figure, height)
        pen.text(_MARGIN, _MARGIN, shortened(self.title, int(content * 7.0)), size=17, weight="bold")
        pen.text(_MARGIN, _MARGIN + 0.37, shortened(self.notes, characters), size=9.5, colour=SHEET.muted)
        top = _MARGIN + 0.78
        pen.panels(self._large, large, top)
        if self._predictions:
            pen.bars(self._predictions, _MARGIN + large.total_width + _GAP + 0.1, top, _BARS_WIDTH - 0.1)
        top += _grid_height(large, self._large) + 0.1
        for (heading, caption, panels, shared), grid in zip(self._rows, smalls, strict=True):
            lines = textwrap.wrap(caption, characters)
            pen.text(_MARGIN, top + 0.12, heading, size=12.5, weight="bold")
            pen.text(_MARGIN, top + 0.42, "\n".join(lines), size=9.5, colour=SHEET.muted)
            top += 0.78 + 0.2 * (len(lines) - 1)
            pen.panels(panels, grid, top)
            top += _grid_height(grid, panels)
            if shared:
                pen.scale(shared, _MARGIN, top + 0.05, min(grid.total_width, 4.0))
                top += 0.45
        choose_fonts(figure)
        return figure


class _Pen:
    """A pen that places things by inches from the upper left corner."""

    def __init__(self, figure: Figure, height: float) -> None:
        self.figure = figure
        self.width_in = figure.get_figwidth()
        self.height_in = height

    def text(
        self, x: float, y: float, text: str, *, size: float, weight: str = "normal", colour: str = SHEET.ink,
        align: Literal["left", "center", "right"] = "left",
    ) -> None:  # fmt: skip
        """Write lines of text, the first with its base line one letter's height below ``y``."""
        for line in text.split("\n"):
            y += size / 72
            self.figure.text(
                x / self.width_in, 1 - y / self.height_in, line, size=size, weight=weight, color=colour,
                ha=align, va="baseline", parse_math=False,
            )  # fmt: skip
            y += 0.4 * size / 72

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        place = (x / self.width_in, 1 - (y + height) / self.height_in, width / self.width_in, height / self.height_in)
        axes = self.figure.add_axes(place)
        axes.set_axis_off()
        return axes

    def panels(self, panels: Sequence[Panel], grid: _Grid, top: float) -> None:
        step = _panel_height(grid, panels)
        for index, panel in enumerate(panels):
            row, column = divmod(index, grid.columns)
            x, y = _MARGIN + column * (grid.width + _GAP), top + row * step
            self.text(x, y + 0.05, shortened(panel.label, int(grid.width * 13)), size=9.5)
            axes = self.axes(x, y + _LABEL_HEIGHT, grid.width, grid.height)
            axes.set_anchor("NW")
            axes.imshow(panel.picture, interpolation="antialiased")
            if panel.scale:
                drawn = panel.picture.shape[1] / panel.picture.shape[0]
                below = y + _LABEL_HEIGHT + min(grid.height, grid.width / drawn) + 0.06
                self.scale(panel.scale, x, below, max(min(grid.width, grid.height * drawn), 1.0))

    def scale(self, scale: Scale, x: float, y: float, width: float) -> None:
        colours, (low, high) = scale
        axes = self.axes(x, y, width, 0.07)
        axes.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=colours, vmin=0, vmax=1)
        values = (low, 0.0, high) if low < 0 < high else (low, high)
        alignments: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")
        alignments = alignments if len(values) == 3 else ("left", "right")
        for value, alignment in zip(values, alignments, strict=True):
            fraction = (value - low) / (high - low)
            self.text(x + fraction * width, y + 0.12, f"{value:.3g}", size=7.5, colour=SHEET.muted, align=alignment)

    def bars(self, predictions: Sequence[tuple[str, float]], x: float, y: float, width: float) -> None:
        self.text(x, y + 0.05, "What it says", size=9.5)
        y += _LABEL_HEIGHT + 0.05
        for rank, (name, probability) in enumerate(predictions):
            weight, colour = ("bold", SHEET.accent) if rank == 0 else ("normal", SHEET.bar)
            self.text(x, y, shortened(name, 26), size=10.5, weight=weight)
            self.text(x + width, y, f"{100 * probability:.1f} %", size=10.5, weight=weight, align="right")
            axes = self.axes(x, y + 0.23, width, 0.075)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.barh(0.5, 1.0, height=1.0, color=SHEET.track)
            axes.barh(0.5, probability, height=1.0, color=colour)
            y += 0.5


def _grid(count: int, aspect: float, width: float, tallest: float, *, stack_from: float) -> _Grid:
    """Place panels in equal columns: fewer columns for wide pictures, narrower ones for tall ones."""
    columns = count if aspect < stack_from else max(1, math.ceil(count / (2 if aspect < 2 * stack_from else count)))
    panel = (width - (columns - 1) * _GAP) / columns
    panel = max(min(panel, tallest * aspect), min(_NARROWEST_PANEL, panel))
    return _Grid(columns, math.ceil(count / columns), panel, min(panel / aspect, tallest))


def _panel_height(grid: _Grid, panels: Sequence[Panel]) -> float:
    scale = _BAR_HEIGHT if any(panel.scale for panel in panels) else 0.08
    return _LABEL_HEIGHT + grid.height + scale


def _grid_height(grid: _Grid, panels: Sequence[Panel]) -> float:
    return grid.rows * _panel_height(grid, panels)
