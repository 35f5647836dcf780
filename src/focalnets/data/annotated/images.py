"""A photo with what is known of the objects in it, and reading both the same way up.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from focalnets.data.images import exif_orientation, image_header, open_image_file, read_image, turned_upright
from focalnets.errors import DataError

__all__ = ["AnnotatedImage", "AnnotatedImages"]


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """A photo and where the object is in it.

    Attributes:
        name: The file's name, for people.
        image: Upright, in mode RGB, W x H.
        mask: Booleans (H, W), True on the object; all False where the object is missing.
    """

    name: str
    image: Image.Image
    mask: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AnnotatedImages(Sequence):
    """Annotated images, each read when it is asked for.

    Attributes:
        data: Where they come from, in words.
        objects: What counts as the object, in words.
        names: One for each image.
        read: Reads the image of a number; raises :class:`focalnets.errors.ImageError` or
            :class:`focalnets.errors.DataError` where that fails.
    """

    data: str
    objects: str
    names: Sequence[str]
    read: Callable[[int], AnnotatedImage]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> AnnotatedImage:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.read(index)

    def limited(self, most: int | None) -> AnnotatedImages:
        """At most so many of them, evenly spread over the whole; None takes all."""
        if most is None or most >= len(self):
            return self
        chosen = [position * len(self) // most for position in range(most)]
        read = self.read
        return dataclasses.replace(
            self, names=[self.names[number] for number in chosen], read=lambda index: read(chosen[index])
        )


def read_photo(path: Path) -> tuple[Image.Image, int]:
    """A photo upright in mode RGB, and the EXIF orientation by which it was turned.

    Raises:
        ImageError: If it cannot be read.
    """
    with open_image_file(path) as file:
        orientation = exif_orientation(image_header(file, f"'{path}'"))
    return read_image(path), orientation


def fitted_mask(mask: np.ndarray, photo: Image.Image, orientation: int, *, names: tuple[str, str]) -> np.ndarray:
    """A mask as it lies on the upright photo.

    A mask of the upright photo's size is taken as drawn on the upright photo. One of the size that the photo has in its
    file, before it was turned, is turned in the same way.

    Args:
        mask: (h, w), of any kind.
        photo: The upright photo.
        orientation: How it was turned, see :func:`read_photo`.
        names: What errors call the mask and the photo.

    Raises:
        DataError: If it is of neither size.
    """
    height, width = mask.shape
    if (width, height) == photo.size:
        return mask
    if orientation >= 5 and (height, width) == photo.size:
        return np.asarray(turned_upright(Image.fromarray(mask), orientation))
    raise DataError(
        f"{names[0]} has {width} x {height} pixels but {names[1]} {photo.width} x {photo.height}; expected the same."
    )
