"""A line of text below a picture."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from focalnets.report.colours import SHEET

__all__ = ["with_caption"]


def with_caption(picture: Image.Image, text: str) -> Image.Image:
    """Put a line of text below a picture, in a size that fits its width; letters without a glyph become boxes.

    Args:
        picture: In mode RGB, of any size.
        text: One line.
    """
    # On large pictures letters grow along, so that they can be read when the picture is shown small.
    size = max(9, min(28, picture.width // 12), picture.width // 22)
    font = ImageFont.load_default(size)
    margin = max(2, size // 3)
    while size > 9 and font.getlength(text) > picture.width - 2 * margin:
        size -= 1
        font = ImageFont.load_default(size)
    page = Image.new("RGB", (picture.width, picture.height + size + 3 * margin), SHEET.paper)
    page.paste(picture, (0, 0))
    ImageDraw.Draw(page).text((margin, picture.height + margin), text, fill=SHEET.ink, font=font)
    return page
