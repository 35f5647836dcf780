"""A photo with what is known of it: the objects in it, and the class of each of its pixels.

Axes: N objects, H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from focalnets.data.annotated.objects import AnnotatedObject, Category, filled_box
from focalnets.data.images import image_size, read_image, upright_size
from focalnets.errors import DataError

__all__ = ["IGNORED", "AnnotatedImage", "AnnotatedImages", "DenseTask", "LazyMap", "Photo", "find_photo"]

DenseTask = Literal["detect", "instance", "semantic", "panoptic"]
"""What annotations of objects and pixels can train."""

IGNORED = 255
"""Stands in class maps for pixels of which nothing is said; they count nowhere."""

_MOST_BYTES = 4_000_000_000
"""Most that the masks of one image may take together."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """An image file whose pixels are read when they are needed.

    Attributes:
        path: The file.
        size: Width and height of the upright photo [px].
        orientation: By which EXIF orientation its pixels are turned upright.
    """

    path: Path
    size: tuple[int, int]
    orientation: int

    def read(self) -> Image.Image:
        """Read it upright in mode RGB.

        Raises:
            ImageError: If that fails.
        """
        return read_image(self.path)


def find_photo(path: Path) -> Photo:
    """Read the header of an image file.

    Raises:
        ImageError: If it is missing or no image.
    """
    size, orientation = upright_size(path)
    return Photo(path, size, orientation)


class LazyMap(Protocol):
    """A map of numbers that is made when asked for."""

    def decode(self) -> np.ndarray:
        """Make it: whole numbers (H, W)."""


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """A photo and what is known of it. Its pixels, masks and maps are read when they are first asked for.

    Attributes:
        name: The file's name, for people.
        picture: Upright, in mode RGB, W x H, or what reads it so.
        objects: N objects, in the order of the data; none where the image shows none.
        union: Where any of the objects is, booleans (H, W), where the data tell it at once; None draws it from them.
        semantic_data: The class of each pixel, or what makes it; None where it is not known.
    """

    name: str
    picture: Image.Image | Photo
    objects: Sequence[AnnotatedObject] = ()
    union: np.ndarray | None = None
    semantic_data: np.ndarray | LazyMap | None = None

    @functools.cached_property
    def image(self) -> Image.Image:
        """The photo, upright, in mode RGB."""
        return self.picture.read() if isinstance(self.picture, Photo) else self.picture

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright photo [px]."""
        return self.picture.size

    @functools.cached_property
    def semantic(self) -> np.ndarray | None:
        """Label of the class of each pixel, (H, W) int64 with :data:`IGNORED`; None where it is not known."""
        if self.semantic_data is None:
            return None
        numbers = self.semantic_data if isinstance(self.semantic_data, np.ndarray) else self.semantic_data.decode()
        return numbers.astype(np.int64, copy=False)

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """Where any of the objects is, booleans (H, W); a box is filled where an object has no mask."""
        if self.union is not None:
            return self.union
        union = np.zeros(self.size[::-1], dtype=bool)
        for thing in self.objects:
            draw_object(thing, union)
        return union

    @property
    def boxes(self) -> tv_tensors.BoundingBoxes:
        """The boxes as left, top, right, bottom [px], (N, 4) float32."""
        boxes = torch.tensor([thing.box_xyxy for thing in self.objects], dtype=torch.float32).reshape(-1, 4)
        return tv_tensors.BoundingBoxes(
            boxes, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=(self.size[1], self.size[0])
        )

    @property
    def masks(self) -> tv_tensors.Mask:
        """Where each object is, (N, H, W) bool, drawn anew each time; a box is filled where an object has no mask.

        Raises:
            DataError: If they would take more than 4 GB.
        """
        shape = (len(self.objects), self.size[1], self.size[0])
        size = math.prod(shape)
        if size > _MOST_BYTES:
            raise DataError(
                f"The masks of the {shape[0]} objects in '{self.name}' take {size / 1e9:.1f} GB at {shape[2]} x "
                f"{shape[1]} pixels, more than the limit of {_MOST_BYTES / 1e9:.0f} GB; make the image smaller or cut "
                "it into pieces."
            )
        masks = np.zeros(shape, dtype=bool)
        for thing, mask in zip(self.objects, masks, strict=True):
            draw_object(thing, mask)
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


def draw_object(thing: AnnotatedObject, onto: np.ndarray) -> None:
    """Set the pixels of an object in booleans (H, W); its box is filled where it has no mask."""
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
        objects: What counts as the object, in words; empty where nothing is known of the images.
        names: One for each image.
        read: Reads the annotations of a number, and the photo when it is needed; raises
            :class:`focalnets.errors.ImageError` or :class:`focalnets.errors.DataError` where that fails.
        categories: What objects and pixels can be, in the order of their labels; empty where that is not known
            beforehand.
        kinds: What they can train.
        files: File of each photo; none for generated images.
        sources: Files with the annotations.
        counts: Number of objects of each image, where that is known without reading them.
        maps: Whether the class of each pixel is known.
    """

    data: str
    objects: str
    names: Sequence[str]
    read: Callable[[int], AnnotatedImage]
    categories: Sequence[Category] = ()
    kinds: frozenset[DenseTask] = frozenset()
    files: Sequence[Path] = ()
    sources: Sequence[Path] = ()
    counts: Sequence[int] | None = None
    maps: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> AnnotatedImage:  # type: ignore[override]
        found = self.annotation(index)
        found.image  # noqa: B018 - decoded here, where it is read ahead and where errors are expected
        return found

    def annotation(self, index: int) -> AnnotatedImage:
        """Read the annotations of an image, whose pixels are decoded only when they are asked for."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.read(index)

    def size_of(self, index: int) -> tuple[int, int]:
        """Width and height of an upright photo [px], without decoding it."""
        return image_size(self.files[index]) if self.files else self.annotation(index).size

    def limited(self, most: int | None) -> AnnotatedImages:
        """Take at most so many of them, evenly spread over the whole; None takes all."""
        if most is None or most >= len(self):
            return self
        return self.subset([position * len(self) // most for position in range(most)])

    def subset(self, numbers: Sequence[int]) -> AnnotatedImages:
        """Take the images of these numbers, in that order."""
        return dataclasses.replace(
            self,
            names=[self.names[number] for number in numbers],
            read=_Chosen(self.read, numbers),
            files=[self.files[number] for number in numbers] if self.files else (),
            counts=None if self.counts is None else [self.counts[number] for number in numbers],
        )

    def relabelled(self, categories: Sequence[Category], labels: Sequence[int]) -> AnnotatedImages:
        """Count the classes otherwise.

        Args:
            categories: The new ones, in the order of their labels.
            labels: New label of each category as it is now. Of -1, objects are left out and pixels ignored.
        """
        if list(labels) == list(range(len(self.categories))) and list(categories) == list(self.categories):
            return self
        return dataclasses.replace(self, categories=categories, read=_Relabelled(self.read, categories, labels))


@dataclasses.dataclass(frozen=True, eq=False)
class _Chosen:
    """Reads some of the images."""

    read: Callable[[int], AnnotatedImage]
    chosen: Sequence[int]

    def __call__(self, index: int) -> AnnotatedImage:
        return self.read(self.chosen[index])


@dataclasses.dataclass(frozen=True, eq=False)
class _Relabelled:
    """Reads images and changes the labels."""

    read: Callable[[int], AnnotatedImage]
    categories: Sequence[Category]
    labels: Sequence[int]

    def __call__(self, index: int) -> AnnotatedImage:
        found = self.read(index)
        objects = []
        for thing in found.objects:
            label = self.labels[thing.label] if 0 <= thing.label < len(self.labels) else thing.label
            if label >= 0:
                objects.append(dataclasses.replace(thing, label=label, category=self.categories[label]))
            elif thing.label < 0:
                objects.append(thing)
        data = found.semantic_data
        return dataclasses.replace(
            found, objects=objects, semantic_data=None if data is None else _RelabelledMap(data, self.labels)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _RelabelledMap:
    """A class map with other labels."""

    numbers: np.ndarray | LazyMap
    labels: Sequence[int]

    def decode(self) -> np.ndarray:
        """Make it: labels (H, W) uint8."""
        table = np.full(IGNORED + 1, IGNORED, dtype=np.uint8)
        table[: len(self.labels)] = [IGNORED if label < 0 else label for label in self.labels]
        return table[self.numbers if isinstance(self.numbers, np.ndarray) else self.numbers.decode()]
