"""A picture of some annotated photos: boxes with their classes, masks and classes of pixels in colour.

Axes: H W height and width [px].
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from focalnets.data.annotated.images import IGNORED, AnnotatedImage, AnnotatedImages
from focalnets.data.annotated.objects import Category

__all__ = ["draw_annotations", "sample_sheet"]

Colour = tuple[int, int, int]

_TILE_PX = 360
_COLUMNS = 4
_GAP_PX = 8
_OPACITY = 0.45
_CROWD: Colour = (128, 128, 128)


def sample_sheet(images: AnnotatedImages, most: int = 12) -> Image.Image:
    """Draw some images, evenly spread over the data, in rows.

    Args:
        images: Annotated images, at least one.
        most: How many at most.

    Raises:
        ImageError: If a photo cannot be read.
        DataError: If annotations are not as expected.
    """
    chosen = images.limited(most)
    tiles = [draw_annotations(chosen[number], images.categories, _TILE_PX) for number in range(len(chosen))]
    columns = min(_COLUMNS, len(tiles))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    width = columns * (_TILE_PX + _GAP_PX) + _GAP_PX
    sheet = Image.new("RGB", (width, sum(heights) + (len(rows) + 1) * _GAP_PX), "white")
    top = _GAP_PX
    for row, height in zip(rows, heights, strict=True):
        for place, tile in enumerate(row):
            sheet.paste(tile, (_GAP_PX + place * (_TILE_PX + _GAP_PX), top))
        top += height + _GAP_PX
    return sheet


def draw_annotations(
    annotated: AnnotatedImage, categories: Sequence[Category], side_px: int | None = None
) -> Image.Image:
    """Draw what is known of a photo on it.

    Args:
        annotated: The photo and its annotations.
        categories: In the order of their labels.
        side_px: Longer side of the result [px]; None keeps the photo's.
    """
    photo = annotated.image
    scale = 1.0 if side_px is None else side_px / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    pixels = np.asarray(photo.resize(size)).astype(np.float32)
    rows = ((np.arange(size[1]) + 0.5) * photo.height / size[1]).astype(int)[:, None]
    columns = ((np.arange(size[0]) + 0.5) * photo.width / size[0]).astype(int)[None]
    if annotated.semantic is not None:
        colours = np.array([_colour(label) for label in range(len(categories))] + [_CROWD], dtype=np.float32)
        labels = annotated.semantic[rows, columns]
        pixels += (colours[np.where(labels == IGNORED, len(categories), labels)] - pixels) * _OPACITY
    for thing in annotated.objects:
        mask = thing.mask
        if mask is not None and annotated.semantic is None:
            inside = mask[rows, columns]
            pixels[inside] += (np.array(_colour_of(thing.label, crowd=thing.crowd)) - pixels[inside]) * _OPACITY
    picture = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
    drawing = ImageDraw.Draw(picture)
    for thing in annotated.objects:
        left, top, right, bottom = (value * scale for value in thing.box_xyxy)
        if right < left or bottom < top:
            continue
        colour = _colour_of(thing.label, crowd=thing.crowd)
        drawing.rectangle((left, top, right, bottom), outline=colour, width=2)
        words = thing.category.name[:40].encode("latin-1", "replace").decode("latin-1")
        words += " (ignored)" if thing.crowd else ""
        place = (left + 2, max(0.0, top - 12) if top >= 12 else top + 1)
        drawing.rectangle(drawing.textbbox(place, words), fill=(0, 0, 0))
        drawing.text(place, words, fill=colour)
    return picture


def _colour_of(label: int, *, crowd: bool) -> Colour:
    return _CROWD if crowd or label < 0 else _colour(label)


def _colour(label: int) -> Colour:
    """Colours of which neighbours differ much."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1.0, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
