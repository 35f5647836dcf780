"""Which images train a network and which are held out, wherever they are stored, and the data set that reads them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from torch.utils.data import Dataset

from focalnets.data.images import DEFAULT_MAX_PIXELS, decode_image, encoded_image_size, image_size, read_image
from focalnets.data.shard_files import ShardMember
from focalnets.errors import ConfigError, DataError
from focalnets.files import write_json

__all__ = [
    "EvaluationFolder",
    "ImageFile",
    "ImageFolder",
    "ImageFolders",
    "Sample",
    "quoted_list",
    "read_stored_image",
    "split_by_class",
    "stored_bytes",
    "stored_image_size",
]

ImageFile = Path | ShardMember
"""Where an image is stored: its own file, or a member of a shard. Both have ``read_bytes()``."""

Sample = tuple[ImageFile, int]
"""An image and the index of its class."""

StorageKind = Literal["folder", "csv", "shards"]

_SPLIT_FORMAT = "focalnets image split"


def read_stored_image(
    file: ImageFile, *, max_pixels: int = DEFAULT_MAX_PIXELS, smallest_side_px: int | None = None
) -> Image.Image:
    """Read an image as upright RGB wherever it is stored, see :func:`focalnets.data.images.read_image`."""
    if isinstance(file, Path):
        return read_image(file, max_pixels=max_pixels, smallest_side_px=smallest_side_px)
    return decode_image(file.read_bytes(), name=f"'{file}'", max_pixels=max_pixels, smallest_side_px=smallest_side_px)


def stored_image_size(file: ImageFile) -> tuple[int, int]:
    """Width and height [px] of an image wherever it is stored, from its header alone.

    Raises:
        ImageError: If the image is missing, unreadable or no image.
    """
    return image_size(file) if isinstance(file, Path) else encoded_image_size(file.read_bytes(), name=f"'{file}'")


def stored_bytes(file: ImageFile) -> int:
    """Size of an image file [bytes]."""
    return file.stat().st_size if isinstance(file, Path) else file.size


class ImageFolder(Dataset):
    """Stored images with their class, read when asked for.

    Args:
        samples: Images and the index of their class in ``classes``.
        classes: Names of the classes.
        transform: Called with the upright RGB image; what it returns is the item. None returns the image itself.
        max_pixels: Largest image that is decoded [px], see :func:`focalnets.data.images.read_image`.
        smallest_side_px: Lets JPEGs be decoded at a fraction of their size, see there. Faster; changes values slightly.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        transform: Callable[[Any], Any] | None = None,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        smallest_side_px: int | None = None,
    ) -> None:
        self.samples: tuple[Sample, ...] = tuple(
            (file if isinstance(file, ShardMember) else Path(file), int(label)) for file, label in samples
        )
        self.classes = tuple(classes)
        self.transform = transform
        self.max_pixels = max_pixels
        self.smallest_side_px = smallest_side_px
        assert all(0 <= label < len(self.classes) for _, label in self.samples), "a label is no index of a class"

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """One transformed image and its label.

        Raises:
            ImageError: If the image cannot be read; the message names it.
        """
        file, label = self.samples[index]
        image = read_stored_image(file, max_pixels=self.max_pixels, smallest_side_px=self.smallest_side_px)
        return (image if self.transform is None else self.transform(image)), label


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolders:
    """Which images train a network and which are held out.

    Attributes:
        root: The folder, CSV file or folder of shards; a URL or pattern of shards as text.
        classes: Names of the classes, in natural order.
        train, val: Images with the index of their class.
        split: How the two were told apart, in words.
        kind: How the images are stored.
    """

    root: Path | str
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    split: str
    kind: StorageKind = "folder"

    def name_of(self, file: ImageFile) -> str:
        """The name of an image that stays the same when ``root`` moves."""
        if isinstance(file, ShardMember):
            return file.name_in_shards
        base = _base(self.root, self.kind)
        return (file.relative_to(base) if file.is_relative_to(base) else file).as_posix()

    def write_split(self, path: str | Path) -> Path:
        """Write as JSON which image is on which side, with names relative to ``root``; returns the file."""
        content = {
            "format": _SPLIT_FORMAT,
            "kind": self.kind,
            "root": str(self.root.resolve()) if isinstance(self.root, Path) else self.root,
            "split": self.split,
            "classes": list(self.classes),
            "train": [[self.name_of(file), label] for file, label in self.train],
            "val": [[self.name_of(file), label] for file, label in self.val],
        }
        write_json(path, content)
        return Path(path)

    @classmethod
    def read_split(cls, path: str | Path, *, root: str | Path | None = None) -> ImageFolders:
        """Read what :meth:`write_split` wrote, to repeat a run on the same images.

        Args:
            path: The JSON file.
            root: The folder, CSV file or shards if they have moved since.

        Raises:
            DataError: If the file is missing or no split, or if images named in it are gone.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != _SPLIT_FORMAT:
                raise ValueError(content["format"])
            kind = content.get("kind", "folder")
            if kind not in ("folder", "csv", "shards"):
                raise ValueError(kind)
            place = str(content["root"] if root is None else root)
            classes = tuple(str(name) for name in content["classes"])
            named = {}
            for side in ("train", "val"):
                named[side] = [(str(name), int(label)) for name, label in content[side]]
                if not all(0 <= label < len(classes) for _, label in named[side]):
                    raise ValueError("a label is no index of a class")
            split = str(content["split"])
        except FileNotFoundError:
            raise DataError(f"there is no split file '{path}'; write one with write_split.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"'{path}' is no split written by write_split ({type(error).__name__}: {error})."
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
        return cls(root=new_root, classes=classes, train=train, val=val, split=split, kind=kind)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationFolder:
    """Images to measure a network on.

    Attributes:
        root: Where the images are: the folder that holds the classes' folders, a CSV file or shards.
        classes: Names of the classes that the labels count in.
        samples: Images with the index of their class.
    """

    root: Path | str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]


def split_by_class(
    images: Mapping[str, Sequence[ImageFile]],
    *,
    place: str,
    name_of: Callable[[ImageFile], str],
    val_fraction: float,
    seed: int,
) -> tuple[dict[str, list[ImageFile]], dict[str, list[ImageFile]], str]:
    """Hold out the same share of every class, chosen by ``seed`` and the images' names alone.

    Neither the order on disk nor the place matters, and images added later leave most others on their side.

    Args:
        images: The images of each class.
        place: What errors call the data.
        name_of: Gives the name that decides where an image goes.
        val_fraction: Share of each class that is held out, above 0 and below 1. At least one image stays on each side.
        seed: Chooses another split.

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
                f"the class '{name}' of '{place}' holds 1 image; expected at least 2, one to train and one to hold out."
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


def quoted_list(names: Sequence[str], most: int = 8) -> str:
    """Names in quotes, abridged after ``most``."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _base(root: Path | str, kind: StorageKind) -> Path:
    """The folder that relative names begin in."""
    root = Path(root)
    return root.parent if kind == "csv" and not root.is_dir() else root


def _finder(place: str, kind: StorageKind) -> Callable[[str], ImageFile | None]:
    """What finds the image of a name that :meth:`ImageFolders.name_of` gave; None for those that are gone."""
    if kind == "shards":
        from focalnets.data.shards import open_shards

        members: dict[str, ImageFile] = {}
        for samples in open_shards(place).sides.values():
            members |= {file.name_in_shards: file for file, _ in samples if isinstance(file, ShardMember)}
        return members.get
    base = _base(Path(place), kind)

    def find(name: str) -> Path | None:
        file = base / name
        return file if file.is_file() else None

    return find


def _rank(name: str, seed: int) -> bytes:
    # Some file systems store accents decomposed; the split must not depend on that.
    name = unicodedata.normalize("NFC", name)
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()
