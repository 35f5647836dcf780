"""One door to labelled images however they are stored: folders of classes, CSV tables, shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from focalnets.data.folders import open_evaluation_folder, open_image_folders
from focalnets.data.samples import ImageFile
from focalnets.data.shards.members import ShardMember
from focalnets.data.shards.open import is_shards, open_evaluation_shards, open_image_shards, open_shards
from focalnets.data.splits import SPLIT_FORMAT, EvaluationFolder, ImageFolders, StorageKind, base_folder
from focalnets.data.tables import is_table, open_evaluation_table, open_image_table
from focalnets.errors import DataError
from focalnets.files import is_there, list_of, read_json

__all__ = ["open_evaluation_images", "open_images", "read_split"]


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


def read_split(path: str | Path, *, root: str | Path | None = None) -> ImageFolders:
    """Read what :meth:`ImageFolders.write_split` wrote, to repeat a run on the same images.

    Args:
        path: The JSON file.
        root: The folder, CSV file or shards if they have moved since.

    Raises:
        DataError: If the file is missing or no split, or if images named in it are gone.
    """
    try:
        content = read_json(path)
        if content["format"] != SPLIT_FORMAT:
            raise ValueError(content["format"])
        kind = content.get("kind", "folder")
        if kind not in ("folder", "csv", "shards"):
            raise ValueError(kind)
        place = str(content["root"] if root is None else root)
        classes = tuple(list_of(str, content["classes"]))
        named: dict[str, list[tuple[str, int]]] = {}
        for side in ("train", "val"):
            named[side] = [(str(name), label) for name, label in list_of(list, content[side])]
            if not all(type(label) is int and 0 <= label < len(classes) for _, label in named[side]):
                raise ValueError("a label is no index of a class")
        split = str(content["split"])
        if "\0" in place:
            raise ValueError("the place holds a zero byte")
    except FileNotFoundError:
        raise DataError(f"there is no split file '{path}'; write one with write_split.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"'{path}' is no split written by write_split ({type(error).__name__}: {error!s:.200})."
        ) from error
    find = _finder(place, kind)
    sides = {side: [(find(name), name, label) for name, label in names] for side, names in named.items()}
    gone = [name for entries in sides.values() for file, name, _ in entries if file is None]
    if gone:
        raise DataError(
            f"{len(gone)} images of the split '{path}' are not in '{place}', the first is '{gone[0]}'; "
            "name the place that holds them or make a new split."
        )
    train, val = (
        tuple((file, label) for file, _, label in sides[side] if file is not None) for side in ("train", "val")
    )
    new_root = place if "://" in place else Path(place)
    return ImageFolders(root=new_root, classes=classes, train=train, val=val, split=split, kind=kind)


def _finder(place: str, kind: StorageKind) -> Callable[[str], ImageFile | None]:
    """What finds the image of a name that :meth:`ImageFolders.name_of` gave; None for those that are gone."""
    if kind == "shards":
        members: dict[str, ImageFile] = {}
        for samples in open_shards(place).sides.values():
            members |= {file.name_in_shards: file for file, _ in samples if isinstance(file, ShardMember)}
        return members.get
    base = base_folder(Path(place), kind)

    def find(name: str) -> Path | None:
        file = base / name
        return file if is_there(file) and file.is_file() else None

    return find
