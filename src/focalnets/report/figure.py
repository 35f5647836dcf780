"""Charts as PNG files, in colours that colour-blind people can tell apart."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from focalnets.files import replacing

__all__ = ["new_figure", "percent_axis", "save_chart", "shortened"]


def shortened(text: str, most: int = 24) -> str:
    """``text`` with its middle left out where it is long, and without letters that cannot be printed."""
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2) + 1 :]}"


def new_figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    # The object interface leaves pyplot's global backend and figures of the caller alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, **options)
    for one in getattr(axes, "flat", [axes]):
        one.grid(alpha=0.3)
    return figure, axes


def percent_axis(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def save_chart(figure: Any, path: str | Path) -> None:
    """Write a matplotlib figure as PNG."""
    with warnings.catch_warnings(), replacing(path) as temporary:
        # Letters that no font here has are drawn as boxes; names of classes may be in any language.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight")
