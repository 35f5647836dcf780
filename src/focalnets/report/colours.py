"""All colours and colour maps: of pages, of charts and of sheets of pictures. Imports nothing.

Every chart is drawn in two themes, one for light and one for dark pages. Colours of lines and bars are chosen so that
colour-blind people can tell them apart (those of the light theme are Okabe and Ito's, 2008).
"""

from __future__ import annotations

import dataclasses

__all__ = ["ACCURACY_MAP", "CLASS_COLOURS", "DARK", "HEAT_MAP", "LIGHT", "SHEET", "SIGNED_MAP", "SheetColours", "Theme"]

HEAT_MAP = "inferno"
"""Colour map of what is never negative: where a network looks, how strongly something counts."""

SIGNED_MAP = "PuOr_r"
"""Colour map of what has two signs, pale at zero: gates and kernels."""

ACCURACY_MAP = "cividis"
"""Colour map of tables of accuracies from 0 to 1."""

CLASS_COLOURS = (
    "#e6194b", "#3cb44b", "#4363d8", "#ffe119", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#469990",
    "#9a6324", "#800000", "#808000", "#000075", "#a9a9a9", "#fabed4", "#aaffc3", "#ffd8b1", "#dcbeff", "#fffac8",
)  # fmt: skip
"""Colours of classes that differ as far as possible, also for many people who see fewer of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of a page and of the charts on it, as ``#rrggbb``.

    Attributes:
        name: ``light`` or ``dark``.
        paper, card: Grounds of the page and of its boxes; charts lie on cards.
        ink, soft, line: Letters, letters of less weight, and hair lines.
        accent, on_accent: What stands out, and letters on it.
        good, bad: Right and wrong.
        track: The empty part of bars.
        blue, orange, green, purple, yellow, grey: Lines, markers and bars of charts.
        series: Colours of many lines side by side, in this order.
        fractions: Colours from 0 to 1 of a matrix of fractions; the first one is that of nothing.
    """

    name: str
    paper: str
    card: str
    ink: str
    soft: str
    line: str
    accent: str
    on_accent: str
    good: str
    bad: str
    track: str
    blue: str
    orange: str
    green: str
    purple: str
    yellow: str
    grey: str
    series: tuple[str, ...]
    fractions: tuple[str, ...]

    @property
    def accent_rgb(self) -> str:
        """The accent as ``red, green, blue`` from 0 to 255, for mixtures with the ground."""
        return _in_numbers(self.accent)

    @property
    def series_rgb(self) -> tuple[str, ...]:
        """The colours of :attr:`series`, likewise."""
        return tuple(map(_in_numbers, self.series))


def _in_numbers(colour: str) -> str:
    return ", ".join(str(int(colour[place : place + 2], 16)) for place in (1, 3, 5))


LIGHT = Theme(
    name="light",
    paper="#fbfaf8",
    card="#ffffff",
    ink="#1d2129",
    soft="#5b6472",
    line="#e4e1db",
    accent="#c2410c",
    on_accent="#ffffff",
    good="#15803d",
    bad="#b91c1c",
    track="#ece9e3",
    blue="#0072B2",
    orange="#D55E00",
    green="#009E73",
    purple="#CC79A7",
    yellow="#E69F00",
    grey="#6b7280",
    series=(
        "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
    ),
    fractions=("#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b"),
)  # fmt: skip

DARK = Theme(
    name="dark",
    paper="#14161b",
    card="#1d2027",
    ink="#eceef2",
    soft="#9aa3b2",
    line="#2d323c",
    accent="#fb923c",
    on_accent="#1b1206",
    good="#4ade80",
    bad="#f87171",
    track="#2a2f39",
    blue="#56B4E9",
    orange="#FF8F3F",
    green="#2CC49A",
    purple="#E39AC4",
    yellow="#F5C04A",
    grey="#9aa3b2",
    series=(
        "#64b5f6", "#ffa65c", "#66d17a", "#ff7b7b", "#b79cf0", "#c99a8b", "#f0a3dc", "#b4bac4", "#dddf5e", "#55dbe8",
    ),
    fractions=("#22262f", "#24364a", "#264866", "#2a5c86", "#3272a6", "#418ac4", "#5fa4dc", "#8fc2ee", "#c9e2fa"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class SheetColours:
    """Colours of a sheet of pictures, which is kept as a file and is always light.

    Attributes:
        paper, ink, muted: Ground, letters, and letters of less weight.
        accent, bar, track: The first bar, the other bars, and the empty part of bars.
    """

    paper: str = "#ffffff"
    ink: str = "#1c2128"
    muted: str = "#59636e"
    accent: str = "#d9480f"
    bar: str = "#9aa4af"
    track: str = "#eceff2"


SHEET = SheetColours()

CLASS_COLOURS = (
    "#e6194b", "#3cb44b", "#4363d8", "#ffe119", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#469990",
    "#9a6324", "#800000", "#808000", "#000075", "#a9a9a9", "#fabed4", "#aaffc3", "#ffd8b1", "#dcbeff", "#fffac8",
)  # fmt: skip
"""Colours that differ as far as possible, also for many people who see fewer of them; more are made from hues."""
