"""Boxes, masks and names drawn on photos.

Axes: H W height and width of the photo [px].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from focalnets.report.fonts import Line
from focalnets.report.overlay import class_colours
from focalnets.tasks.detect.results import Box, DetectedObject

__all__ = ["cut_around", "draw_box", "draw_objects"]

_TINT = 0.45


def draw_objects(
    picture: Image.Image, objects: Sequence[DetectedObject], classes: int, *, names: bool = True
) -> Image.Image:
    """Draw objects in the colours of their classes, the surest on top.

    Args:
        picture: In any mode.
        objects: The surest first.
        classes: How many the network knows.
        names: Whether their classes and scores are written.
    """
    colours = class_colours(classes)
    drawn = _tinted(picture.convert("RGB"), [thing for thing in objects[::-1] if thing.mask_data is not None], colours)
    for thing in objects[::-1]:
        text = f"{thing.class_name} {thing.score:.0%}" if names else ""
        draw_box(drawn, thing.box, tuple(colours[thing.class_index].tolist()), text)
    return drawn


def _tinted(picture: Image.Image, objects: Sequence[DetectedObject], colours: np.ndarray) -> Image.Image:
    if not objects:
        return picture
    pixels = np.asarray(picture, dtype=np.float32).copy()
    for thing in objects:
        mask = thing.mask
        assert mask is not None
        pixels[mask] += _TINT * (colours[thing.class_index] - pixels[mask])
    return Image.fromarray((pixels + 0.5).clip(0, 255).astype(np.uint8))


def draw_box(picture: Image.Image, box: Box, colour: tuple[int, ...], text: str = "", *, dashed: bool = False) -> None:
    """Draw a box onto a picture, with a text on a ground of its colour where there is room."""
    draw = ImageDraw.Draw(picture)
    line = max(1, round(min(picture.size) / 250))
    left, top, right, bottom = (round(corner) for corner in box)
    right, bottom = max(right - 1, left), max(bottom - 1, top)
    if dashed:
        _draw_dashes(draw, (left, top, right, bottom), colour, line)
    else:
        draw.rectangle((left, top, right, bottom), outline=colour, width=line)
    if not text:
        return
    size = max(9, round(min(picture.size) / 32))
    words, height = Line(text, size), round(1.25 * size)
    x = max(0, min(left, picture.width - round(words.width_px) - 2))
    y = top - height - 2 if top >= height + 2 else top
    draw.rectangle((x, y, x + words.width_px + 2, y + height + 2), fill=colour)
    dark = sum(share * part for share, part in zip((0.3, 0.59, 0.11), colour, strict=True)) > 140
    words.draw(picture, x + 1, y + size, (0, 0, 0) if dark else (255, 255, 255))


def _draw_dashes(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour: tuple[int, ...], line: int) -> None:
    left, top, right, bottom = box
    step = 6 * line
    for x in range(left, right, step):
        for y in (top, bottom):
            draw.line((x, y, min(x + step // 2, right), y), fill=colour, width=line)
    for y in range(top, bottom, step):
        for x in (left, right):
            draw.line((x, y, x, min(y + step // 2, bottom)), fill=colour, width=line)


def cut_around(picture: Image.Image, box: Box, *, least_px: int = 96) -> tuple[Image.Image, Box]:
    """Cut out a box with as much again around it; returns the cut and the box in its pixels."""
    left, top, right, bottom = box
    side = max(least_px, 2 * (right - left), 2 * (bottom - top))
    middle = (left + right) / 2, (top + bottom) / 2
    first = [max(0, round(at - side / 2)) for at in middle]
    last = [min(whole, round(at + side / 2)) for at, whole in zip(middle, picture.size, strict=True)]
    last = [max(end, start + 1) for start, end in zip(first, last, strict=True)]
    cut = picture.convert("RGB").crop((first[0], first[1], last[0], last[1]))
    return cut, (left - first[0], top - first[1], right - first[0], bottom - first[1])
