"""Pictures from which something is taken away, as a network sees them.

Axes: S side of the picture [px].
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

from focalnets.models.config import Preprocessing

__all__ = ["Treatment", "blank_pictures", "mean_colour", "treatments"]

_TILES = 4
_NOISE = 0.2


@dataclasses.dataclass(frozen=True)
class Treatment:
    """One change of a picture.

    Attributes:
        key: A short stable name.
        label: In words.
        alter: Changes a picture of a number; None leaves it.
        scale: Of the input's size.
    """

    key: str
    label: str
    alter: Callable[[Image.Image, int], Image.Image] | None = None
    scale: float = 1.0


def treatments(spec: Preprocessing) -> tuple[Treatment, ...]:
    """List all changes, for a network whose inputs are prepared so; what is removed gets its mean colour."""
    colour = mean_colour(spec)
    return (
        Treatment("grey", "grey", _grey),
        Treatment("shuffled", f"{_TILES} x {_TILES} tiles shuffled", _shuffle),
        Treatment("centre", "centre only (half the area)", functools.partial(_keep, colour=colour, centre=True)),
        Treatment("surroundings", "centre removed", functools.partial(_keep, colour=colour, centre=False)),
        Treatment("noise", "noise added", _add_noise),
        Treatment("mirrored", "mirrored", _mirror),
        Treatment("smaller", "seen at half the size", scale=0.5),
        Treatment("larger", "seen at one and a half times the size", scale=1.5),
    )


def blank_pictures(spec: Preprocessing) -> dict[str, Image.Image]:
    """Make pictures that show nothing, by what they are."""
    side = spec.input_size_px
    plain = {"black": (0, 0, 0), "white": (255, 255, 255), "mean colour": mean_colour(spec)}
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return {
        **{name: Image.new("RGB", (side, side), colour) for name, colour in plain.items()},
        "noise": Image.fromarray(noise),
    }


def mean_colour(spec: Preprocessing) -> tuple[int, int, int]:
    """Return the colour that normalisation turns into zeros, red, green and blue from 0 to 255."""
    red, green, blue = (round(255 * value) for value in (spec.mean if len(spec.mean) == 3 else spec.mean * 3))
    return red, green, blue


def _grey(picture: Image.Image, index: int) -> Image.Image:
    return ImageOps.grayscale(picture).convert("RGB")


def _mirror(picture: Image.Image, index: int) -> Image.Image:
    return ImageOps.mirror(picture)


def _shuffle(picture: Image.Image, index: int) -> Image.Image:
    """Cut a picture into tiles and put each where another was; pixels that are over at the edges stay."""
    width, height = picture.width // _TILES, picture.height // _TILES
    boxes = [
        (column * width, row * height, (column + 1) * width, (row + 1) * height)
        for row in range(_TILES)
        for column in range(_TILES)
    ]
    shuffled = picture.copy()
    for box, other in zip(boxes, np.random.default_rng([index, 1]).permutation(len(boxes)), strict=True):
        shuffled.paste(picture.crop(boxes[other]), box[:2])
    return shuffled


def _keep(picture: Image.Image, index: int, *, colour: tuple[int, int, int], centre: bool) -> Image.Image:
    """Keep the centre, which has half the area, or what surrounds it."""
    width, height = round(picture.width / 2**0.5), round(picture.height / 2**0.5)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    box = (left, top, left + width, top + height)
    if not centre:
        kept = picture.copy()
        kept.paste(colour, box)
        return kept
    kept = Image.new("RGB", picture.size, colour)
    kept.paste(picture.crop(box), box[:2])
    return kept


def _add_noise(picture: Image.Image, index: int) -> Image.Image:
    pixels = np.asarray(picture, dtype=np.float32) / 255
    noisy = pixels + np.random.default_rng([index, 2]).normal(0, _NOISE, pixels.shape)
    return Image.fromarray((255 * noisy.clip(0, 1)).round().astype(np.uint8))
