"""Class maps painted from objects, for data that know objects only.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from focalnets.data.annotated.images import IGNORED, AnnotatedImage, AnnotatedImages, draw_object
from focalnets.data.annotated.objects import AnnotatedObject, Category

__all__ = ["BACKGROUND", "painted"]

BACKGROUND = "background"
"""Name of the class of pixels on which there is no object."""


def painted(images: AnnotatedImages) -> AnnotatedImages:
    """Give each pixel the class of the smallest object on it, or that of the background, which is added in front.

    Regions of crowds, and objects of which only the box is known, are ignored where no other object lies on them.
    """
    categories = list(images.categories)
    background = next((n for n, each in enumerate(categories) if each.name.casefold() == BACKGROUND), None)
    if background is None:
        categories = [Category(None, BACKGROUND, thing=False), *categories]
        images = images.relabelled(categories, range(1, len(categories)))
        background = 0
    return dataclasses.replace(images, read=_Painter(images.read, background), maps=True)


@dataclasses.dataclass(frozen=True, eq=False)
class _Painter:
    """Reads images and paints their objects into maps."""

    read: Callable[[int], AnnotatedImage]
    background: int

    def __call__(self, index: int) -> AnnotatedImage:
        found = self.read(index)
        return dataclasses.replace(found, semantic_data=_Painting(found.objects, found.size, self.background))


@dataclasses.dataclass(frozen=True, eq=False)
class _Painting:
    """The map of some objects; one mask is in memory at a time."""

    objects: Sequence[AnnotatedObject]
    size: tuple[int, int]
    background: int

    def decode(self) -> np.ndarray:
        """Paint it: labels (H, W) uint8."""
        labels = np.full(self.size[::-1], self.background, dtype=np.uint8)
        mask = np.empty(labels.shape, dtype=bool)
        for thing in sorted(self.objects, key=_rank):
            mask[:] = False
            draw_object(thing, mask)
            labels[mask] = IGNORED if _unsure(thing) else thing.label
        return labels


def _unsure(thing: AnnotatedObject) -> bool:
    return thing.crowd or thing.mask_data is None or thing.label < 0


def _rank(thing: AnnotatedObject) -> tuple[bool, float]:
    """Sort what is unsure first, then large ones before small ones, by their boxes."""
    left, top, right, bottom = thing.box_xyxy
    return not _unsure(thing), -(right - left) * (bottom - top)
