"""The things in generated scenes, drawn from a few coloured polygons each.

Shapes live in their own coordinates: x to the right, y down, about -1 to 1. Each is a function of three colours and a
random generator that varies its proportions, and returns patches in drawing order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["FLOATING", "GROUNDED", "TARGETS", "Colour", "Patch", "Shape", "mix", "render"]

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 255."""

Patch = tuple[np.ndarray, Colour | None]
"""Corners (N, 2) of a polygon and its colour; None cuts a hole into what was drawn before."""

Shape = Callable[[Sequence[Colour], np.random.Generator], list[Patch]]

_SUPERSAMPLING = 4
_INK: Colour = (52, 44, 58)
_CREAM: Colour = (250, 240, 216)
_WOOD: Colour = (122, 84, 58)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``first`` with ``share`` (0 to 1) of ``second``."""
    return tuple(a + (b - a) * share for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def render(
    patches: Sequence[Patch], size_px: float, *, rotation: float = 0.0, mirror: bool = False, haze: tuple[Colour, float]
) -> np.ndarray:
    """Draw patches with antialiasing.

    Args:
        patches: The shape.
        size_px: Longer side of its bounding box after rotation [px].
        rotation: Clockwise [radians].
        mirror: Swap left and right before rotating.
        haze: A colour and how much of it (0 to 1) lies over the shape, for distance.

    Returns:
        Premultiplied colours and opacity (h, w, 4), float32, colours 0 to 255 and opacity 0 to 1, cut to the shape with
        a rim of at most one pixel.
    """
    cosine, sine = math.cos(rotation), math.sin(rotation)
    matrix = np.array([[cosine, sine], [-sine, cosine]])
    if mirror:
        matrix = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ matrix
    turned = [points @ matrix for points, _ in patches]
    corners = np.concatenate(turned)
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = size_px * _SUPERSAMPLING / (high - low).max()
    width, height = (math.ceil(side * scale / _SUPERSAMPLING) for side in high - low)
    canvas = Image.new("RGBA", (max(width, 1) * _SUPERSAMPLING, max(height, 1) * _SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    for points, (_, colour) in zip(turned, patches, strict=True):
        fill = (0, 0, 0, 0)
        if colour is not None:
            fill = (*(round(value) for value in mix(colour, *haze)), 255)  # type: ignore[assignment]
        draw.polygon([tuple(point) for point in ((points - low) * scale).tolist()], fill=fill)
    pixels = np.asarray(canvas.convert("RGBa").reduce(_SUPERSAMPLING), dtype=np.float32)
    return pixels * np.array([1, 1, 1, 1 / 255], dtype=np.float32)


def _polygon(*corners: tuple[float, float]) -> np.ndarray:
    return np.array(corners, dtype=float)


def _ellipse(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 1.0) -> np.ndarray:
    """Ellipse or the part of it between two shares of a turn, clockwise from the right."""
    angle = 2 * math.pi * np.linspace(start, end, 25)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _line(start: tuple[float, float], end: tuple[float, float], width: float) -> np.ndarray:
    along = np.subtract(end, start)
    aside = np.array([-along[1], along[0]]) / math.hypot(*along) * width / 2
    return np.array([start + aside, end + aside, end - aside, start - aside])


def _mirrored(points: np.ndarray) -> np.ndarray:
    return points * [-1, 1]


def _balloon(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    main, second, trim = colours
    width = rng.uniform(0.68, 0.8)
    crown = _ellipse(0, -0.3, width, 0.7, 0.5, 1.0)
    mouth = _polygon((width * 0.98, -0.18), (width * 0.8, 0.12), (0.2, 0.56), (-0.2, 0.56), (-width * 0.8, 0.12))
    envelope = np.concatenate([crown, mouth])
    return [
        (_line((-0.16, 0.5), (-0.12, 0.86), 0.05), _INK),
        (_line((0.16, 0.5), (0.12, 0.86), 0.05), _INK),
        (envelope, main),
        (envelope * [0.64, 1], second),
        (envelope * [0.26, 1], main),
        (_polygon((-0.2, 0.48), (0.2, 0.48), (0.17, 0.58), (-0.17, 0.58)), trim),
        (_polygon((-0.19, 0.78), (0.19, 0.78), (0.15, 1.04), (-0.15, 1.04)), _WOOD),
    ]


def _kite(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    main, second, trim = colours
    half, waist = rng.uniform(0.56, 0.68), rng.uniform(-0.4, -0.25)
    top, right, bottom, left, middle = (0.0, -1.0), (half, waist), (0.0, 0.5), (-half, waist), (0.0, waist)
    bend = rng.uniform(0.12, 0.25)
    knots = [(0.0, 0.5), (bend, 0.78), (-bend * 0.4, 1.04), (bend * 0.9, 1.32)]
    patches: list[Patch] = [(_line(a, b, 0.06), _INK) for a, b in itertools.pairwise(knots)]
    for x, y in knots[1:]:
        bow = _polygon((x - 0.17, y - 0.1), (x + 0.17, y + 0.1), (x + 0.17, y - 0.1), (x - 0.17, y + 0.1))
        patches.append((bow, trim))
    quarters = ((top, right, main), (right, bottom, second), (bottom, left, main), (left, top, second))
    return patches + [(_polygon(a, b, middle), colour) for a, b, colour in quarters]


def _aeroplane(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    main, second, trim = colours
    sweep = rng.uniform(0.3, 0.5)
    wing = _polygon((0.3, 0.0), (0.3 - sweep, 0.98), (0.02 - sweep, 0.98), (-0.16, 0.0))
    tail = _polygon((-0.66, 0.0), (-0.86, 0.4), (-1.02, 0.4), (-0.95, 0.0))
    return [
        (wing, second),
        (wing * [1, -1], mix(second, _INK, 0.25)),
        (tail, second),
        (tail * [1, -1], mix(second, _INK, 0.25)),
        (_ellipse(0, 0, 1.04, 0.17), main),
        (_ellipse(0.62, 0, 0.2, 0.1), trim),
    ]


def _rocket(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    main, second, trim = colours
    half = rng.uniform(0.27, 0.34)
    fin = _polygon((half * 0.8, 0.1), (half + 0.36, 0.5), (half + 0.34, 0.82), (half * 0.6, 0.55))
    nose = _polygon((0, -1), (half * 0.55, -0.72), (half * 0.86, -0.45), (-half * 0.86, -0.45), (-half * 0.55, -0.72))
    body = _polygon((half * 0.86, -0.46), (half, -0.1), (half * 0.95, 0.35), (half * 0.7, 0.62))
    return [
        (_polygon((-0.2, 0.6), (0.2, 0.6), (0.0, 1.12)), (244, 142, 60)),
        (_polygon((-0.1, 0.6), (0.1, 0.6), (0.0, 0.9)), (255, 226, 120)),
        (fin, second),
        (_mirrored(fin), second),
        (np.concatenate([body, _mirrored(body)[::-1]]), main),
        (nose, second),
        (_ellipse(0, -0.12, 0.17, 0.17), trim),
        (_ellipse(0, -0.12, 0.1, 0.1), _CREAM),
    ]


def _airship(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    main, second, trim = colours
    height = rng.uniform(0.32, 0.4)
    fin = _polygon((-0.6, -0.1), (-1.0, -height - 0.16), (-1.14, -height - 0.12), (-1.0, 0.0))
    return [
        (fin, trim),
        (fin * [1, -1], trim),
        (_polygon((-0.26, height - 0.05), (0.26, height - 0.05), (0.18, height + 0.2), (-0.18, height + 0.2)), _WOOD),
        (_ellipse(0, 0, 1.06, height), main),
        (_ellipse(0, 0, 1.06, height * 0.4), second),
        (_polygon((-0.7, -0.04), (-1.12, -0.1), (-1.12, 0.1), (-0.7, 0.04)), trim),
    ]


def _butterfly(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    main, second, trim = colours
    spread = rng.uniform(0.92, 1.06)
    upper = _polygon((0.02, 0.05), (0.2, -0.5), (0.62, -0.86), (0.98, -0.74), (0.94, -0.3), (0.6, 0.08)) * [spread, 1]
    lower = _polygon((0.02, 0.0), (0.58, 0.06), (0.74, 0.34), (0.6, 0.72), (0.34, 0.8), (0.14, 0.5)) * [spread, 1]
    patches: list[Patch] = []
    for side in (1, -1):
        patches.append((lower * [side, 1], second))
        patches.append((upper * [side, 1], main))
        patches.append((_ellipse(0.68 * side * spread, -0.5, 0.14, 0.14), trim))
        patches.append((_line((0, -0.4), (0.26 * side, -0.95), 0.06), _INK))
    return [*patches, (_ellipse(0, 0.02, 0.1, 0.55), _INK)]


def _umbrella(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    main, second, _ = colours
    height = rng.uniform(0.72, 0.85)
    dome = _ellipse(0, 0, 1, height, 0.5, 1.0)
    hook = np.concatenate([_ellipse(-0.17, 0.86, 0.23, 0.24, 0.0, 0.5), _ellipse(-0.17, 0.86, 0.09, 0.1, 0.5, 0.0)])
    patches: list[Patch] = [
        (_line((0, -height - 0.16), (0, 0.88), 0.12), _INK),
        (hook, _INK),
        (dome, main),
        (dome * [0.66, 1], second),
        (dome * [0.24, 1], main),
    ]
    # Scallops: bites out of the lower rim, then the stick again where they cut it.
    for x, half in ((-0.83, 0.17), (-0.45, 0.21), (0.45, 0.21), (0.83, 0.17), (0.0, 0.24)):
        patches.append((_ellipse(x, 0.02, half, 0.16), None))
    return [*patches, (_line((0, -0.2), (0, 0.5), 0.12), _INK)]


def _pinwheel(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    main, second, trim = colours
    patches: list[Patch] = [(_line((0, 0), (0, 1.5), 0.13), _WOOD)]
    turn = rng.uniform(0, math.pi / 2)
    for quarter in range(4):
        angle = turn + quarter * math.pi / 2
        matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        patches.append((_polygon((0, 0), (0, -0.98), (0.62, -0.6)) @ matrix, main))
        patches.append((_polygon((0, 0), (0.62, -0.6), (0.3, -0.12)) @ matrix, second))
    return [*patches, (_ellipse(0, 0, 0.16, 0.16), trim)]


TARGETS: dict[str, tuple[Shape, float]] = {
    "aeroplane": (_aeroplane, 0.9),
    "airship": (_airship, 0.25),
    "balloon": (_balloon, 0.15),
    "butterfly": (_butterfly, 0.6),
    "kite": (_kite, 0.6),
    "pinwheel": (_pinwheel, 0.5),
    "rocket": (_rocket, 0.8),
    "umbrella": (_umbrella, 0.45),
}
"""What a scene can be named after: the shape and how far it tilts to either side at most [radians]."""


def _leaf(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    width = rng.uniform(0.35, 0.5)
    x = np.linspace(-1, 1, 13)
    half = width * np.cos(x * math.pi / 2) ** 0.8
    blade = np.concatenate([np.stack([x, half], 1), np.stack([x, -half], 1)[::-1]])
    return [(blade, colours[0]), (_line((-1.2, 0), (0.7, 0), 0.09), colours[1])]


def _ball(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    band = rng.uniform(0.2, 0.4)
    return [(_ellipse(0, 0, 1, 1), colours[0]), (_ellipse(0, 0, 1, band), colours[1])]


def _star(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    angle = np.arange(10) * math.pi / 5
    radius = np.where(np.arange(10) % 2, rng.uniform(0.4, 0.5), 1.0)
    outline = np.stack([np.sin(angle) * radius, -np.cos(angle) * radius], axis=1)
    return [(outline, colours[0]), (outline * 0.5, colours[1])]


def _ring(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    hole = rng.uniform(0.45, 0.6)
    return [
        (_ellipse(0, 0, 1, 1), colours[0]),
        (_ellipse(0, 0, (1 + hole) / 2, (1 + hole) / 2), colours[1]),
        (_ellipse(0, 0, hole, hole), None),
    ]


def _sheet(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    lean, height = rng.uniform(-0.3, 0.3), rng.uniform(0.55, 0.8)
    corners = _polygon((-1, -height), (1, -height + lean), (1, height + lean), (-1, height))
    return [(corners, colours[0]), (corners * [0.3, 1.0], colours[1])]


FLOATING: dict[str, tuple[Shape, float]] = {
    "ball": (_ball, math.pi),
    "leaf": (_leaf, math.pi),
    "ring": (_ring, 0.0),
    "sheet": (_sheet, 0.7),
    "star": (_star, math.pi),
}
"""Colourful things in the air that are no class: the shape and how far it tilts to either side at most [radians]."""


def _fir(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    leaves, light, trunk = colours
    half = rng.uniform(0.34, 0.5)
    patches: list[Patch] = [(_line((0, 0.6), (0, 1), 0.14), trunk)]
    for top, bottom, share in ((-0.1, 0.8, 1.0), (-0.55, 0.35, 0.78), (-1.0, -0.1, 0.55)):
        patches.append((_polygon((0, top), (half * share, bottom), (-half * share, bottom)), leaves))
        patches.append((_polygon((0, top), (-half * share, bottom), (-half * share * 0.25, bottom)), light))
    return patches


def _leafy_tree(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    leaves, light, trunk = colours
    width, height = rng.uniform(0.5, 0.66), rng.uniform(0.5, 0.68)
    return [
        (_polygon((-0.08, 0), (0.08, 0), (0.12, 1), (-0.12, 1)), trunk),
        (_ellipse(-width * 0.5, -0.08, width * 0.62, height * 0.6), leaves),
        (_ellipse(width * 0.5, -0.08, width * 0.62, height * 0.6), leaves),
        (_ellipse(0, -0.4, width * 0.8, height * 0.85), leaves),
        (_ellipse(-width * 0.24, -0.52, width * 0.42, height * 0.48), light),
    ]


def _poplar(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    leaves, light, trunk = colours
    half = rng.uniform(0.2, 0.28)
    return [
        (_line((0, 0.5), (0, 1), 0.12), trunk),
        (_ellipse(0, -0.12, half, 0.88), leaves),
        (_ellipse(-half * 0.3, -0.2, half * 0.45, 0.62), light),
    ]


def _bush(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    leaves, light, _ = colours
    left, right = rng.uniform(0.3, 0.45, 2)
    return [
        (_ellipse(-0.55, 0.1, 0.45, left, 0.5, 1.0), leaves),
        (_ellipse(0.55, 0.1, 0.45, right, 0.5, 1.0), leaves),
        (_ellipse(0, 0.1, 0.55, 0.6, 0.5, 1.0), leaves),
        (_ellipse(-0.12, -0.1, 0.26, 0.2), light),
    ]


def _rock(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    x = np.array([-1.0, -0.75, -0.25, 0.35, 0.8, 1.0])
    y = np.array([0.4, -0.1, -0.5, -0.4, 0.0, 0.4]) + rng.uniform(-0.1, 0.1, 6) * [0, 1, 1, 1, 1, 0]
    outline = np.stack([x, y], axis=1)
    return [(outline, colours[2]), (outline[[0, 1, 2, 3]] * [1, 0.96], mix(colours[2], _CREAM, 0.3))]


def _house(colours: Sequence[Colour], rng: np.random.Generator) -> list[Patch]:
    width = rng.uniform(0.75, 0.95)
    roof = mix((176, 82, 62), colours[2], 0.35)
    return [
        (_polygon((-width, 0), (width, 0), (width, 0.8), (-width, 0.8)), mix(_CREAM, colours[1], 0.15)),
        (_polygon((-width - 0.15, 0), (-width * 0.6, -0.6), (width * 0.6, -0.6), (width + 0.15, 0)), roof),
        (_polygon((-0.14, 0.3), (0.14, 0.3), (0.14, 0.8), (-0.14, 0.8)), _WOOD),
        (_polygon((0.34, 0.22), (0.6, 0.22), (0.6, 0.48), (0.34, 0.48)), (255, 214, 128)),
        (_polygon((-0.6, 0.22), (-0.34, 0.22), (-0.34, 0.48), (-0.6, 0.48)), (255, 214, 128)),
    ]


GROUNDED: dict[str, tuple[tuple[Shape, ...], float]] = {
    "bush": ((_bush,), 0.5),
    "house": ((_house,), 0.75),
    "rock": ((_rock,), 0.45),
    "tree": ((_fir, _leafy_tree, _poplar), 1.0),
}
"""Things that stand on hills: their shapes and their size relative to a tree."""
