"""Which images train a network and which are held out, wherever they are stored, and the data set that reads them."""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from focalnets.data.samples import ImageFile, Sample
from focalnets.data.shards.members import ShardMember
from focalnets.errors import ConfigError, DataError
from focalnets.files import write_json

__all__ = [
    "EvaluationFolder",
    "ImageFolders",
    "split_by_class",
]

Item = TypeVar("Item")

StorageKind = Literal["folder", "csv", "shards"]

SPLIT_FORMAT = "focalnets image split"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolders:
    """Which images train a network and which are held out.

    Attributes:
        root: The folder, CSV file or folder of shards; a URL or pattern of shards as text.
        classes: Names of the classes, in natural order.
        train, val: Images with the index of their class.
        split: How the two were told apart, in words.
        kind: How the images are stored.
        notes: What of the data is not used, a line each.
    """

    root: Path | str
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    split: str
    kind: StorageKind = "folder"
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def name_of(self, file: ImageFile) -> str:
        """The name of an image that stays the same when ``root`` moves."""
        if isinstance(file, ShardMember):
            return file.name_in_shards
        base = base_folder(self.root, self.kind)
        return (file.relative_to(base) if file.is_relative_to(base) else file).as_posix()

    def write_split(self, path: str | Path) -> Path:
        """Write as JSON which image is on which side, with names relative to ``root``; returns the file."""
        content = {
            "format": SPLIT_FORMAT,
            "kind": self.kind,
            "root": str(self.root.resolve()) if isinstance(self.root, Path) else self.root,
            "split": self.split,
            "classes": list(self.classes),
            "train": [[self.name_of(file), label] for file, label in self.train],
            "val": [[self.name_of(file), label] for file, label in self.val],
        }
        write_json(path, content)
        return Path(path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationFolder:
    """Images to measure a network on.

    Attributes:
        root: Where the images are: the folder that holds the classes' folders, a CSV file or shards.
        classes: Names of the classes that the labels count in.
        samples: Images with the index of their class.
        notes: What of the data is not used, a line each.
    """

    root: Path | str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)


def split_by_class(
    images: Mapping[str, Sequence[Item]],
    *,
    place: str,
    name_of: Callable[[Item], str],
    val_fraction: float,
    seed: int,
    what: str = "image",
) -> tuple[dict[str, list[Item]], dict[str, list[Item]], str]:
    """Hold out the same share of every class, chosen by ``seed`` and the images' names alone.

    Neither the order on disk nor the place matters, and images added later leave most others on their side.

    Args:
        images: The images of each class, or whatever is to be divided.
        place: What errors call the data.
        name_of: Gives the name that decides where an image goes.
        val_fraction: Share of each class that is held out, above 0 and below 1. At least one image stays on each side.
        seed: Chooses another split.
        what: What messages call one of them.

    Returns:
        The images that train and those held out, by class and in the order given, and the split in words.

    Raises:
        DataError: If a class has one image only.
        ConfigError: If ``val_fraction`` is out of range.
    """
    require_fraction(val_fraction)
    train, val = {}, {}
    for name, files in images.items():
        if len(files) < 2:
            raise DataError(
                f"the class '{name}' of '{place}' holds 1 {what}; expected at least 2, one to train and one to hold "
                "out."
            )
        ranked = sorted(range(len(files)), key=lambda index: _rank(name_of(files[index]), seed))
        held_out = set(ranked[: min(max(round(len(files) * val_fraction), 1), len(files) - 1)])
        val[name] = [file for index, file in enumerate(files) if index in held_out]
        train[name] = [file for index, file in enumerate(files) if index not in held_out]
    return train, val, f"{val_fraction:.0%} of each class held out, seed {seed}"


def require_fraction(val_fraction: float) -> None:
    """Refuse a share to hold out that is not above 0 and below 1, with a ConfigError."""
    if not 0.0 < val_fraction < 1.0:
        raise ConfigError(f"val_fraction must lie above 0 and below 1, got {val_fraction!r}.")


def labelled(images: Mapping[str, Sequence[ImageFile]], classes: Sequence[str]) -> tuple[Sample, ...]:
    """The images of all classes, one class after the other, with the index of their class in ``classes``."""
    return with_labels(images, {name: label for label, name in enumerate(classes)})


def with_labels(images: Mapping[str, Sequence[ImageFile]], index: Mapping[str, int]) -> tuple[Sample, ...]:
    """The images of all classes, one class after the other, with the label that ``index`` gives their class."""
    return tuple((file, index[name]) for name, files in images.items() for file in files)


def base_folder(root: Path | str, kind: StorageKind) -> Path:
    """The folder that relative names begin in."""
    root = Path(root)
    return root.parent if kind == "csv" and not root.is_dir() else root


def _rank(name: str, seed: int) -> bytes:
    # Some file systems store accents decomposed; the split must not depend on that.
    name = unicodedata.normalize("NFC", name)
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()
