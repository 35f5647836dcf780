"""Images of which is known where the objects are: one door to generated scenes, folders of masks and COCO files.

Axes: H W height and width [px].
"""

from __future__ import annotations

from pathlib import Path

from focalnets.data.annotated.coco import find_coco_file, open_coco
from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages, find_photo
from focalnets.data.annotated.mask_folders import find_mask_folders
from focalnets.data.annotated.masks import open_masks
from focalnets.data.annotated.scenes import open_scenes, scenes_count
from focalnets.data.finding import find_images
from focalnets.errors import DataError
from focalnets.files import user_path

__all__ = ["open_annotated_images", "open_with_or_without"]

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
    found = _open_files(data, category, images, everything)
    if found is None:
        raise DataError(f"'{data}' holds no images with masks or boxes; {_LAYOUTS}.")
    return found


def open_with_or_without(
    data: str | Path, *, category: str | None = None, images: str | Path | None = None
) -> AnnotatedImages:
    """Find images with masks or boxes, see :func:`open_annotated_images`, or else the images of a folder.

    Of images of a folder nothing is known: ``objects`` is empty, and so are their masks.

    Raises:
        DataError: If there is no such data, or if it is not as expected.
        ImageError: If the header of an image cannot be read.
    """
    if scenes_count(data) is None and category is None and images is None and user_path(data).is_dir():
        found = _open_files(data, None, None, False)
        return _open_plain(data) if found is None else found
    return open_annotated_images(data, category=category, images=images)


def _open_plain(data: str | Path) -> AnnotatedImages:
    files = find_images(data)
    root = user_path(data)
    names = [str(file.relative_to(root)) for file in files]

    def read(number: int) -> AnnotatedImage:
        return AnnotatedImage(names[number], find_photo(files[number]))

    return AnnotatedImages(data=str(data), objects="", names=names, read=read, files=files)


def _open_files(
    data: str | Path, category: str | None, images: str | Path | None, everything: bool
) -> AnnotatedImages | None:
    """Open a file or folder; None if it holds no annotations."""
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
        return None
    return open_coco(file, category, images, everything=everything)
