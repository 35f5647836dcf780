"""Images of which is known where the object is: one door to generated scenes, folders of masks and COCO files.

Axes: H W height and width [px].
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from focalnets.data.annotated.coco import find_coco_file, open_coco
from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages
from focalnets.data.annotated.masks import find_mask_folders, open_masks
from focalnets.data.scenes.generator import DISTRACTOR_CLASSES, SCENE_CLASSES, SceneGenerator
from focalnets.errors import DataError

__all__ = ["FIRST_SCENE", "SCENE_TARGET_SIZE", "open_annotated_images"]

SCENE_TARGET_SIZE = (0.14, 0.22)
"""Longer side of the object in generated scenes, as a share of the picture's side: as in ``focalnets demo``."""

FIRST_SCENE = 2_000_000
"""Number of the first generated scene: far from all that the demonstration trains on, chooses by or measures on."""

_USUAL_SCENES = 400

_LAYOUTS = (
    "expected `scenes` or `scenes:COUNT`, a COCO json file, a folder with images/ and masks/, or one with PNGImages/ "
    "and PedMasks/"
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
            are named after. See :func:`focalnets.data.annotated.masks.open_masks` and
            :func:`focalnets.data.annotated.coco.open_coco`.
        images: Folder of the images of a COCO file; None looks beside the file.

    Raises:
        DataError: If there is no such data, if it is not as expected, or if nothing in it is of that category.
        ImageError: If the header of an image cannot be read.
    """
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
