"""Labelled images as the task takes them: checked, told apart and fingerprinted."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from focalnets.data.class_matching import match_classes
from focalnets.data.labelled import LabelledData, TrainingData
from focalnets.data.samples import (
    ImageFile,
    ImageFolder,
    Sample,
    read_stored_image,
    stored_bytes,
    stored_image_size,
)
from focalnets.data.sources import open_evaluation_images, open_images, read_split
from focalnets.data.splits import ImageFolders
from focalnets.errors import ConfigError, DataError, ImageError

__all__ = ["open_held_out", "open_labelled_images", "read_coarsely", "training_data"]


def open_labelled_images(
    place: str | Path, *, val_fraction: float = 0.2, seed: int = 0, skip_unreadable: bool = False
) -> TrainingData:
    """Find the images of a folder, CSV file or shards and check them.

    See :func:`focalnets.data.sources.open_images` and :func:`training_data`.

    Raises:
        DataError: If the data is not laid out as expected or holds images that cannot be read.
    """
    return training_data(open_images(place, val_fraction=val_fraction, seed=seed), skip_unreadable=skip_unreadable)


def open_held_out(
    place: str | Path, *, labels: Sequence[str] | None = None, split: Path | None = None
) -> tuple[tuple[str, ...], ImageFolder]:
    """Find the images that a classifier is measured on.

    Args:
        place: Folder, CSV file or shards.
        labels: Names of the network's classes; None takes those of the data.
        split: A file that says which images are held out; None takes those that the data itself holds out, or all.

    Returns:
        Names of the classes, and the images with the index of their class among these.

    Raises:
        DataError: If the data is not as expected or holds classes that the network does not have.
    """
    if split is None:
        found = open_evaluation_images(place, labels)
        return found.classes, ImageFolder(found.samples, found.classes, notes=found.notes)
    folders = read_split(split, root=place)
    names = tuple(labels or folders.classes)
    index = match_classes(folders.classes, names, str(split))
    samples = tuple((path, index[folders.classes[label]]) for path, label in folders.val)
    return names, ImageFolder(samples, names)


def read_coarsely(data: LabelledData, side_px: int | None) -> LabelledData:
    """Decode large JPEGs of a folder at a fraction of their size, no smaller than this side [px]; other data stays."""
    if not isinstance(data, ImageFolder) or data.smallest_side_px is not None:
        return data
    return ImageFolder(
        data.samples,
        data.classes,
        data.transform,
        notes=data.notes,
        max_pixels=data.max_pixels,
        smallest_side_px=side_px,
    )


def training_data(folders: ImageFolders, *, skip_unreadable: bool = False) -> TrainingData:
    """Check the images of a known split: their headers, or with ``skip_unreadable`` every pixel.

    Shards on a server are not fetched for that.

    Raises:
        DataError: If images cannot be read, or none is left.
        ConfigError: If images on a server are to be left out when unreadable.
    """
    failures: dict[ImageFile, str] = {}
    if ImageFolder(folders.train, folders.classes).shard_of is not None:
        if skip_unreadable:
            raise ConfigError(
                "skip_unreadable would fetch all shards before training; clean the data before making shards of it."
            )
    else:
        failures = _unreadable([file for file, _ in (*folders.train, *folders.val)], decode=skip_unreadable)
    if failures and not skip_unreadable:
        shown = "; ".join(reason.rstrip(".") for reason in list(failures.values())[:3])
        raise DataError(
            f"{len(failures)} of {len(folders.train) + len(folders.val)} images in '{folders.root}' cannot be "
            f"read: {shown}{'; ...' if len(failures) > 3 else ''}. Repair or remove them, or leave them out with "
            "--skip_unreadable."
        )
    if failures:
        folders = dataclasses.replace(
            folders,
            train=tuple(sample for sample in folders.train if sample[0] not in failures),
            val=tuple(sample for sample in folders.val if sample[0] not in failures),
        )
        for purpose, samples in (("train", folders.train), ("hold out", folders.val)):
            if not samples:
                raise DataError(f"no image to {purpose} is left in '{folders.root}': none of them can be read.")
    return TrainingData(
        labels=folders.classes,
        train=ImageFolder(folders.train, folders.classes),
        val=ImageFolder(folders.val, folders.classes),
        description=f"{folders.root} ({folders.split})",
        left_out=tuple((str(file), reason) for file, reason in failures.items()),
        notes=folders.notes,
        fingerprint=_fingerprint(folders),
        write_split=folders.write_split,
    )


def _unreadable(files: Sequence[ImageFile], *, decode: bool) -> dict[ImageFile, str]:
    def reason(file: ImageFile) -> str | None:
        try:
            read_stored_image(file, smallest_side_px=64) if decode else stored_image_size(file)
            stored_bytes(file)
        except ImageError as error:
            return str(error)
        except OSError as error:  # Gone since it was found.
            return f"'{file}' cannot be read ({error.strerror or error})."
        return None

    with ThreadPoolExecutor() as pool:
        return {file: why for file, why in zip(files, pool.map(reason, files), strict=True) if why is not None}


def _fingerprint(folders: ImageFolders) -> str:
    digest = hashlib.sha256()
    splits: tuple[tuple[str, tuple[Sample, ...]], ...] = (("train", folders.train), ("val", folders.val))
    for split, samples in splits:
        for file, label in samples:
            line = f"{split}\t{label}\t{folders.name_of(file)}\t{stored_bytes(file)}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
