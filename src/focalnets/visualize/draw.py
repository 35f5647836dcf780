"""Draws what happens inside a network over the picture, in maps that colour-blind people can read.

Figures are made without pyplot, so that nothing global changes and no window opens. Axes: H W height and width [px].
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image

from focalnets.errors import ConfigError
from focalnets.files import replacing
from focalnets.report.colours import HEAT_MAP, SIGNED_MAP
from focalnets.report.fonts import fitting_fonts
from focalnets.report.pictures import seen_well
from focalnets.report.sheet import Page, Panel, Scale
from focalnets.visualize.map_names import UNSHOWN
from focalnets.visualize.maps import gate_maps, modulator_map
from focalnets.visualize.recording import BlockId, Inside
from focalnets.visualize.relevance import Relevance, recorded_relevance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "FIGURE_FORMATS",
    "STYLES",
    "Style",
    "draw_outline",
    "explain_figure",
    "gate_panels",
    "level_name",
    "mark_point",
    "overlay",
    "robust_limits",
    "save_figure",
    "stage_panels",
    "styled",
]

Style = Literal["overlay", "heatmap", "side-by-side"]
"""``overlay`` = the map's colours over the picture in grey; ``heatmap`` = the map alone; ``side-by-side`` = the picture
as it is at the left and the map over it at the right, twice as wide."""

STYLES: tuple[Style, ...] = get_args(Style)

FIGURE_FORMATS = ("png", "pdf", "svg")
"""What figures can be written as. In PDF and SVG letters stay letters; pictures are pixels in all three."""

_MOST_DETAIL_PX = 2000


def robust_limits(values: np.ndarray, *, percent: float = 1.0) -> tuple[float, float]:
    """Find the ends of a colour scale: leave out ``percent`` of the values at each end."""
    low, high = np.percentile(values, (percent, 100.0 - percent))
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-12):
        return float(low) - 0.5, float(low) + 0.5
    return float(low), float(high)


def overlay(
    picture: Image.Image | np.ndarray,
    heat: np.ndarray,
    *,
    limits: tuple[float, float] | None = None,
    colours: str = HEAT_MAP,
    strength: float = 0.62,
) -> np.ndarray:
    """Lay a map over a picture, so that both the map's colours and the picture's structure are seen.

    Args:
        picture: RGB picture, (H, W, 3) uint8 or a PIL image; it is drawn in grey.
        heat: Map of any size (h, w); stretched to the picture.
        limits: Values that get the first and the last colour; None takes :func:`robust_limits`.
        colours: Name of a matplotlib colour map.
        strength: Fraction of the map in the mixture, 0 to 1.

    Returns:
        (H, W, 3) uint8.
    """
    grey = np.asarray(Image.fromarray(np.asarray(picture)).convert("L"), dtype=np.float32)[..., None]
    colour = _colour(_resize_map(heat, grey.shape[1], grey.shape[0]), limits or robust_limits(heat), colours)
    return (strength * colour + (1.0 - strength) * grey + 0.5).clip(0, 255).astype(np.uint8)


def styled(
    picture: Image.Image | np.ndarray,
    heat: np.ndarray,
    style: Style,
    *,
    limits: tuple[float, float] | None = None,
    colours: str = HEAT_MAP,
    strength: float = 0.62,
) -> np.ndarray:
    """Show a map with its picture in one of the :data:`Style`; the other arguments are those of :func:`overlay`.

    Returns:
        (H, W, 3) uint8, (H, 2 W, 3) for ``side-by-side``.

    Raises:
        ConfigError: If there is no such style.
    """
    if style not in STYLES:
        raise ConfigError(f"style must be one of {', '.join(STYLES)}, got {style!r}.")
    if style == "heatmap":
        strength = 1.0
    drawn = overlay(picture, heat, limits=limits, colours=colours, strength=strength)
    return np.concatenate((np.asarray(picture), drawn), axis=1) if style == "side-by-side" else drawn


def draw_outline(
    picture: np.ndarray, mask: np.ndarray, *, colour: Sequence[int] = (255, 255, 255), width_px: int = 2
) -> np.ndarray:
    """Trace the border of a mask into a picture, with a dark line around it so that it shows on any ground.

    Args:
        picture: (H, W, 3) uint8.
        mask: Booleans of any size, stretched to the picture.
        colour: RGB, 0 to 255.
        width_px: Width of the coloured line, at least 1.

    Returns:
        A new picture (H, W, 3) uint8.
    """
    height, width = picture.shape[:2]
    inside = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    # Rings lie outside of the object, which stays visible.
    line = _grow(inside, width_px)
    dark = _grow(line, 1)
    result = picture.copy()
    result[dark & ~line] = (0, 0, 0)
    result[line & ~inside] = tuple(colour)
    return result


def mark_point(picture: np.ndarray, row: float, column: float, *, radius_px: float = 9.0) -> np.ndarray:
    """Draw a small white cross with a dark border around (row, column) [px]; returns a new picture (H, W, 3) uint8."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    along, across = np.abs(y + 0.5 - row), np.abs(x + 0.5 - column)
    longer, shorter = np.maximum(along, across), np.minimum(along, across)
    result = picture.copy()
    result[(longer <= radius_px + 1.5) & (shorter <= 2.5)] = (0, 0, 0)
    result[(longer <= radius_px) & (shorter <= 1.0)] = (255, 255, 255)
    return result


def explain_figure(
    picture: Image.Image,
    inside: Inside,
    *,
    predictions: Sequence[tuple[str, float]] = (),
    focus: BlockId | None = None,
    gates_of: BlockId | None = None,
    relevance: Relevance | None = None,
    title: str = "",
    notes: str = "",
    index: int = 0,
    style: Style = "overlay",
    answer: Image.Image | None = None,
) -> Figure:
    """Draw one page on one picture: what the network says, where it looks, stage by stage and level by level.

    Args:
        picture: What the network saw, in any resolution; one more than 36 times as long as wide is drawn wider.
        inside: What ``look_inside`` recorded while it ran.
        predictions: Class names with probabilities, most probable first.
        focus: Stage and block whose modulator counts in the large map; None takes the last block of the last stage
            but one, see :func:`focalnets.visualize.maps.default_focus`.
        gates_of: Stage and block whose gates are drawn; None takes ``focus``.
        relevance: The large map; None takes what was recorded, see :func:`focalnets.visualize.maps.focus_map`.
        title: First line, e.g. the file's name.
        notes: Second line in small letters.
        index: Which image of the batch.
        style: How maps are shown.
        answer: The picture with the network's answer drawn in, which takes its place.

    Returns:
        A figure with an axes for each panel and colour bar; see :func:`save_figure`.
    """
    focus = inside.last_blocks()[-2:][0] if focus is None else focus
    gates_of = focus if gates_of is None else gates_of
    ground = seen_well(picture if picture.mode == "RGB" else picture.convert("RGB"), _MOST_DETAIL_PX)
    pair = style == "side-by-side"
    page = Page(aspect=ground.width / ground.height * (2 if pair else 1), title=title, notes=notes)

    relevance = recorded_relevance(inside, focus) if relevance is None else relevance
    heat = relevance.heat[index]
    seen = Panel(
        styled(ground, heat, style, limits=(0.0, max(robust_limits(heat)[1], 1e-30))),
        "Where it looks",
        scale=(HEAT_MAP, (0.0, 1.0)),
    )
    first = Panel(np.asarray(ground), "The picture") if answer is None else _answer_panel(answer, ground)
    page.add_large([seen] if pair and answer is None else [first, seen], predictions)

    page.add_row(
        "How strongly the surroundings speak, stage by stage",
        "Length of the modulator of the last block of each stage, at each place: bright where the network lets context "
        f"change what it sees most. The large map above: {relevance.label}. {UNSHOWN[relevance.name]}",
        stage_panels(ground, inside, index=index, style=style),
    )
    levels, scale = gate_panels(ground, inside, gates_of, index=index, style=style)
    page.add_row(
        f"Which surroundings each place listens to: the gates of block {_block_label(gates_of)}",
        "Orange adds context of that width [px of the network's input], purple subtracts it, pale leaves it out.",
        levels,
        shared_scale=scale,
    )
    return page.figure()


def _answer_panel(answer: Image.Image, ground: Image.Image) -> Panel:
    """Bring an answer, which may have a key below it, to the proportions of the picture."""
    width = max(answer.width, round(answer.height * ground.width / ground.height))
    page = Image.new("RGB", (width, max(answer.height, round(width * ground.height / ground.width))), "white")
    page.paste(answer, ((page.width - answer.width) // 2, 0))
    return Panel(np.asarray(seen_well(page, _MOST_DETAIL_PX)), "What it says")


def stage_panels(
    picture: Image.Image | np.ndarray, inside: Inside, *, index: int = 0, style: Style = "overlay"
) -> list[Panel]:
    """Draw the length of the modulator of the last block of each stage over a picture, each on its own scale."""
    panels = []
    for stage, block in inside.last_blocks():
        values = modulator_map(inside, (stage, block), measure="norm")[index]
        label = f"Block {_block_label((stage, block))}, every {inside[stage, block].grid.stride_px} px"
        panels.append(Panel(styled(picture, values, style), label, scale=(HEAT_MAP, robust_limits(values))))
    return panels


def gate_panels(
    picture: Image.Image | np.ndarray, inside: Inside, block: BlockId, *, index: int = 0, style: Style = "overlay"
) -> tuple[list[Panel], Scale]:
    """Draw the gates of every focal level of a block over a picture; returns them with their common scale."""
    gates = gate_maps(inside, block)[index]
    reach = max(float(np.percentile(np.abs(gates), 99)), 1e-6)
    widths = inside[block].context_widths_px
    panels = [
        Panel(
            styled(picture, level, style, limits=(-reach, reach), colours=SIGNED_MAP, strength=0.75),
            level_name(number, len(gates), widths),
        )
        for number, level in enumerate(gates)
    ]
    return panels, (SIGNED_MAP, (-reach, reach))


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure in the format of the file's name, complete or not at all; returns the file.

    Raises:
        ConfigError: If it does not end in .png, .pdf or .svg.
    """
    from matplotlib import rc_context

    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FIGURE_FORMATS:
        raise ConfigError(f"expected a figure's name to end in .{', .'.join(FIGURE_FORMATS)}, got '{path}'.")
    # TrueType in PDF and text in SVG: journals refuse Type 3 fonts, and letters stay searchable. No dates: the same
    # figure gives the same file.
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    stream = io.BytesIO()  # Drawn in memory: where a file fails, Matplotlib raises anything while it closes it.
    with (
        rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "focalnets"}),
        fitting_fonts(figure),
    ):
        figure.savefig(stream, format=kind, facecolor=figure.get_facecolor(), metadata=undated)
    with replacing(path) as temporary:
        temporary.write_bytes(stream.getvalue())
    return path


def level_name(number: int, levels: int, widths_px: Sequence[int]) -> str:
    """Name a focal level for figures; there are ``levels`` of them with the global one."""
    return "Global: everything" if number == levels - 1 else f"Level {number + 1}: {widths_px[number]} px wide"


def _block_label(block: BlockId) -> str:
    return f"{block[0]}.{block[1]}"


def _colour(values: np.ndarray, limits: tuple[float, float], colours: str) -> np.ndarray:
    """Turn values into colours (..., 3) uint8, looked up in the map's 256 colours, for videos have many pixels."""
    from matplotlib import colormaps

    low, high = limits
    table = (colormaps[colours](np.linspace(0.0, 1.0, 256))[:, :3] * 255.0 + 0.5).astype(np.uint8)
    return table[((values - low) * (255.0 / (high - low)) + 0.5).clip(0.0, 255.0).astype(np.uint8)]


def _resize_map(heat: np.ndarray, width: int, height: int) -> np.ndarray:
    if heat.shape == (height, width):
        return heat
    return np.asarray(Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def _grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    grown = mask
    for _ in range(pixels):
        padded = np.pad(grown, 1)
        grown = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return grown
