"""Results of a large image as files: class maps as tiled TIFF with smaller copies inside, objects and areas as
GeoJSON.

Coordinates are pixels of the image, x to the right and y down from its upper left corner, as viewers of slides read
them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.errors import MissingPackageError
from focalnets.files import replacing, write_json
from focalnets.large.labels import ClassMap
from focalnets.large.merging import WindowObject
from focalnets.large.outlines import count_edges, outline_classes, outline_mask
from focalnets.report.overlay import class_numbers, colours_by_number

__all__ = ["require_tifffile", "write_class_geojson", "write_class_tiff", "write_geojson"]

_TILE_PX = 512
_SMALLEST_COPY_PX = 1024

_MOST_EDGES = 2_000_000
"""Horizontal edges of areas up to which outlines follow every pixel; each takes some hundred bytes of memory."""


def require_tifffile() -> Any:
    """Import tifffile.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        import tifffile
    except ImportError:
        raise MissingPackageError(
            "a class map of a large image is written by tifffile; install it with pip install 'focalnets[large]'."
        ) from None
    return tifffile


def write_class_tiff(path: Path, classes: ClassMap, class_ids: Sequence[int] | None = None) -> None:
    """Write a class map as a tiled TIFF compressed by deflate.

    Viewers show the colours of the classes; where numbers are larger than 255 it is grey.

    Args:
        path: The file.
        classes: The map.
        class_ids: Number that each class is written with; None counts from 0.
    """
    numbers = class_numbers(class_ids, classes.classes)
    tifffile = require_tifffile()
    levels = max(0, math.ceil(math.log2(max(classes.height, classes.width) / _SMALLEST_COPY_PX)))
    options: dict[str, Any] = {"tile": (_TILE_PX, _TILE_PX), "compression": "zlib", "dtype": numbers.dtype}
    if numbers.dtype == np.uint8:
        colours = colours_by_number(numbers).astype(np.uint16)
        palette = np.zeros((3, 256), np.uint16)
        palette[:, : len(colours)] = colours.T * 257
        options |= {"photometric": "palette", "colormap": palette}
    else:
        options["photometric"] = "minisblack"
    large = classes.labels.size * numbers.itemsize > 2**31
    with replacing(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=large) as writer:
        for level in range(levels + 1):
            step = 2**level
            shape = (math.ceil(classes.height / step), math.ceil(classes.width / step))
            place = {"subifds": levels} if level == 0 and levels else {"subfiletype": 1} if level else {}
            writer.write(_tiles(classes.labels, numbers, step, shape), shape=shape, **options, **place)


def _tiles(labels: np.ndarray, numbers: np.ndarray, step: int, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    for top in range(0, shape[0], _TILE_PX):
        for left in range(0, shape[1], _TILE_PX):
            rows = slice(top * step, (top + _TILE_PX) * step, step)
            part = numbers[labels[rows, left * step : (left + _TILE_PX) * step : step]]
            yield np.pad(part, ((0, _TILE_PX - part.shape[0]), (0, _TILE_PX - part.shape[1])))


def write_class_geojson(path: Path, classes: ClassMap, class_names: Sequence[str]) -> None:
    """Write the areas of each class as polygons with holes.

    Where there are too many, every second, fourth, ... pixel is outlined; ``step_px`` in the file says which.

    Args:
        path: The file.
        classes: The map.
        class_names: What its numbers stand for.
    """
    step = 1
    while count_edges(classes.labels[::step, ::step]) > _MOST_EDGES and step < min(classes.height, classes.width):
        step *= 2
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", "step_px": {step}, "features": [')
        for number, area in enumerate(outline_classes(classes.labels[::step, ::step])):
            rings = [
                [(min(x * step, classes.width), min(y * step, classes.height)) for x, y in ring] for ring in area.rings
            ]
            feature = {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": rings},
                "properties": {"class": class_names[area.label], "pixels": area.pixels * step * step},
            }
            file.write((",\n" if number else "\n") + json.dumps(feature))
        file.write("\n]}\n")


def write_geojson(path: Path, objects: Sequence[WindowObject], class_names: Sequence[str]) -> None:
    """Write objects as polygons with their class and score."""
    features = [
        {
            "type": "Feature",
            "geometry": _geometry(each),
            "properties": {"class": class_names[each.label], "score": round(each.score, 4), "box": list(each.box)},
        }
        for each in objects
    ]
    write_json(path, {"type": "FeatureCollection", "features": features})


def _geometry(each: WindowObject) -> dict[str, Any]:
    if each.mask is not None:
        polygons = outline_mask(each.mask.pixels, each.mask.left, each.mask.top)
        if len(polygons) == 1:
            return {"type": "Polygon", "coordinates": polygons[0]}
        if polygons:
            return {"type": "MultiPolygon", "coordinates": polygons}
    left, top, right, bottom = each.box
    ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return {"type": "Polygon", "coordinates": [ring]}
