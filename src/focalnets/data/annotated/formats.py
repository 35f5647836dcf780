"""The formats of annotations that are recognised in a place, one row each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from focalnets.data.annotated.coco import recognise_coco
from focalnets.data.annotated.coco_panoptic import recognise_panoptic
from focalnets.data.annotated.cvat import recognise_cvat
from focalnets.data.annotated.labelme import recognise_labelme
from focalnets.data.annotated.mask_training import recognise_masks
from focalnets.data.annotated.parts import DENSE_TASKS, Recognised
from focalnets.data.annotated.scenes import recognise_scenes
from focalnets.data.annotated.voc import recognise_voc
from focalnets.data.annotated.yolo import recognise_yolo
from focalnets.data.finding import is_folder, list_folder
from focalnets.data.folders import folder_of_classes
from focalnets.data.image_formats import IMAGE_EXTENSIONS
from focalnets.errors import DataError
from focalnets.files import is_there, user_path

__all__ = ["FORMATS", "possible_tasks", "recognise"]

FORMATS: tuple[Callable[[Path], Recognised | None], ...] = (
    recognise_coco,
    recognise_panoptic,
    recognise_yolo,
    recognise_voc,
    recognise_labelme,
    recognise_cvat,
    recognise_masks,
)
"""Each finds its own format in a file or folder that exists; None where it is not there."""


def recognise(place: str | Path) -> list[Recognised]:
    """Find all formats that a place holds; ``scenes:COUNT`` stands for generated scenes.

    Raises:
        DataError: If there is no such place, or it leaves open what is meant.
    """
    if isinstance(place, str) and place.startswith("scenes:"):
        scenes = recognise_scenes(place)
        return [] if scenes is None else [scenes]
    if "://" in str(place):  # Shards on a server.
        return []
    path = user_path(place)
    if not is_there(path):
        return []
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"'{place}' is neither a file nor a folder; name one of these.")
    return [found for recognise_format in FORMATS if (found := recognise_format(path)) is not None]


def possible_tasks(place: str | Path) -> list[str]:
    """List the tasks that data can train; ``classify`` where nothing is annotated, or train/ has folders of classes.

    Raises:
        DataError: See :func:`recognise`.
    """
    found = recognise(place)
    tasks: list[str] = [task for task in DENSE_TASKS if any(task in each.tasks for each in found)]
    return ["classify", *tasks] if not tasks or _has_class_folders(place) else tasks


def _has_class_folders(place: str | Path) -> bool:
    """Whether ``train/`` holds a folder of images for each class, as generated scenes are written."""
    try:
        root = user_path(place)
        train = folder_of_classes(root)
        inner = [train / entry.name for entry in list_folder(train) if is_folder(entry)]
    except DataError:
        return False
    return (
        train != root
        and len(inner) > 1
        and not any(each.name.casefold() in ("images", "masks", "labels", "annotations") for each in inner)
        and all(any(entry.name.lower().endswith(IMAGE_EXTENSIONS) for entry in list_folder(each)) for each in inner)
    )
