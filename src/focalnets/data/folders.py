"""Folders of pictures, one folder a class: which images train and which are held out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from focalnets.data.class_matching import match_classes
from focalnets.data.finding import PassedOver, find_images, is_folder, is_no_data_folder, list_folder, natural_key
from focalnets.data.image_formats import IMAGE_EXTENSIONS
from focalnets.data.samples import ImageFile, ImageFolder, Sample
from focalnets.data.split_names import is_split_name, rank_of_name, role_of_name
from focalnets.data.splits import (
    EvaluationFolder,
    ImageFolders,
    labelled,
    require_fraction,
    split_by_class,
    with_labels,
)
from focalnets.errors import DataError, quoted_list
from focalnets.files import is_there, user_path

__all__ = [
    "EvaluationFolder",
    "ImageFolder",
    "ImageFolders",
    "Sample",
    "folder_of_classes",
    "open_evaluation_folder",
    "open_image_folders",
]

_LAYOUT = "expected FOLDER/<class>/<images>, or FOLDER/train/<class>/<images> and FOLDER/val/<class>/<images>"


def open_image_folders(root: str | Path, *, val_fraction: float = 0.2, seed: int = 0) -> ImageFolders:
    """Find the classes and images of a folder and say which are held out.

    With ``train/`` and ``val/`` inside, each holding one folder a class, these are taken as they are; without ``val/``
    a ``test/`` serves as such. They may have any of the usual names, see :mod:`focalnets.data.split_names`. Otherwise
    the folder, or its ``train/``, is split: of every class the same fraction is held out, chosen by ``seed`` and the
    images' relative names alone, so that neither the order on disk nor the place of the folder matters and images added
    later leave most others on their side.

    Args:
        root: The folder.
        val_fraction: Fraction of each class that is held out, above 0 and below 1. At least one image stays on each
            side.
        seed: Chooses another split.

    Raises:
        DataError: If the folder is missing, empty or laid out otherwise, if a class has no or too few images, if there
            is only one class, if train and val hold different classes, or if what would be classes look like splits.
        ConfigError: If ``val_fraction`` is out of range.
    """
    require_fraction(val_fraction)
    root = _existing_folder(root)
    parts = _find_parts(root)
    passed = PassedOver()
    if parts.train and parts.held_out:
        train, val = (_images_by_class(folder, passed) for folder in (parts.train, parts.held_out))
        _refuse_single_class(parts.train, train)
        if set(train) != set(val):
            raise DataError(
                f"'{parts.train}' and '{parts.held_out}' must hold the same classes, "
                f"but {_differences(set(train), set(val))}."
            )
        split = f"folders {parts.train.name}/ and {parts.held_out.name}/"
    else:
        source = parts.train or root
        images = _images_by_class(source, passed)
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
        root=root,
        classes=classes,
        train=labelled(train, classes),
        val=labelled(val, classes),
        split=split,
        notes=_notes(root, parts, (parts.train, parts.held_out) if parts.train else (root,), passed),
    )


def folder_of_classes(root: str | Path) -> Path:
    """The folder whose sub-folders are the classes that train: the folder itself, or its ``train/``."""
    root = _existing_folder(root)
    return _find_parts(root).train or root


def open_evaluation_folder(root: str | Path, classes: Sequence[str] | None = None) -> EvaluationFolder:
    """Find the images that a network is measured on.

    Args:
        root: A folder with one folder a class, or one that holds such a folder named ``val`` or, without that,
            ``test`` beside its ``train``; see :mod:`focalnets.data.split_names`.
        classes: Names of the network's classes; labels index into them, see
            :func:`focalnets.data.class_matching.match_classes`. Classes without a folder or with an empty one are fine.
            None takes the folders' names.

    Raises:
        DataError: If the folder is missing, empty or laid out otherwise, or holds folders that are no class.
    """
    root = _existing_folder(root)
    parts = _find_parts(root)
    # Beside train/ a folder test/ is a split; alone it could be a class.
    alone = parts.val is not None or (parts.held_out is not None and parts.held_out.name not in (classes or ()))
    folder = root
    if parts.train or (alone and not parts.others) or parts.val:
        folder = parts.held_out or parts.train or root
    passed = PassedOver()
    images = _images_by_class(folder, passed, some_empty=classes is not None, classes=classes)
    names = tuple(images) if classes is None else tuple(classes)
    labels = match_classes(list(images), names, str(folder))
    notes = _notes(root, parts, (folder,), passed)
    return EvaluationFolder(root=folder, classes=names, samples=with_labels(images, labels), notes=notes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Parts:
    """What the folders inside a folder are by their names.

    Attributes:
        train, val, test: Folders of classes that are a part each; None for none.
        others: All other folders.
    """

    train: Path | None
    val: Path | None
    test: Path | None
    others: tuple[Path, ...]

    @property
    def held_out(self) -> Path | None:
        """The images held out: val, or test where there is none."""
        return self.val or self.test


def _find_parts(root: Path) -> _Parts:
    folders = _subfolders(root)
    found: dict[str, list[Path]] = {"train": [], "val": [], "test": []}
    for folder in folders:
        role = role_of_name(folder.name)
        # A folder with images but no folders inside is a class that happens to be called "train" or "test".
        if role is not None and _subfolders(folder):
            found[role].append(folder)
    for same in found.values():
        same.sort(key=lambda folder: rank_of_name(folder.name))
    if len(found["train"]) > 1:
        names = quoted_list([folder.name for folder in found["train"]])
        raise DataError(f"'{root}' holds several folders that could be the images to train on: {names}; keep one.")
    chosen = {role: same[0] if same else None for role, same in found.items()}
    if chosen["train"] and chosen["val"] and _same_place(chosen["train"], chosen["val"]):
        raise DataError(f"'{chosen['train']}' and '{chosen['val']}' are the same folder; hold other images out.")
    others = tuple(folder for folder in folders if folder not in chosen.values())
    return _Parts(**chosen, others=others)


def _same_place(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False


def _notes(root: Path, parts: _Parts, used: Sequence[Path | None], passed: PassedOver) -> tuple[str, ...]:
    """What of a folder is not used."""
    notes = []
    if root not in used:
        folders = [folder for folder in (parts.train, parts.val, parts.test, *parts.others) if folder is not None]
        unused = sorted((f.name for f in folders if f not in used), key=natural_key)
        # Who measures does not expect the images to train on to be used.
        if parts.train is not None and parts.train.name in unused:
            unused.remove(parts.train.name)
        if unused:
            notes.append(f"folders in '{root}' that are not used: {quoted_list(unused)}")
    loose = [
        entry.name
        for folder in dict.fromkeys((root, *(each for each in used if each is not None)))
        for entry in list_folder(folder)
        if Path(entry.name).suffix.lower() in IMAGE_EXTENSIONS and not entry.name.startswith(".")
    ]
    if loose:
        notes.append(f"images that lie in no class folder and are not used: {len(loose):,}, e.g. '{loose[0]}'")
    sentence = passed.sentence()
    return tuple(notes) if sentence is None else (*notes, sentence)


def _existing_folder(root: str | Path) -> Path:
    root = user_path(root)
    if not is_there(root):
        raise DataError(f"there is no folder '{root}'; {_LAYOUT}.")
    if not root.is_dir():
        raise DataError(f"'{root}' is a file; {_LAYOUT}.")
    return root


def _subfolders(folder: Path) -> list[Path]:
    return [folder / entry.name for entry in _folder_entries(folder)]


def _folder_entries(folder: Path) -> list[os.DirEntry[str]]:
    return [entry for entry in list_folder(folder) if not is_no_data_folder(entry.name) and is_folder(entry)]


def _images_by_class(
    folder: Path, passed: PassedOver, *, some_empty: bool = False, classes: Sequence[str] | None = None
) -> dict[str, list[ImageFile]]:
    entries = list_folder(folder)
    class_folders = _subfolders(folder)
    passed.folders.update(entry.name for entry in entries if is_no_data_folder(entry.name) and is_folder(entry))
    if not class_folders:
        if any(Path(entry.name).suffix.lower() in IMAGE_EXTENSIONS for entry in entries):
            raise DataError(f"the images in '{folder}' lie in no class folder; {_LAYOUT}.")
        raise DataError(f"'{folder}' holds no class folders; {_LAYOUT}.")
    if not set(classes or ()) & {class_folder.name for class_folder in class_folders}:
        _refuse_splits(folder, class_folders)
    images: dict[str, list[ImageFile]] = {}
    empty = []
    for class_folder in class_folders:
        unreadable: list[tuple[Path, str]] = []
        try:
            images[class_folder.name] = list(find_images([class_folder], passed_over=passed, unreadable=unreadable))
        except DataError:
            empty.append(class_folder.name)
        if unreadable:  # Images of a class would be missing in silence.
            raise DataError(unreadable[0][1])
    if empty and not (some_empty and images):
        raise DataError(
            f"class folders in '{folder}' without any image: {quoted_list(empty)}; put images there or remove them "
            f"({_LAYOUT})."
        )
    return images


def _refuse_splits(folder: Path, class_folders: Sequence[Path]) -> None:
    """Refuse folders that would be classes but look like splits, or hold splits or classes themselves."""
    names = [class_folder.name for class_folder in class_folders]
    if len(names) > 1 and all(map(is_split_name, names)):
        raise DataError(
            f"the folders in '{folder}' are named like splits, not like classes: {quoted_list(names)}; {_LAYOUT}."
        )
    entries = [list_folder(class_folder) for class_folder in class_folders]
    inner = [
        {entry.name for entry in below if not is_no_data_folder(entry.name) and is_folder(entry)} for below in entries
    ]
    common = set.intersection(*inner)
    if len(names) < 2 or not common or any(names_of != common for names_of in inner):
        return
    parts = [name for name in common if is_split_name(name)]
    loose = any(Path(entry.name).suffix.lower() in IMAGE_EXTENSIONS for below in entries for entry in below)
    if len(parts) == len(common) or (len(common) > 1 and not loose):
        shown = quoted_list(sorted(common, key=natural_key))
        raise DataError(
            f"the folders in '{folder}' all hold the same sub-folders ({shown}), so that either may be the classes: "
            f"{quoted_list(names)}; {_LAYOUT}."
        )


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
