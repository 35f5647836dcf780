"""One door to labelled images however they are stored: folders of classes, CSV tables, shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from focalnets.data.folders import open_evaluation_folder, open_image_folders
from focalnets.data.image_split import EvaluationFolder, ImageFolders
from focalnets.data.shards import is_shards, open_evaluation_shards, open_image_shards
from focalnets.data.tables import is_table, open_evaluation_table, open_image_table

__all__ = ["open_evaluation_images", "open_images"]


def open_images(data: str | Path, *, val_fraction: float = 0.2, seed: int = 0) -> ImageFolders:
    """Find the images that train a network and those held out.

    Args:
        data: A folder of classes, a CSV file, or shards (their folder, a tar file, a pattern or a URL).
        val_fraction: Share of each class that is held out where the data says nothing about it.
        seed: Chooses another split.

    Raises:
        DataError: If the data is missing, empty or not as expected.
        ConfigError: If ``val_fraction`` is out of range.
    """
    if is_table(data):
        return open_image_table(data, val_fraction=val_fraction, seed=seed)
    if is_shards(data):
        return open_image_shards(data, val_fraction=val_fraction, seed=seed)
    return open_image_folders(data, val_fraction=val_fraction, seed=seed)


def open_evaluation_images(data: str | Path, classes: Sequence[str] | None = None) -> EvaluationFolder:
    """Find the images that a network is measured on: those held out, or all where none are.

    Args:
        data: As in :func:`open_images`.
        classes: Names of the network's classes; labels index into them. None takes those of the data.

    Raises:
        DataError: If the data is missing, empty or not as expected, or holds classes that the network does not have.
    """
    if is_table(data):
        return open_evaluation_table(data, classes)
    if is_shards(data):
        return open_evaluation_shards(data, classes)
    return open_evaluation_folder(data, classes)
