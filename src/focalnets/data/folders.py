"""Folders of pictures, one folder a class: which images train and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from focalnets.data.class_matching import match_classes
from focalnets.data.finding import find_images, natural_key
from focalnets.data.image_formats import IMAGE_EXTENSIONS
from focalnets.data.samples import ImageFile, ImageFolder, Sample
from focalnets.data.splits import (
    EvaluationFolder,
    ImageFolders,
    labelled,
    require_fraction,
    split_by_class,
    with_labels,
)
from focalnets.errors import DataError, quoted_list
from focalnets.files import user_path

__all__ = [
    "VAL_NAMES",
    "EvaluationFolder",
    "ImageFolder",
    "ImageFolders",
    "Sample",
    "open_evaluation_folder",
    "open_image_folders",
]

_TRAIN_NAMES = ("train",)
VAL_NAMES = ("val", "validation", "valid", "test")
"""What the images held out may be called; the first that exists is taken."""

_LAYOUT = "expected FOLDER/<class>/<images>, or FOLDER/train/<class>/<images> and FOLDER/val/<class>/<images>"


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
    require_fraction(val_fraction)
    root = _existing_folder(root)
    train_folder = _split_folder(root, _TRAIN_NAMES)
    val_folder = _split_folder(root, VAL_NAMES) if train_folder else None
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
        train, val, split = split_by_class(
            images,
            place=str(source),
            name_of=lambda file: file.relative_to(source).as_posix(),  # type: ignore[union-attr]
            val_fraction=val_fraction,
            seed=seed,
        )
    classes = tuple(train)
    return ImageFolders(
        root=root, classes=classes, train=labelled(train, classes), val=labelled(val, classes), split=split
    )


def open_evaluation_folder(root: str | Path, classes: Sequence[str] | None = None) -> EvaluationFolder:
    """Find the images that a network is measured on.

    Args:
        root: A folder with one folder a class, or one that holds such a folder named ``val``, ``validation``,
            ``valid`` or ``test`` beside its ``train``.
        classes: Names of the network's classes; labels index into them, see
            :func:`focalnets.data.class_matching.match_classes`. Classes without a folder or with an empty one are fine.
            None takes the folders' names.

    Raises:
        DataError: If the folder is missing, empty or laid out otherwise, or holds folders that are no class.
    """
    root = _existing_folder(root)
    # Beside train/ a folder test/ is a split; alone it could be a class.
    folder = root
    if _split_folder(root, _TRAIN_NAMES) or _split_folder(root, VAL_NAMES[:1]):
        folder = _split_folder(root, VAL_NAMES) or root
    images = _images_by_class(folder, some_empty=classes is not None)
    names = tuple(images) if classes is None else tuple(classes)
    labels = match_classes(list(images), names, str(folder))
    return EvaluationFolder(root=folder, classes=names, samples=with_labels(images, labels))


def _existing_folder(root: str | Path) -> Path:
    root = user_path(root)
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


def _images_by_class(folder: Path, *, some_empty: bool = False) -> dict[str, list[ImageFile]]:
    class_folders = _subfolders(folder)
    if not class_folders:
        if any(entry.suffix.lower() in IMAGE_EXTENSIONS for entry in folder.iterdir()):
            raise DataError(f"the images in '{folder}' lie in no class folder; {_LAYOUT}.")
        raise DataError(f"'{folder}' holds no class folders; {_LAYOUT}.")
    images: dict[str, list[ImageFile]] = {}
    empty = []
    for class_folder in class_folders:
        try:
            images[class_folder.name] = list(find_images([class_folder]))
        except DataError:
            empty.append(class_folder.name)
    if empty and not (some_empty and images):
        raise DataError(
            f"class folders in '{folder}' without any image: {quoted_list(empty)}; put images there or remove them "
            f"({_LAYOUT})."
        )
    return images


def _refuse_single_class(folder: Path, images: dict[str, list[ImageFile]]) -> None:
    if len(images) < 2:
        raise DataError(
            f"'{folder}' holds only the class folder '{next(iter(images))}', expected two or more; {_LAYOUT}."
        )


def _differences(train: set[str], val: set[str]) -> str:
    parts = []
    if train - val:
        parts.append(f"only the first has {quoted_list(sorted(train - val, key=natural_key))}")
    if val - train:
        parts.append(f"only the second has {quoted_list(sorted(val - train, key=natural_key))}")
    return " and ".join(parts)
