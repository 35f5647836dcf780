"""Folders of pictures, one folder a class: which images train, which are held out, and the data set that reads them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from focalnets.data.images import DEFAULT_MAX_PIXELS, IMAGE_EXTENSIONS, find_images, natural_key, read_image
from focalnets.errors import ConfigError, DataError
from focalnets.files import write_json

__all__ = [
    "EvaluationFolder",
    "ImageFolder",
    "ImageFolders",
    "Sample",
    "open_evaluation_folder",
    "open_image_folders",
]

Sample = tuple[Path, int]
"""An image file and the index of its class."""

_TRAIN_NAMES = ("train",)
_VAL_NAMES = ("val", "validation", "valid", "test")
_LAYOUT = "expected FOLDER/<class>/<images>, or FOLDER/train/<class>/<images> and FOLDER/val/<class>/<images>"
_SPLIT_FORMAT = "focalnets image split"


class ImageFolder(Dataset):
    """Images on disk with their class, read when asked for.

    Args:
        samples: Files and the index of their class in ``classes``.
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
        self.samples = tuple((Path(path), int(label)) for path, label in samples)
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
            ImageError: If the file cannot be read; the message names it.
        """
        path, label = self.samples[index]
        image = read_image(path, max_pixels=self.max_pixels, smallest_side_px=self.smallest_side_px)
        return (image if self.transform is None else self.transform(image)), label


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolders:
    """Which images of a folder train a network and which are held out.

    Attributes:
        root: The folder.
        classes: Names of the classes, in natural order of their folders.
        train, val: Files with the index of their class.
        split: How the two were told apart, in words.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    split: str

    def write_split(self, path: str | Path) -> Path:
        """Write as JSON which image is on which side, with paths relative to ``root``; returns the file."""
        content = {
            "format": _SPLIT_FORMAT,
            "root": str(self.root.resolve()),
            "split": self.split,
            "classes": list(self.classes),
            "train": [[file.relative_to(self.root).as_posix(), label] for file, label in self.train],
            "val": [[file.relative_to(self.root).as_posix(), label] for file, label in self.val],
        }
        write_json(path, content)
        return Path(path)

    @classmethod
    def read_split(cls, path: str | Path, *, root: str | Path | None = None) -> ImageFolders:
        """Read what :meth:`write_split` wrote, to repeat a run on the same images.

        Args:
            path: The JSON file.
            root: The folder of images if it has moved since.

        Raises:
            DataError: If the file is missing or no split, or if images named in it are gone.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != _SPLIT_FORMAT:
                raise ValueError(content["format"])
            folder = Path(content["root"] if root is None else root)
            classes = tuple(str(name) for name in content["classes"])
            sides = {}
            for side in ("train", "val"):
                sides[side] = tuple((folder / str(name), int(label)) for name, label in content[side])
                if not all(0 <= label < len(classes) for _, label in sides[side]):
                    raise ValueError("a label is no index of a class")
            split = str(content["split"])
        except FileNotFoundError:
            raise DataError(f"there is no split file '{path}'; write one with write_split.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"'{path}' is no split written by write_split ({type(error).__name__}: {error})."
            ) from error
        gone = [file for side in sides.values() for file, _ in side if not file.is_file()]
        if gone:
            raise DataError(
                f"{len(gone)} images of the split '{path}' are not in '{folder}', the first is '{gone[0]}'; "
                "name the folder that holds them or make a new split."
            )
        return cls(root=folder, classes=classes, train=sides["train"], val=sides["val"], split=split)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationFolder:
    """Images to measure a network on.

    Attributes:
        root: The folder that holds the classes' folders.
        classes: Names of the classes that the labels count in.
        samples: Files with the index of their class.
    """

    root: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]


def open_image_folders(root: str | Path, *, val_fraction: float = 0.2, seed: int = 0) -> ImageFolders:
    """Find the classes and images of a folder and say which are held out.

    With ``train/`` and ``val/`` (or ``validation/``, ``valid/``, ``test/``, the first that exists) inside, each holding
    one folder a class, these are taken as they are. Otherwise the folder, or its ``train/``, is split: of every class
    the same share is held out, chosen by ``seed`` and the images' relative names alone, so that neither the order on
    disk nor the place of the folder matters and images added later leave most others on their side.

    Args:
        root: The folder.
        val_fraction: Share of each class that is held out, above 0 and below 1. At least one image stays on each side.
        seed: Chooses another split.

    Raises:
        DataError: If the folder is missing, empty or laid out otherwise, if a class has no or too few images, if there
            is only one class, or if train and val hold different classes.
        ConfigError: If ``val_fraction`` is out of range.
    """
    if not 0.0 < val_fraction < 1.0:
        raise ConfigError(f"val_fraction must lie above 0 and below 1, got {val_fraction!r}.")
    root = _existing_folder(root)
    train_folder = _split_folder(root, _TRAIN_NAMES)
    val_folder = _split_folder(root, _VAL_NAMES) if train_folder else None
    if train_folder and val_folder:
        train, val = _images_by_class(train_folder), _images_by_class(val_folder)
        _refuse_single_class(train_folder, train)
        if set(train) != set(val):
            raise DataError(
                f"'{train_folder}' and '{val_folder}' must hold the same classes, "
                f"but {_differences(set(train), set(val))}."
            )
        split = f"folders {train_folder.name}/ and {val_folder.name}/"
    else:
        source = train_folder or root
        images = _images_by_class(source)
        _refuse_single_class(source, images)
        train, val = {}, {}
        for name, files in images.items():
            if len(files) < 2:
                raise DataError(
                    f"the class folder '{source / name}' holds 1 image; expected at least 2, one to train and one to "
                    "hold out."
                )
            ranked = sorted(files, key=lambda file: _rank(file.relative_to(source), seed))
            held_out = set(ranked[: min(max(round(len(files) * val_fraction), 1), len(files) - 1)])
            val[name] = [file for file in files if file in held_out]
            train[name] = [file for file in files if file not in held_out]
        split = f"{val_fraction:.0%} of each class held out, seed {seed}"
    classes = tuple(train)
    return ImageFolders(root=root, classes=classes, train=_label(train, classes), val=_label(val, classes), split=split)


def open_evaluation_folder(root: str | Path, classes: Sequence[str] | None = None) -> EvaluationFolder:
    """Find the images that a network is measured on.

    Args:
        root: A folder with one folder a class, or one that holds such a folder named ``val``, ``validation``,
            ``valid`` or ``test`` beside its ``train``.
        classes: Names of the network's classes; labels index into them by folder name. Classes without a folder are
            fine. None takes the folders' names.

    Raises:
        DataError: If the folder is missing, empty or laid out otherwise, or holds folders that are no class.
    """
    root = _existing_folder(root)
    # Beside train/ a folder test/ is a split; alone it could be a class.
    folder = root
    if _split_folder(root, _TRAIN_NAMES) or _split_folder(root, _VAL_NAMES[:1]):
        folder = _split_folder(root, _VAL_NAMES) or root
    images = _images_by_class(folder)
    names = tuple(images) if classes is None else tuple(classes)
    unknown = [name for name in images if name not in names]
    if unknown:
        raise DataError(
            f"'{folder}' holds folders that are no class of the network: {_list(unknown)}; its {len(names)} classes "
            f"are {_list(names)}."
        )
    return EvaluationFolder(root=folder, classes=names, samples=_label(images, names))


def _existing_folder(root: str | Path) -> Path:
    root = Path(root).expanduser()
    if not root.exists():
        raise DataError(f"there is no folder '{root}'; {_LAYOUT}.")
    if not root.is_dir():
        raise DataError(f"'{root}' is a file; {_LAYOUT}.")
    return root


def _subfolders(folder: Path) -> list[Path]:
    folders = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    return sorted(folders, key=lambda entry: natural_key(entry.name))


def _split_folder(root: Path, names: Sequence[str]) -> Path | None:
    # A folder with images but no folders inside is a class that happens to be called "train" or "test".
    for name in names:
        if (root / name).is_dir() and _subfolders(root / name):
            return root / name
    return None


def _images_by_class(folder: Path) -> dict[str, list[Path]]:
    class_folders = _subfolders(folder)
    if not class_folders:
        if any(entry.suffix.lower() in IMAGE_EXTENSIONS for entry in folder.iterdir()):
            raise DataError(f"the images in '{folder}' lie in no class folder; {_LAYOUT}.")
        raise DataError(f"'{folder}' holds no class folders; {_LAYOUT}.")
    images: dict[str, list[Path]] = {}
    empty = []
    for class_folder in class_folders:
        try:
            images[class_folder.name] = find_images([class_folder])
        except DataError:
            empty.append(class_folder.name)
    if empty:
        raise DataError(
            f"class folders in '{folder}' without any image: {_list(empty)}; put images there or remove them "
            f"({_LAYOUT})."
        )
    return images


def _refuse_single_class(folder: Path, images: dict[str, list[Path]]) -> None:
    if len(images) < 2:
        raise DataError(
            f"'{folder}' holds only the class folder '{next(iter(images))}', expected two or more; {_LAYOUT}."
        )


def _differences(train: set[str], val: set[str]) -> str:
    parts = []
    if train - val:
        parts.append(f"only the first has {_list(sorted(train - val, key=natural_key))}")
    if val - train:
        parts.append(f"only the second has {_list(sorted(val - train, key=natural_key))}")
    return " and ".join(parts)


def _list(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _rank(relative: Path, seed: int) -> bytes:
    # Some file systems store accents decomposed; the split must not depend on that.
    name = unicodedata.normalize("NFC", relative.as_posix())
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()


def _label(images: dict[str, list[Path]], classes: Sequence[str]) -> tuple[Sample, ...]:
    index = {name: label for label, name in enumerate(classes)}
    return tuple((file, index[name]) for name, files in images.items() for file in files)
