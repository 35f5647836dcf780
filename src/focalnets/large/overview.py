"""A page that shows a large image and what was found in it, to be moved and enlarged in a browser.

It loads nothing but the small pictures beside it, of a copy of the image that is reduced to a few thousand pixels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from focalnets.files import replacing, write_text
from focalnets.large.labels import ClassMap
from focalnets.large.merging import WindowObject
from focalnets.large.sources import Source
from focalnets.report.overlay import indexed_picture
from focalnets.report.templating import render_template

__all__ = ["write_overview"]

_TILE_PX = 512
_LONGEST_PX = 4096
_MOST_OBJECTS = 5000
_QUALITY = 85


def write_overview(
    path: Path,
    source: Source,
    class_names: Sequence[str],
    colours: np.ndarray,
    *,
    classes: ClassMap | None = None,
    objects: Sequence[WindowObject] = (),
    caption: str = "",
) -> None:
    """Write the page, and its pictures into a folder beside it that is called like it.

    Args:
        path: The page, ``overview.html``.
        source: The image.
        class_names: What numbers of classes stand for.
        colours: Of the classes, (K, 3) uint8.
        classes: The class of each pixel; None shows none.
        objects: What was found; the surest five thousand are shown.
        caption: A sentence about how it was made.
    """
    folder = path.with_suffix("")
    picture = source.thumbnail(_LONGEST_PX)
    levels = _write_tiles(folder / "image", picture, ".jpg", Image.Resampling.BOX)
    layers = [{"name": "image", "folder": f"{folder.name}/image", "ending": ".jpg"}]
    shares: list[str] = [""] * len(class_names)
    if classes is not None:
        rows = np.minimum((np.arange(picture.height) + 0.5) * classes.height / picture.height, classes.height - 1)
        columns = np.minimum((np.arange(picture.width) + 0.5) * classes.width / picture.width, classes.width - 1)
        reduced = np.stack([classes.labels[row][columns.astype(int)] for row in rows.astype(int)])
        tint = Image.fromarray(colours[reduced]) if len(colours) > 256 else indexed_picture(reduced, colours)
        _write_tiles(folder / "classes", tint, ".png", Image.Resampling.NEAREST)
        layers.append({"name": "classes", "folder": f"{folder.name}/classes", "ending": ".png"})
        total = classes.height * classes.width
        shares = [f"{count / total:.1%}" for count in classes.pixels]
    elif objects:
        counts = np.bincount([each.label for each in objects], minlength=len(class_names))
        shares = [f"{count:,}" for count in counts.tolist()]
    hexadecimal = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours.tolist()]
    data = {
        "tile": _TILE_PX,
        "levels": levels,
        "layers": layers,
        "scale": picture.width / source.width,
        "objects": [
            {"box": [round(corner, 1) for corner in each.box], "colour": hexadecimal[each.label]}
            for each in objects[:_MOST_OBJECTS]
        ],
    }
    key = [entry for entry in zip(class_names, hexadecimal, shares, strict=False) if entry[2] not in ("0", "0.0%")]
    page = render_template(
        "large/overview.html",
        title=Path(source.name).name,
        caption=caption,
        has_classes=classes is not None,
        objects=bool(objects),
        key=key,
        data=Markup(json.dumps(data).replace("<", "\\u003c")),
    )
    write_text(path, str(page))


def _write_tiles(folder: Path, picture: Image.Image, ending: str, resampling: Image.Resampling) -> list[dict[str, int]]:
    """Cut a picture and smaller copies of it into tiles ``LEVEL/ROW_COLUMN``; returns the sizes, smallest last."""
    count = max(0, math.ceil(math.log2(max(picture.size) / _TILE_PX)))
    sizes = []
    for level in range(count + 1):
        if level:
            half = (max(1, picture.width // 2), max(1, picture.height // 2))
            picture = picture.resize(half, resampling)
        sizes.append({"width": picture.width, "height": picture.height})
        for row in range(math.ceil(picture.height / _TILE_PX)):
            for column in range(math.ceil(picture.width / _TILE_PX)):
                left, top = column * _TILE_PX, row * _TILE_PX
                box = (left, top, min(picture.width, left + _TILE_PX), min(picture.height, top + _TILE_PX))
                _save(picture.crop(box), folder / str(level) / f"{row}_{column}{ending}")
    return sizes


def _save(tile: Image.Image, path: Path) -> None:
    save: Callable[..., Any] = tile.save
    with replacing(path) as temporary:
        if path.suffix == ".jpg":
            save(temporary, "JPEG", quality=_QUALITY)
        else:
            save(temporary, "PNG")
