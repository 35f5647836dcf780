"""Images of which is known where the objects are: one door to generated scenes, folders of masks and COCO files.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from focalnets.data.annotated.coco import find_coco_file, open_coco
from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages
from focalnets.data.annotated.masks import find_mask_folders, open_masks
from focalnets.data.annotated.objects import AnnotatedObject, Category
from focalnets.data.scenes.generator import DISTRACTOR_CLASSES, SCENE_CLASSES, SceneGenerator
from focalnets.errors import DataError
from focalnets.files import user_path

__all__ = ["FIRST_SCENE", "SCENE_TARGET_SIZE", "open_annotated_images"]

SCENE_TARGET_SIZE = (0.14, 0.22)
"""Longer side of the object in generated scenes, as a fraction of the picture's side: as in ``focalnets demo``."""

FIRST_SCENE = 2_000_000
"""Number of the first generated scene: far from all that the demonstration trains on, chooses by or measures on."""

_USUAL_SCENES = 400

_LAYOUTS = (
    "expected `scenes` or `scenes:COUNT`, a COCO json file, a folder with images/ and masks/, or one with PNGImages/ "
    "and PedMasks/"
)


def open_annotated_images(
    data: str | Path, *, category: str | None = None, images: str | Path | None = None, everything: bool = False
) -> AnnotatedImages:
    """Find images with masks or boxes; pixels are read later, one image at a time.

    Args:
        data: ``scenes`` or ``scenes:COUNT`` for generated scenes (a folder of that name is written ``./scenes``), a
            json file in COCO's format, a folder with ``images/`` and ``masks/``, a folder with ``PNGImages/`` and
            ``PedMasks/``, or one that holds such things in ``val/`` or ``annotations/``.
        category: What counts as the object; None takes everything that is annotated, in scenes the one thing that they
            are named after. See :func:`focalnets.data.annotated.masks.open_masks` and
            :func:`focalnets.data.annotated.coco.open_coco`.
        images: Folder of the images of a COCO file; None looks beside the file.
        everything: Give all images, also those that show no object; in scenes everything that stands and flies around,
            and in class maps without a background also class 0.

    Raises:
        DataError: If there is no such data, if it is not as expected, or if nothing in it is of that category.
        ImageError: If the header of an image cannot be read.
        MissingPackageError: If a COCO file holds polygons and pycocotools is not installed.
    """
    scenes = re.fullmatch(r"scenes(?::(.*))?", str(data)) if isinstance(data, str) else None
    if scenes is not None:
        if images is not None:
            raise DataError("Generated scenes need no folder of images; leave it out.")
        return _open_scenes(scenes[1], category, everything=everything)
    path = user_path(data)
    try:
        exists = path.exists()
    except OSError:  # A name that no system allows.
        exists = False
    if not exists:
        raise DataError(f"there is no file or folder '{data}'; {_LAYOUTS}.")
    folders = find_mask_folders(path) if path.is_dir() else None
    if folders is not None and images is None:
        return open_masks(folders, category, everything=everything)
    file = find_coco_file(path)
    if file is None:
        raise DataError(f"'{data}' holds no images with masks or boxes; {_LAYOUTS}.")
    return open_coco(file, category, images, everything=everything)


def _open_scenes(count: str | None, category: str | None, *, everything: bool) -> AnnotatedImages:
    if count is not None and (not count.isdecimal() or int(count) < 1):
        raise DataError(f"expected scenes:COUNT with a whole number from 1 up, got 'scenes:{count}'.")
    generator = SceneGenerator(target_size=SCENE_TARGET_SIZE)
    known = (*SCENE_CLASSES, *DISTRACTOR_CLASSES)
    if category is not None and category not in known:
        raise DataError(f"scenes hold no {category!r}; choose from {', '.join(known)}.")
    numbers: Sequence[int] = range(FIRST_SCENE, FIRST_SCENE + int(count or _USUAL_SCENES))
    if category in SCENE_CLASSES and not everything:
        numbers = [number for number in numbers if generator.classes[generator.label(number)] == category]
    if not numbers:
        raise DataError(f"None of {int(count or _USUAL_SCENES)} scenes shows a {category}; ask for more.")
    only_target = category is None and not everything
    all_words = "everything that stands and flies around" if everything else "the thing that the scene is named after"
    return AnnotatedImages(
        data=f"{len(numbers)} generated scenes of {generator.image_size_px} px",
        objects=category or all_words,
        names=[f"scene {number}" for number in numbers],
        read=_SceneReader(generator, numbers, category, only_target),
        categories=_scene_categories(),
    )


def _scene_categories() -> list[Category]:
    """Kinds of things in scenes, with the numbers that written scenes give them."""
    return [
        Category(place, name, "target" if name in SCENE_CLASSES else "distractor")
        for place, name in enumerate((*SCENE_CLASSES, *DISTRACTOR_CLASSES), start=1)
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class _SceneReader:
    """Draws the scene of a number, with its objects."""

    generator: SceneGenerator
    numbers: Sequence[int]
    category: str | None
    only_target: bool

    def __call__(self, index: int) -> AnnotatedImage:
        scene = self.generator.scene(self.numbers[index])
        things = [scene.target] if self.only_target else scene.objects
        labels = {category.name: (label, category) for label, category in enumerate(_scene_categories())}
        objects = []
        for thing in things:
            if self.category in (None, thing.class_name):
                label, category = labels[thing.class_name]
                area = float(thing.mask.sum())
                objects.append(AnnotatedObject(category, label, thing.box_xyxy, thing.mask, area_px=area))
        return AnnotatedImage(f"scene {self.numbers[index]}", Image.fromarray(scene.image), objects)
