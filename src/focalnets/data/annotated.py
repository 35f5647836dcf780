"""Images of which is known where the object is: one door to generated scenes, folders of masks and COCO files.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from focalnets.data.images import exif_orientation, image_header, open_image_file, read_image, turned_upright
from focalnets.data.scenes import DISTRACTOR_CLASSES, SCENE_CLASSES, SceneGenerator
from focalnets.errors import DataError

__all__ = ["FIRST_SCENE", "SCENE_TARGET_SIZE", "AnnotatedImage", "AnnotatedImages", "open_annotated_images"]

SCENE_TARGET_SIZE = (0.14, 0.22)
"""Longer side of the object in generated scenes, as a share of the picture's side: as in ``focalnets demo``."""

FIRST_SCENE = 2_000_000
"""Number of the first generated scene: far from all that the demonstration trains on, chooses by or measures on."""

_USUAL_SCENES = 400

_LAYOUTS = (
    "expected `scenes` or `scenes:COUNT`, a COCO json file, a folder with images/ and masks/, or one with PNGImages/ "
    "and PedMasks/"
)


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


def open_annotated_images(
    data: str | Path, *, category: str | None = None, images: str | Path | None = None
) -> AnnotatedImages:
    """Find images with masks or boxes; pixels are read later, one image at a time.

    Args:
        data: ``scenes`` or ``scenes:COUNT`` for generated scenes (a folder of that name is written ``./scenes``), a
            json file in COCO's format, a folder with ``images/`` and ``masks/``, a folder with ``PNGImages/`` and
            ``PedMasks/``, or one that holds such things in ``val/`` or ``annotations/``.
        category: What counts as the object; None takes everything that is annotated, in scenes the one thing that they
            are named after. See :func:`focalnets.data.annotated_masks.open_masks` and
            :func:`focalnets.data.annotated_coco.open_coco`.
        images: Folder of the images of a COCO file; None looks beside the file.

    Raises:
        DataError: If there is no such data, if it is not as expected, or if nothing in it is of that category.
        ImageError: If the header of an image cannot be read.
    """
    from focalnets.data.annotated_coco import find_coco_file, open_coco
    from focalnets.data.annotated_masks import find_mask_folders, open_masks

    scenes = re.fullmatch(r"scenes(?::(.*))?", str(data)) if isinstance(data, str) else None
    if scenes is not None:
        if images is not None:
            raise DataError("Generated scenes need no folder of images; leave it out.")
        return _scenes(scenes[1], category)
    path = Path(data).expanduser()
    if not path.exists():
        raise DataError(f"there is no file or folder '{data}'; {_LAYOUTS}.")
    folders = find_mask_folders(path) if path.is_dir() else None
    if folders is not None and images is None:
        return open_masks(folders, category)
    file = find_coco_file(path)
    if file is None:
        raise DataError(f"'{data}' holds no images with masks or boxes; {_LAYOUTS}.")
    return open_coco(file, category, images)


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


def _scenes(count: str | None, category: str | None) -> AnnotatedImages:
    if count is not None and (not count.isdecimal() or int(count) < 1):
        raise DataError(f"expected scenes:COUNT with a whole number from 1 up, got 'scenes:{count}'.")
    generator = SceneGenerator(target_size=SCENE_TARGET_SIZE)
    known = (*SCENE_CLASSES, *DISTRACTOR_CLASSES)
    if category is not None and category not in known:
        raise DataError(f"scenes hold no {category!r}; choose from {', '.join(known)}.")
    numbers = range(FIRST_SCENE, FIRST_SCENE + int(count or _USUAL_SCENES))
    chosen = [
        one for one in numbers if category not in SCENE_CLASSES or generator.classes[generator.label(one)] == category
    ]
    if not chosen:
        raise DataError(f"None of {len(numbers)} scenes shows a {category}; ask for more.")

    def read(index: int) -> AnnotatedImage:
        scene = generator.scene(chosen[index])
        masks = [scene.target.mask] if category is None else [o.mask for o in scene.objects if o.class_name == category]
        mask = np.any(masks, axis=0) if masks else np.zeros(scene.image.shape[:2], dtype=bool)
        return AnnotatedImage(f"scene {chosen[index]}", Image.fromarray(scene.image), mask)

    return AnnotatedImages(
        data=f"{len(chosen)} generated scenes of {generator.image_size_px} px",
        objects=category or "the thing that the scene is named after",
        names=[f"scene {number}" for number in chosen],
        read=read,
    )
