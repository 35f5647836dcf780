"""Simple properties of a picture, which tell nothing of what it shows, and should not tell its class.

Axes: H W height and width [px].
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnets.data.images import decode_image, image_header
from focalnets.data.samples import ImageFile, ImageFolder
from focalnets.errors import ImageError

__all__ = ["NUMBERS", "WORDS", "Properties", "measure_picture", "perceptual_hash", "read_and_measure"]

_SIDE_PX, _HASH_SIDE = 64, 8
_MODEL = 272
"""Tag of EXIF that names the camera."""

NUMBERS = {
    "pixels": "size",
    "aspect": "aspect",
    "brightness": "brightness",
    "contrast": "contrast",
    "saturation": "strength of colours",
    "warmth": "red against blue",
    "sharpness": "sharpness",
    "border": "evenness of the border",
    "bytes_per_pixel": "bytes per pixel",
}
"""Properties that are numbers, in words."""

WORDS = {"format": "file format", "folder": "source folder", "camera": "camera"}
"""Properties that are words, in words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Properties:
    """What a picture is like.

    Attributes:
        pixels: Width times height [px].
        aspect: Width over height.
        brightness, contrast: Mean and standard deviation of grey, from 0 to 1.
        saturation: Mean difference of the strongest and the weakest colour, from 0 to 1.
        warmth: Mean red minus blue, from -1 to 1.
        sharpness: Mean absolute second difference of grey at 64 x 64 px.
        border: Standard deviation of grey along the border; near 0 on plain ground.
        bytes_per_pixel: Size of the file over ``pixels``.
        format: Of the file, e.g. JPEG.
        folder: Name of the folder that the file is in; empty in shards.
        camera: From EXIF; empty where it does not say.
        looks: See :func:`perceptual_hash`.
    """

    pixels: float
    aspect: float
    brightness: float
    contrast: float
    saturation: float
    warmth: float
    sharpness: float
    border: float
    bytes_per_pixel: float
    format: str
    folder: str
    camera: str
    looks: int


def measure_picture(picture: Image.Image, file: ImageFile, content: bytes) -> Properties:
    """Measure a picture that was decoded from the content of a file, upright in mode RGB and perhaps coarsely."""
    width, height, kind, camera = _read_header(content, f"'{file}'", picture)
    small = np.asarray(picture.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX), dtype=np.float32) / 255
    grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
    edge = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    second = grey[1:-1, 1:-1] * 4 - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return Properties(
        pixels=float(width * height),
        aspect=width / height,
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        saturation=float((small.max(-1) - small.min(-1)).mean()),
        warmth=float((small[..., 0] - small[..., 2]).mean()),
        sharpness=float(np.abs(second).mean()),
        border=float(edge.std()),
        bytes_per_pixel=len(content) / (width * height),
        format=kind,
        folder=file.parent.name if isinstance(file, Path) else "",
        camera=camera,
        looks=perceptual_hash(picture),
    )


def read_and_measure(data: Any, index: int) -> tuple[Image.Image, int, Properties]:
    """Read the picture of a number with its class, and measure it; files of folders are read once for both.

    Args:
        data: Labelled images with ``samples``.
        index: Which.

    Raises:
        ImageError: If it cannot be read.
    """
    file, label = data.samples[index]
    content: bytes | None = None
    with contextlib.suppress(OSError):  # Whoever opens the image says what is wrong.
        content = file.read_bytes()
    if content is not None and isinstance(data, ImageFolder) and data.transform is None:
        picture = decode_image(
            content, name=f"'{file}'", max_pixels=data.max_pixels, smallest_side_px=data.smallest_side_px
        )
    else:
        picture, label = data[index]
    return picture, label, measure_picture(picture, file, content or b"")


def perceptual_hash(image: Image.Image) -> int:
    """64 bits: whether each of 8 x 8 cells is brighter than the one to its right.

    Pictures that look the same differ in few of them; plain ones without structure have almost none set.
    """
    grey = image.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX)
    # Steps of a few grey values come from compression.
    cells = np.asarray(grey).astype(np.int16)
    bits = (cells[:, :-1] - cells[:, 1:] > 3).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _read_header(content: bytes, name: str, picture: Image.Image) -> tuple[int, int, str, str]:
    """Read width, height, format and camera; of a picture as it was decoded where the header cannot be read."""
    with contextlib.suppress(ImageError), image_header(io.BytesIO(content), name) as header:
        camera = ""
        # Damaged EXIF raises errors of many kinds.
        with contextlib.suppress(Exception):
            camera = str(header.getexif().get(_MODEL, "")).strip("\0 ")
        width, height = header.size
        if (width > height) != (picture.width > picture.height):
            width, height = height, width
        return width, height, str(header.format), camera
    return picture.width, picture.height, "", ""
