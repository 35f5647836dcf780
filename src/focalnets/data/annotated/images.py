"""A photo with what is known of the objects in it, and reading both the same way up.

Axes: N objects, H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from focalnets.data.annotated.objects import AnnotatedObject, Category, filled_box
from focalnets.data.images import exif_orientation, image_header, open_image_file, read_image
from focalnets.errors import DataError

__all__ = ["AnnotatedImage", "AnnotatedImages", "read_photo"]

_MOST_BYTES = 4_000_000_000
"""Most that the masks of one image may take together."""


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """A photo and the objects in it.

    Attributes:
        name: The file's name, for people.
        image: Upright, in mode RGB, W x H.
        objects: N objects, in the order of the data; none where the image shows none.
        union: Where any of the objects is, booleans (H, W), where the data tell it at once; None draws it from them.
    """

    name: str
    image: Image.Image
    objects: Sequence[AnnotatedObject] = ()
    union: np.ndarray | None = None

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """Where any of the objects is, booleans (H, W); a box is filled where an object has no mask."""
        if self.union is not None:
            return self.union
        union = np.zeros((self.image.height, self.image.width), dtype=bool)
        for thing in self.objects:
            self._draw(thing, union)
        return union

    @property
    def boxes(self) -> tv_tensors.BoundingBoxes:
        """The boxes as left, top, right, bottom [px], (N, 4) float32."""
        boxes = torch.tensor([thing.box_xyxy for thing in self.objects], dtype=torch.float32).reshape(-1, 4)
        size = (self.image.height, self.image.width)
        return tv_tensors.BoundingBoxes(boxes, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=size)

    @property
    def masks(self) -> tv_tensors.Mask:
        """Where each object is, (N, H, W) bool, drawn anew each time; a box is filled where an object has no mask.

        Raises:
            DataError: If they would take more than 4 GB.
        """
        shape = (len(self.objects), self.image.height, self.image.width)
        size = math.prod(shape)
        if size > _MOST_BYTES:
            raise DataError(
                f"The masks of the {shape[0]} objects in '{self.name}' take {size / 1e9:.1f} GB at {shape[2]} x "
                f"{shape[1]} pixels, more than the limit of {_MOST_BYTES / 1e9:.0f} GB; make the image smaller or cut "
                "it into pieces."
            )
        masks = np.zeros(shape, dtype=bool)
        for thing, mask in zip(self.objects, masks, strict=True):
            self._draw(thing, mask)
        return tv_tensors.Mask(torch.from_numpy(masks))

    @property
    def has_mask(self) -> Tensor:
        """Whether more than the box is known of each object, (N,) bool."""
        return torch.tensor([thing.mask_data is not None for thing in self.objects], dtype=torch.bool)

    @property
    def labels(self) -> Tensor:
        """Place of each object's category in ``AnnotatedImages.categories``, (N,) int64; -1 for none of them."""
        return torch.tensor([thing.label for thing in self.objects], dtype=torch.int64)

    @property
    def crowd(self) -> Tensor:
        """Whether each is a region of many objects, or one to ignore, and no single object, (N,) bool."""
        return torch.tensor([thing.crowd for thing in self.objects], dtype=torch.bool)

    def sample(self, *, masks: bool = True) -> dict[str, Any]:
        """Give image and objects as ``torchvision.transforms.v2`` moves them together.

        Args:
            masks: Whether masks come along.

        Returns:
            ``image`` in mode RGB, ``boxes``, ``labels``, ``crowd`` and, where asked for, ``masks`` and ``has_mask``.
        """
        sample = {"image": self.image, "boxes": self.boxes, "labels": self.labels, "crowd": self.crowd}
        return {**sample, "masks": self.masks, "has_mask": self.has_mask} if masks else sample

    def _draw(self, thing: AnnotatedObject, onto: np.ndarray) -> None:
        mask = thing.mask
        if mask is not None:
            onto |= mask
        else:
            onto[filled_box(thing.box_xyxy, *onto.shape)] = True


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AnnotatedImages(Sequence):
    """Annotated images, each read when it is asked for.

    Attributes:
        data: Where they come from, in words.
        objects: What counts as the object, in words.
        names: One for each image.
        read: Reads the image of a number; raises :class:`focalnets.errors.ImageError` or
            :class:`focalnets.errors.DataError` where that fails.
        categories: What objects can be, in the order of their labels; empty where that is not known beforehand.
    """

    data: str
    objects: str
    names: Sequence[str]
    read: Callable[[int], AnnotatedImage]
    categories: Sequence[Category] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> AnnotatedImage:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.read(index)

    def limited(self, most: int | None) -> AnnotatedImages:
        """Take at most so many of them, evenly spread over the whole; None takes all."""
        if most is None or most >= len(self):
            return self
        chosen = [position * len(self) // most for position in range(most)]
        names = [self.names[number] for number in chosen]
        return dataclasses.replace(self, names=names, read=_Chosen(self.read, chosen))


@dataclasses.dataclass(frozen=True, eq=False)
class _Chosen:
    """Reads some of the images."""

    read: Callable[[int], AnnotatedImage]
    chosen: Sequence[int]

    def __call__(self, index: int) -> AnnotatedImage:
        return self.read(self.chosen[index])


def read_photo(path: Path) -> tuple[Image.Image, int]:
    """Read a photo upright in mode RGB, and the EXIF orientation by which it was turned.

    Raises:
        ImageError: If it cannot be read.
    """
    with open_image_file(path) as file:
        orientation = exif_orientation(image_header(file, f"'{path}'"))
    return read_image(path), orientation
