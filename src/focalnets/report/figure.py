"""Charts: drawn with matplotlib in the colours of a theme, as PNG files and as pictures for pages."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focalnets.files import replacing
from focalnets.report.colours import LIGHT, Theme
from focalnets.report.fonts import FAMILY, first_letters, fitting_fonts, printable, width_in_letters

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = [
    "DrawChart",
    "chart_png",
    "fraction_map",
    "ink_on",
    "log_axis",
    "new_figure",
    "percent_axis",
    "save_chart",
    "shortened",
    "themed",
    "whole_number_axis",
    "write_chart",
]

DrawChart = Callable[[Theme], "Figure"]
"""Draws one chart in the colours of a theme."""

PAGE_DPI, _MOST_PAGE_PX = 160, 2400
"""Pixels per inch of charts on pages, where screens have many, and the longest side of such a picture [px]."""

_FILE_DPI = 110


def shortened(text: str, most: int = 24) -> str:
    """Leave out the middle of a long text, which may be as wide as ``most`` Latin letters, and make it printable."""
    text = printable(text)
    if width_in_letters(text) <= most:
        return text
    end = first_letters(text[::-1], max(0, most - most // 2 - 1))[::-1]
    return f"{first_letters(text, most // 2)}…{end}"


@contextlib.contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Make a theme's colours those of everything that matplotlib draws in the block; its settings are put back."""
    from matplotlib import rc_context

    # Names hold dollar signs that begin no formula.
    settings: dict[Any, Any] = {"font.family": [FAMILY], "text.parse_math": False}
    if theme != LIGHT:
        settings |= dict.fromkeys(("figure.facecolor", "axes.facecolor", "legend.facecolor"), theme.card)
        settings |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), theme.ink)
        settings |= dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), theme.soft)
        settings |= {"grid.color": theme.soft, "legend.edgecolor": theme.line}
    with rc_context(settings):
        yield


def new_figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """Make a figure with axes that have a grid.

    Args:
        rows: Axes below each other.
        columns: Axes side by side.
        size: Width and height [inches].
        **options: Further arguments of matplotlib's ``Figure.subplots``.

    Returns:
        The figure, and its axes as ``Figure.subplots`` gives them.
    """
    # The object interface leaves pyplot's global backend and figures of the caller alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, **options)
    for axes in getattr(grid, "flat", [grid]):
        axes.grid(alpha=0.3)
    return figure, grid


def percent_axis(axis: Any, decimals: int | None = 0) -> None:
    """Show fractions from 0 to 1 as percent along an axis; ``decimals`` None takes what the span needs."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))


def log_axis(axis: Any, ticks: Sequence[float] | None = None) -> None:
    """Write plain numbers along a logarithmic axis, also where it spans less than a factor of ten.

    Args:
        axis: The axis, on a logarithmic scale already.
        ticks: Where numbers stand; None chooses.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(FixedLocator(ticks) if ticks else LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def whole_number_axis(axes: Any, values: Any) -> None:
    """Count along the x axis in whole numbers, with room for a single one of ``values``."""
    from matplotlib.ticker import MaxNLocator

    low, high = min(values, default=0), max(values, default=1)
    room = max(0.5 if low == high else 0.0, 0.04 * (high - low))
    axes.set_xlim(low - room, high + room)
    if low == high:
        axes.set_xticks([low], [f"{low:g}"])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=min(5, round(high - low) + 1)))


def fraction_map(theme: Theme) -> Colormap:
    """Return the colour map of a matrix of fractions."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(f"fractions {theme.name}", list(theme.fractions))


def ink_on(ground: Any) -> str:
    """Choose black or white for letters on a ground, given as matplotlib's (red, green, blue, ...) from 0 to 1."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in ground[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.18 else "white"


def save_chart(figure: Figure, path: str | Path) -> None:
    """Write a matplotlib figure as PNG, complete or not at all."""
    with replacing(path) as temporary:
        _save(figure, temporary, _FILE_DPI)


def write_chart(draw: DrawChart, path: str | Path) -> None:
    """Draw a chart in light colours and write it as PNG, complete or not at all."""
    with themed(LIGHT):
        save_chart(draw(LIGHT), path)


def chart_png(draw: DrawChart, theme: Theme) -> tuple[bytes, int]:
    """Draw a chart for a page.

    Returns:
        The PNG file's bytes, and the width at which a page shows it [px of CSS].
    """
    with themed(theme):
        figure = draw(theme)
        dpi = min(PAGE_DPI, _MOST_PAGE_PX / max(figure.get_size_inches()))
        stream = io.BytesIO()
        _save(figure, stream, dpi)
    content = stream.getvalue()
    # Bytes 16 to 19 of a PNG file are its width.
    return content, round(int.from_bytes(content[16:20], "big") / dpi * 100)


def _save(figure: Figure, target: Any, dpi: float) -> None:
    with fitting_fonts(figure):
        figure.savefig(target, format="png", dpi=dpi, bbox_inches="tight")
