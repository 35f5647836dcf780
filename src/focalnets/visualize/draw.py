"""Draws what happens inside a network over the picture, in maps that colour-blind people can read.

Figures are made without pyplot, so that nothing global changes and no window opens. Axes: H W height and width [px].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from focalnets.files import replacing
from focalnets.visualize.layout import Page, Panel
from focalnets.visualize.maps import focus_map, gate_maps, modulator_map
from focalnets.visualize.recording import BlockId, Inside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_outline", "explain_figure", "mark_point", "overlay", "robust_limits", "save_figure"]

HEAT_COLOURS = "inferno"
GATE_COLOURS = "PuOr_r"
_MOST_DETAIL_PX = 2000


def robust_limits(values: np.ndarray, *, percent: float = 1.0) -> tuple[float, float]:
    """Ends of a colour scale: what remains after leaving out ``percent`` of the values at each end."""
    low, high = np.percentile(values, (percent, 100.0 - percent))
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-12):
        return float(low) - 0.5, float(low) + 0.5
    return float(low), float(high)


def overlay(
    picture: Image.Image | np.ndarray,
    heat: np.ndarray,
    *,
    limits: tuple[float, float] | None = None,
    colours: str = HEAT_COLOURS,
    strength: float = 0.62,
) -> np.ndarray:
    """Lay a map over a picture, so that both the map's colours and the picture's structure are seen.

    Args:
        picture: RGB picture, (H, W, 3) uint8 or a PIL image; it is drawn in grey.
        heat: Map of any size (h, w); stretched to the picture.
        limits: Values that get the first and the last colour; None takes :func:`robust_limits`.
        colours: Name of a matplotlib colour map.
        strength: Share of the map in the mixture, 0 to 1.

    Returns:
        (H, W, 3) uint8.
    """
    from matplotlib import colormaps

    grey = np.asarray(Image.fromarray(np.asarray(picture)).convert("L"), dtype=np.float32)[..., None] / 255.0
    low, high = robust_limits(heat) if limits is None else limits
    stretched = _resize_map(heat, grey.shape[1], grey.shape[0])
    unit = np.clip((stretched - low) / (high - low), 0.0, 1.0)
    colour = colormaps[colours](unit)[..., :3].astype(np.float32)
    mixture = strength * colour + (1.0 - strength) * grey
    return (mixture * 255.0 + 0.5).clip(0, 255).astype(np.uint8)


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
    title: str = "",
    notes: str = "",
    index: int = 0,
) -> Figure:
    """One page on one picture: what the network says, where it looks, stage by stage and level by level.

    Args:
        picture: What the network saw, in any resolution.
        inside: What ``look_inside`` recorded while it ran.
        predictions: Class names with probabilities, most probable first.
        focus: Stage and block whose modulator counts in the large map; None takes the last block of the last stage
            but one, see :func:`focalnets.visualize.maps.default_focus`.
        gates_of: Stage and block whose gates are drawn; None takes ``focus``.
        title: First line, e.g. the file's name.
        notes: Second line in small letters.
        index: Which image of the batch.

    Returns:
        A figure with an axes for each panel and colour bar; see :func:`save_figure`.
    """
    focus = inside.last_blocks()[-2:][0] if focus is None else focus
    gates_of = focus if gates_of is None else gates_of
    ground = _limited(picture)
    page = Page(aspect=ground.width / ground.height, title=title, notes=notes)

    heat = focus_map(inside, focus)[index]
    large = [
        Panel(np.asarray(ground), "The picture"),
        Panel(
            overlay(ground, heat, limits=(0.0, max(robust_limits(heat)[1], 1e-30))),
            f"Where it looks: modulator of block {_name(focus)} × evidence",
            scale=(HEAT_COLOURS, (0.0, 1.0)),
        ),
    ]
    page.add_large(large, predictions)

    stages = []
    for stage, block in inside.last_blocks():
        values = modulator_map(inside, (stage, block), measure="norm")[index]
        label = f"Block {_name((stage, block))}, every {inside[stage, block].grid.stride_px} px"
        stages.append(Panel(overlay(ground, values), label, scale=(HEAT_COLOURS, robust_limits(values))))
    page.add_row(
        "How strongly the surroundings speak, stage by stage",
        "Length of the modulator of the last block of each stage, at each place: bright where the network lets context "
        "change what it sees most.",
        stages,
    )

    gates = gate_maps(inside, gates_of)[index]
    reach = max(float(np.percentile(np.abs(gates), 99)), 1e-6)
    widths = inside[gates_of].context_widths_px
    levels = [
        Panel(
            overlay(ground, level, limits=(-reach, reach), colours=GATE_COLOURS, strength=0.75),
            _level_name(number, len(gates), widths),
        )
        for number, level in enumerate(gates)
    ]
    page.add_row(
        f"Which surroundings each place listens to: the gates of block {_name(gates_of)}",
        "Orange adds context of that width [px of the network's input], purple subtracts it, pale leaves it out.",
        levels,
        shared_scale=(GATE_COLOURS, (-reach, reach)),
    )
    return page.figure()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, complete or not at all; returns the file."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", facecolor=figure.get_facecolor())
    return Path(path)


def _name(block: BlockId) -> str:
    return f"{block[0]}.{block[1]}"


def _level_name(number: int, levels: int, widths_px: Sequence[int]) -> str:
    return "Global: everything" if number == levels - 1 else f"Level {number + 1}: {widths_px[number]} px wide"


def _limited(picture: Image.Image) -> Image.Image:
    shrink = min(1.0, _MOST_DETAIL_PX / max(picture.size))
    if shrink == 1.0:
        return picture.convert("RGB")
    size = (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


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
