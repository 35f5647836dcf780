"""Annotated images as tasks train on them: formats recognised, parts told apart, everything checked before it starts.

Axes: H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from focalnets.data.annotated.formats import possible_tasks, recognise
from focalnets.data.annotated.images import IGNORED, AnnotatedImage, AnnotatedImages, DenseTask
from focalnets.data.annotated.objects import Category
from focalnets.data.annotated.painting import painted
from focalnets.data.annotated.parts import DENSE_TASKS, Parts, Recognised, common_categories, sorted_by_fitness
from focalnets.data.annotated.problems import Problems
from focalnets.data.annotated.splits import divided, fingerprint, named, read_split, split_content
from focalnets.data.class_matching import match_classes
from focalnets.data.labelled import TrainingData
from focalnets.data.splits import require_fraction
from focalnets.errors import ConfigError, DataError, FocalNetsError, ImageError
from focalnets.files import write_json

__all__ = [
    "AnnotatedData",
    "open_annotated_evaluation",
    "open_annotated_training",
    "recognise_annotations",
    "reopen_annotated_training",
    "task_of_data",
]


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedData:
    """Annotated images as a data set: items are (photo in mode RGB, upright; what is known of it)."""

    images: AnnotatedImages

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, AnnotatedImage]:
        """Read a photo and its annotations.

        Raises:
            ImageError: If the photo cannot be read.
            DataError: If the annotations are not as expected.
        """
        found = self.images[index]
        return found.image, found

    @property
    def categories(self) -> Sequence[Category]:
        """What objects and pixels can be, in the order of their labels, with the ids that the data give them."""
        return self.images.categories

    def annotation(self, index: int) -> AnnotatedImage:
        """Read what is known of a photo, which is decoded only when it is asked for."""
        return self.images.annotation(index)

    def size_of(self, index: int) -> tuple[int, int]:
        """Width and height of an upright photo [px], without decoding it."""
        return self.images.size_of(index)

    def name_of(self, index: int) -> str:
        """Name of an image."""
        return self.images.names[index]


def recognise_annotations(place: str | Path) -> list[Recognised]:
    """Find which formats of annotations a place holds; none where it holds classes of whole images, or nothing.

    Raises:
        DataError: If there is no such place, or it leaves open what is meant.
    """
    return recognise(place)


def task_of_data(place: str | Path) -> str:
    """Choose the task that data are for: the only one that they can train, ``classify`` where nothing is annotated.

    Raises:
        ConfigError: If there are several; it asks for one.
        DataError: See :func:`recognise_annotations`.
    """
    tasks = possible_tasks(place)
    if len(tasks) > 1:
        formats = " and ".join(each.format for each in recognise_annotations(place))
        raise ConfigError(
            f"'{place}' ({formats}) can train {', '.join(tasks[:-1])} and {tasks[-1]}; choose one with --task."
        )
    return tasks[0]


def open_annotated_training(
    place: str | Path,
    *,
    task: DenseTask | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    skip_unreadable: bool = False,
    reduce_zero_label: bool = False,
) -> TrainingData:
    """Find the images that train a network and those held out, and check the annotations of all.

    Parts that the data tell apart are taken as they are, ``test`` for ``val`` where there is none. Otherwise a fraction
    is held out, chosen by ``seed`` and the images' names alone.

    Args:
        place: Folder or file, see :mod:`focalnets.data.annotated.formats`; ``scenes:COUNT`` for generated scenes.
        task: What is trained; None takes the only one that the data are for.
        val_fraction: Fraction that is held out, above 0 and below 1.
        seed: Chooses another split.
        skip_unreadable: Leave out images whose header or annotations cannot be read instead of refusing.
        reduce_zero_label: Whether 0 in class maps is to be ignored and classes count from 1.

    Returns:
        Labels are the names of the classes; items are those of :class:`AnnotatedData`.

    Raises:
        DataError: If the data are missing, not as expected or not for this task.
        ConfigError: If the task is left open or ``val_fraction`` is out of range.
    """
    require_fraction(val_fraction)
    name = _known_task(task or task_of_data(place), place)
    problems = Problems(collect=skip_unreadable)
    found, parts = _open(place, name, reduce_zero_label, problems=problems)
    train, val, split, notes = divided(parts, val_fraction, seed, place)
    notes += _same_images(train, val)
    return _training_data(found, name, train, val, split, notes, problems, reduce_zero_label)


def reopen_annotated_training(
    split: str | Path, *, root: str | Path | None = None, skip_unreadable: bool = False
) -> TrainingData:
    """Find the data of a run again from the file that ``TrainingData.write_split`` wrote.

    Args:
        split: That file.
        root: Where the data are, if they have moved.
        skip_unreadable: As in :func:`open_annotated_training`.

    Raises:
        DataError: If the file is missing or no split, or if images named in it are gone.
    """
    content = read_split(split)
    place = content["root"] if root is None else root
    problems = Problems(collect=skip_unreadable)
    found, parts = _open(place, content["task"], content["reduce_zero_label"], content["kind"], problems)
    train, val = (named(parts, content[side], place, split) for side in ("train", "val"))
    return _training_data(
        found, content["task"], train, val, content["split"], [], problems, content["reduce_zero_label"]
    )


def open_annotated_evaluation(
    place: str | Path,
    *,
    task: DenseTask,
    labels: Sequence[str] | None = None,
    split: str | Path | None = None,
    reduce_zero_label: bool = False,
) -> tuple[tuple[str, ...], AnnotatedData]:
    """Find the images that a network is measured on: those held out, or all where none are.

    Args:
        place: As in :func:`open_annotated_training`.
        task: What is measured.
        labels: Names of the network's classes; labels count in these. None takes those of the data.
        split: File of a run whose held-out images are meant.
        reduce_zero_label: As in :func:`open_annotated_training`.

    Returns:
        Names of the classes, and the images.

    Raises:
        DataError: If the data are not as expected or hold classes that the network does not have.
    """
    if split is not None:
        content = read_split(split)
        _, parts = _open(place, task, content["reduce_zero_label"], content["kind"])
        images = named(parts, content["val"], place, split)
    else:
        _, parts = _open(place, task, reduce_zero_label)
        images = next(parts[part] for part in ("val", "test", None, "train") if part in parts)  # type: ignore[index]
    names = [category.name for category in images.categories]
    if labels is None:
        return tuple(names), AnnotatedData(images)
    meant = match_classes(names, labels, str(place))
    of_label = {meant[category.name]: category for category in images.categories}
    categories = [of_label.get(label, Category(None, name)) for label, name in enumerate(labels)]
    return tuple(labels), AnnotatedData(images.relabelled(categories, [meant[name] for name in names]))


def _known_task(task: str, place: str | Path) -> DenseTask:
    if task not in DENSE_TASKS:
        raise DataError(
            f"'{place}' holds no annotations of objects or pixels that are known; expected one of COCO json, YOLO txt, "
            "Pascal VOC xml, Labelme json, CVAT xml, or folders of images and masks."
        )
    return task  # type: ignore[return-value]


def _open(
    place: str | Path,
    task: DenseTask,
    reduce_zero_label: bool,
    kind: str | None = None,
    problems: Problems | None = None,
) -> tuple[Recognised, Parts]:
    """Open what a place holds for a task, of the first format that can train it; all parts count classes alike."""
    found = recognise_annotations(place)
    fitting = [each for each in sorted_by_fitness(found, task) if kind in (None, each.format)]
    if not fitting:
        if not found:
            _known_task("classify", place)
        held = "; ".join(f"{each.format} for {', '.join(sorted(each.tasks))}" for each in found)
        raise DataError(f"'{place}' cannot train {task}: it holds {held}.")
    parts = common_categories(fitting[0].open(task, Problems() if problems is None else problems), place)
    if not parts:
        raise DataError(f"No image of '{place}' can be used.")
    if task == "semantic":
        parts = {part: images if images.maps else painted(images) for part, images in parts.items()}
    if reduce_zero_label:
        parts = {part: _without_first(images) for part, images in parts.items()}
    if not all(images.categories for images in parts.values()):
        raise DataError(f"'{place}' names no class; annotate at least one object.")
    most = max(len(images.categories) for images in parts.values())
    if task in ("semantic", "panoptic") and most > IGNORED:
        raise DataError(f"'{place}' has {most} classes of pixels, more than the limit of {IGNORED}; merge some.")
    return fitting[0], parts


def _without_first(images: AnnotatedImages) -> AnnotatedImages:
    return images.relabelled(images.categories[1:], [-1, *range(len(images.categories) - 1)])


def _training_data(
    found: Recognised,
    task: DenseTask,
    train: AnnotatedImages,
    val: AnnotatedImages,
    split: str,
    notes: list[str],
    problems: Problems,
    reduce_zero_label: bool,
) -> TrainingData:
    left_out = [(problem.name, problem.sentence) for problem in problems.found]
    sides, objects = [], 0
    for images in (train, val):
        kept, count, failures = _checked(images, decode=problems.collect)
        left_out += failures
        objects += count
        sides.append(images if not failures else images.subset(kept))
    if left_out and not problems.collect:
        shown = " ".join(reason for _, reason in left_out[:3])
        raise DataError(
            f"{len(left_out)} of {len(train) + len(val)} images in '{found.place}' cannot be read: {shown}"
            f"{' ...' if len(left_out) > 3 else ''} Repair or remove them, or leave them out with --skip_unreadable."
        )
    for purpose, images in zip(("train", "hold out"), sides, strict=True):
        if not len(images):
            raise DataError(f"no image to {purpose} is left in '{found.place}'.")
    names = tuple(category.name for category in train.categories)
    classes = f"{len(names):,} {'class' if len(names) == 1 else 'classes'}"
    what = f", {objects:,} {'boxes' if task == 'detect' else 'objects'}" if task != "semantic" else ""
    words = f"{found.format}: {len(sides[0]):,} + {len(sides[1]):,} images, {classes}{what}"
    content = split_content(
        found.format, found.place, sides, task=task, split=split, reduce_zero_label=reduce_zero_label
    )
    return TrainingData(
        labels=names,
        train=AnnotatedData(sides[0]),
        val=AnnotatedData(sides[1]),
        description=f"{found.place} ({words}; {split})",
        left_out=tuple(left_out),
        notes=tuple(notes),
        fingerprint=fingerprint(sides),
        write_split=lambda path: write_json(path, content),
    )


def _same_images(train: AnnotatedImages, val: AnnotatedImages) -> list[str]:
    both = set(train.files) & set(val.files)
    return [f"{len(both):,} images are in train and in val: figures on val are too good"] if both else []


def _checked(images: AnnotatedImages, *, decode: bool) -> tuple[list[int], int, list[tuple[str, str]]]:
    """Read headers and annotations of all images: numbers of those that are right, their objects, and the failures.

    With ``decode`` photos and maps are read too.
    """

    def look(number: int) -> int | str:
        try:
            found = images[number] if decode else images.annotation(number)
            if decode:
                found.semantic  # noqa: B018 - read here
            return sum(not thing.crowd for thing in found.objects)
        except FocalNetsError as error:
            if not isinstance(error, DataError | ImageError):
                raise
            return str(error)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(look, range(len(images))))
    kept = [number for number, each in enumerate(found) if isinstance(each, int)]
    failures = [(images.names[number], each) for number, each in enumerate(found) if isinstance(each, str)]
    return kept, sum(each for each in found if isinstance(each, int)), failures
