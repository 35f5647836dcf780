"""A line of text below a picture."""

from __future__ import annotations

import math

from PIL import Image

from focalnets.report.colours import SHEET
from focalnets.report.fonts import Line
from focalnets.report.pictures import fit_within

__all__ = ["with_caption"]

_LONGEST_PX = 8192
"""Longer side beyond which a picture is made smaller, so that the canvas is bounded whatever its proportions [px]."""

_SMALLEST_LETTERS_PX, _WIDENED_PX = 9, 320


def with_caption(picture: Image.Image, text: str) -> Image.Image:
    """Put a line of text below a picture, in a size that fits its width.

    Pictures too narrow for the text get paper beside them, up to 320 px.

    Args:
        picture: In mode RGB, of any size; drawn with at most 8,192 px along its longer side.
        text: One line.
    """
    picture = fit_within(picture, _LONGEST_PX)
    # On large pictures letters grow along, so that they can be read when the picture is shown small.
    size = max(_SMALLEST_LETTERS_PX, min(28, picture.width // 12), min(picture.width // 22, picture.height // 4))
    line, margin = Line(text, size), max(2, size // 3)
    if line.width_px + 2 * margin > picture.width:
        size = max(_SMALLEST_LETTERS_PX, int(size * picture.width / (line.width_px + 2 * margin)))
        line, margin = Line(text, size), max(2, size // 3)
    width = max(picture.width, min(_WIDENED_PX, math.ceil(line.width_px) + 2 * margin))
    page = Image.new("RGB", (width, picture.height + size + 3 * margin), SHEET.paper)
    page.paste(picture, (0, 0))
    line.draw(page, margin, picture.height + margin + size, SHEET.ink)
    return page
