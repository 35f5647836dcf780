"""Images of which is known where the objects are: one door to generated scenes, folders of masks and COCO files.

Axes: H W height and width [px].
"""

from __future__ import annotations

from pathlib import Path

from focalnets.data.annotated.coco import find_coco_file, open_coco
from focalnets.data.annotated.images import AnnotatedImages
from focalnets.data.annotated.mask_folders import find_mask_folders
from focalnets.data.annotated.masks import open_masks
from focalnets.data.annotated.scenes import open_scenes, scenes_count
from focalnets.errors import DataError
from focalnets.files import user_path

__all__ = ["open_annotated_images"]

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
    """
    count = scenes_count(data)
    if count is not None:
        if images is not None:
            raise DataError("Generated scenes need no folder of images; leave it out.")
        return open_scenes(count, category, everything=everything)
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
