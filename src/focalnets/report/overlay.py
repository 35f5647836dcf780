"""Classes and objects drawn over pictures: colours that stay with a class, maps laid over photos, keys below them.

Axes: H W height and width [px], K classes.
"""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from focalnets.report.colours import CLASS_COLOURS, SHEET
from focalnets.report.fonts import Line

__all__ = ["class_colours", "indexed_picture", "laid_over", "with_key"]

_GOLDEN = 0.61803398875
_MOST_IN_KEY = 12


@functools.lru_cache(maxsize=32)
def class_colours(count: int) -> np.ndarray:
    """One colour for each class, (count, 3) uint8; a class keeps its colour however many there are."""
    colours = [tuple(int(text[place : place + 2], 16) for place in (1, 3, 5)) for text in CLASS_COLOURS[:count]]
    for number in range(len(colours), count):
        brightness, strength = ((1.0, 0.55), (0.75, 0.9), (0.5, 0.7))[number % 3]
        red, green, blue = colorsys.hsv_to_rgb((number * _GOLDEN) % 1.0, strength, brightness)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    table = np.array(colours, dtype=np.uint8).reshape(-1, 3)
    table.setflags(write=False)
    return table


def laid_over(
    picture: Image.Image, labels: np.ndarray, colours: np.ndarray, *, strength: float = 0.55, ignored: int | None = None
) -> Image.Image:
    """Tint a picture by the class of each pixel, with a darker line where two classes meet.

    Args:
        picture: In mode RGB, W x H.
        labels: Class of each pixel, whole numbers (H, W).
        colours: One for each class, (K, 3) uint8.
        strength: Of the tint, from 0 to 1.
        ignored: Label of pixels that stay as they are.
    """
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    known = np.ones(labels.shape, dtype=bool) if ignored is None else labels != ignored
    tint = colours[np.where(known, labels, 0)].astype(np.float32)
    edge = np.zeros(labels.shape, dtype=bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    weight = np.where(known, strength, 0.0)[..., None].astype(np.float32)
    mixed = pixels * (1 - weight) + tint * weight
    mixed[edge] *= 0.4
    return Image.fromarray((mixed + 0.5).clip(0, 255).astype(np.uint8))


def class_numbers(class_ids: Sequence[int] | None, count: int) -> np.ndarray:
    """List the number that each of ``count`` classes is written with (K,), uint8 or where that is too little uint16.

    Args:
        class_ids: Numbers from 0 to 65,535; None counts from 0.
        count: K.
    """
    numbers = list(range(count)) if class_ids is None else list(class_ids)
    return np.array(numbers, np.uint8 if max(numbers, default=0) <= 255 else np.uint16)


def colours_by_number(numbers: np.ndarray) -> np.ndarray:
    """Make a palette (P, 3) uint8 in which each class stands at its number, and black where there is none.

    Args:
        numbers: Of the classes, (K,) uint8.
    """
    palette = np.zeros((int(numbers.max(initial=0)) + 1, 3), np.uint8)
    palette[numbers] = class_colours(len(numbers))
    return palette


def indexed_picture(labels: np.ndarray, colours: np.ndarray) -> Image.Image:
    """Make a picture with a palette whose indices are the labels (H, W), in mode P; at most 256 classes."""
    assert len(colours) <= 256, "a palette has 256 places"
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(np.vstack([colours, np.zeros((256 - len(colours), 3), np.uint8)]).ravel().tolist())
    return picture


def with_key(picture: Image.Image, entries: Sequence[tuple[str, Sequence[int]]]) -> Image.Image:
    """Put a key below a picture: a square of each colour and what it stands for, in as many rows as it takes.

    Args:
        picture: In mode RGB.
        entries: Texts with their colours, of which the first twelve are shown.
    """
    size = max(9, min(28, picture.width // 16), min(picture.width // 36, picture.height // 4))
    gap, row_height = max(2, size // 2), size + max(4, size // 2)
    places: list[tuple[int, int, Line, Sequence[int]]] = []
    x, row = gap, 0
    for text, colour in entries[:_MOST_IN_KEY]:
        words = Line(text, size)
        width = size + gap // 2 + round(words.width_px) + gap
        if x > gap and x + width > picture.width:
            x, row = gap, row + 1
        places.append((x, row, words, colour))
        x += width
    page = Image.new("RGB", (picture.width, picture.height + (row + 1) * row_height + gap), SHEET.paper)
    page.paste(picture, (0, 0))
    draw = ImageDraw.Draw(page)
    for x, row, words, colour in places:
        top = picture.height + gap + row * row_height
        draw.rectangle((x, top, x + size - 1, top + size - 1), fill=tuple(map(int, colour)), outline=SHEET.muted)
        words.draw(page, x + size + gap // 2, top + size - 1, SHEET.ink)
    return page
