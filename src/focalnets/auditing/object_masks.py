"""Where the object of each audited image is, from masks or boxes that lie beside the images.

Axes: H W height and width [px].
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from focalnets.data.annotated.coco import find_coco_file
from focalnets.data.annotated.mask_folders import find_mask_folders
from focalnets.data.annotated.masks import check_sizes, read_upright_mask
from focalnets.data.annotated.objects import filled_box
from focalnets.data.annotated.open import open_annotated_images
from focalnets.data.finding import find_images
from focalnets.data.images import upright_size
from focalnets.data.samples import ImageFile
from focalnets.errors import DataError, ImageError
from focalnets.files import user_path

__all__ = ["ObjectMasks", "open_object_masks"]


class ObjectMasks:
    """Masks of the objects that images are named after.

    Args:
        known: By number of an image, what reads its mask (H, W) bool.
    """

    def __init__(self, known: dict[int, Callable[[], np.ndarray]]) -> None:
        self._known = known

    def __len__(self) -> int:
        return len(self._known)

    @property
    def numbers(self) -> list[int]:
        """Images whose object is known."""
        return sorted(self._known)

    def read(self, number: int) -> np.ndarray:
        """Read the mask of an image, (H, W) bool.

        Raises:
            DataError, ImageError: If it cannot be read.
        """
        return self._known[number]()


def open_object_masks(place: str | os.PathLike[str], files: Sequence[ImageFile], names: Sequence[str]) -> ObjectMasks:
    """Find the objects of images.

    Args:
        place: A json file in COCO's format or a folder that holds one (of an image's objects those count that are of
            its class, or all where none is called so), a folder with ``images/`` and ``masks/``, or a folder of mask
            images that repeats the names of the images and of the folders that they are in. Pixels above 0 are the
            object.
        files: The images.
        names: Name of the class of each.

    Raises:
        DataError: If there are no masks, none of these images, or one of another size than its image.
    """
    path = user_path(place)
    if not path.exists():
        raise DataError(f"there is no file or folder '{place}' with masks.")
    annotated = path.is_file() or find_mask_folders(path) is not None or find_coco_file(path) is not None
    known = _from_annotations(path, files, names) if annotated else _from_folder(path, files)
    if not known:
        raise DataError(
            f"'{place}' holds masks of none of the {len(files):,} images, of which the first is '{files[0]}'; expected "
            "a COCO file of these images, or mask images of their names in folders of the same names."
        )
    return ObjectMasks(known)


def _from_annotations(
    path: Path, files: Sequence[ImageFile], names: Sequence[str]
) -> dict[int, Callable[[], np.ndarray]]:
    images = open_annotated_images(path)
    places = {os.path.realpath(file): place for place, file in enumerate(images.files)}
    known: dict[int, Callable[[], np.ndarray]] = {}
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        place = places.get(os.path.realpath(file)) if isinstance(file, Path) else None
        if place is None:
            continue

        def read(place: int = place, name: str = name) -> np.ndarray:
            image = images.annotation(place)
            own = [thing for thing in image.objects if thing.category.name == name]
            if not own:
                return image.mask
            union = np.zeros(image.size[::-1], dtype=bool)
            for thing in own:
                mask = thing.mask
                if mask is None:
                    union[filled_box(thing.box_xyxy, *union.shape)] = True
                else:
                    union |= mask
            return union

        known[number] = read
    return known


def _from_folder(path: Path, files: Sequence[ImageFile]) -> dict[int, Callable[[], np.ndarray]]:
    """Match masks whose path below the folder is how the image's path ends, whatever the endings are."""
    masks: dict[str, Path] = {}
    for mask in find_images([path]):
        masks[mask.relative_to(path).with_suffix("").as_posix()] = mask
    known: dict[int, Callable[[], np.ndarray]] = {}
    for number, file in enumerate(files):
        if not isinstance(file, Path):
            continue
        parts = file.with_suffix("").parts
        for length in range(min(4, len(parts) - 1), 0, -1):
            own = masks.get("/".join(parts[-length:]))
            if own is not None:
                with contextlib.suppress(ImageError):  # Whoever reads a damaged file says what is wrong.
                    check_sizes(file, own)

                def read(mask: Path = own, photo: Path = file) -> np.ndarray:
                    values = read_upright_mask(mask, photo, *upright_size(photo))
                    return np.asarray(values.any(-1) if values.ndim == 3 else values > 0)

                known[number] = read
                break
    return known
