"""Reports as one HTML file that loads nothing: the frame of the page, and pictures as part of it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from focalnets.report.style import STYLE

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["jpeg_address", "page", "png_address"]


def page(title: str, sections: Iterable[str]) -> str:
    """A whole document.

    Args:
        title: Plain text.
        sections: Markup, in which everything from outside is escaped already.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>\n{STYLE}\n</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def jpeg_address(picture: Image.Image, quality: int = 88) -> str:
    """A picture as a data address."""
    stream = io.BytesIO()
    picture.save(stream, format="jpeg", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def png_address(path: str | Path) -> str:
    """A PNG file as a data address."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")
