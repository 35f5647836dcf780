"""Where the images, labels and classes of a data set in YOLO's layout lie."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.data.annotated.class_table import read_text, read_yaml
from focalnets.data.annotated.objects import Category
from focalnets.data.annotated.problems import abridge
from focalnets.data.annotated.sniffing import first_bytes
from focalnets.data.finding import find_images, is_no_data_folder, list_folder
from focalnets.data.image_formats import IMAGE_EXTENSIONS
from focalnets.data.split_names import SplitRole, role_of_name
from focalnets.errors import DataError, quoted_list
from focalnets.files import is_there

__all__ = ["YoloData", "YoloPart", "find_yolo", "first_lines", "label_file"]

_NAME_FILES = ("classes.txt", "obj.names", "classes.names", "data.names", "coco.names", "labels.txt", "_darknet.labels")
_MOST_CLASSES = 65_536
_SNIFFED_BYTES = 100_000
_KEYS: dict[str, SplitRole] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_LINE = re.compile(r"\s*\d+(?:\.0*)?(?:\s+[-+\d.eE]+){4,}\s*$")


@dataclasses.dataclass(frozen=True)
class YoloPart:
    """The images of one part; their labels are found by :func:`label_file`."""

    images: Sequence[Path]


@dataclasses.dataclass(frozen=True, eq=False)
class YoloData:
    """What a place holds.

    Attributes:
        parts: Images by part.
        categories: Classes by their number.
        keypoints: Numbers of points behind each box; None for none.
    """

    parts: dict[SplitRole | None, YoloPart]
    categories: list[Category]
    keypoints: int | None = None


def label_file(photo: Path) -> Path:
    """Find the text file of an image: in ``labels/`` instead of the last ``images/`` of its path, or beside it."""
    parts = photo.parts
    for place in range(len(parts) - 2, -1, -1):
        if parts[place].casefold() == "images":
            return Path(*parts[:place], "labels", *parts[place + 1 :]).with_suffix(".txt")
    return photo.with_suffix(".txt")


def first_lines(file: Path) -> list[str]:
    """Read the lines at the beginning of a file of labels that are not empty; none where there is no such file."""
    text = first_bytes(file, _SNIFFED_BYTES).decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()]


def find_yolo(place: Path) -> YoloData | None:
    """Find a data set by its yaml file, or by folders of images and labels.

    Raises:
        DataError: If the yaml file is not as expected or there are several.
    """
    if place.is_file():
        return _from_yaml(place) if place.suffix.lower() in (".yaml", ".yml") and _is_data_yaml(place) else None
    files = [place / entry.name for entry in list_folder(place) if entry.name.lower().endswith((".yaml", ".yml"))]
    files = [file for file in files if _is_data_yaml(file)]
    if len(files) > 1:
        raise DataError(
            f"'{place}' holds several yaml files of data: {quoted_list([f.name for f in files])}; name one."
        )
    return _from_yaml(files[0]) if files else _from_folders(place)


def _is_data_yaml(file: Path) -> bool:
    text = first_bytes(file, _SNIFFED_BYTES).decode("utf-8-sig", "replace")
    keys = set(re.findall(r"^([A-Za-z_]+)\s*:", text, re.MULTILINE))
    return bool({"names", "nc"} & keys) and bool(_KEYS.keys() & keys)


def _from_yaml(file: Path) -> YoloData:
    content = read_yaml(read_text(file), file)
    if not isinstance(content, dict):
        raise DataError(f"'{file}' must hold names of classes and folders of images.")
    base = file.parent
    stated = content.get("path")
    if stated is not None and not isinstance(stated, str):
        raise DataError(f"'{file}' must give the path of its images as text, got {abridge(stated)}.")
    bases = [base / stated, base] if stated else [base]
    if stated and not Path(stated).is_absolute():
        bases.insert(1, Path(stated))
    parts: dict[SplitRole | None, YoloPart] = {}
    for key, role in _KEYS.items():
        given = content.get(key)
        if given in (None, "", []) or role in parts:
            continue
        entries = given if isinstance(given, list) else [given]
        if not all(isinstance(entry, str) and entry and "\0" not in entry for entry in entries):
            raise DataError(f"'{file}' must give {key} as a folder or file of images, got {abridge(given)}.")
        if role == "test" and not any(_located(entry, bases) for entry in entries):
            continue  # Often named and not handed out.
        images = [image for entry in entries for image in _images_of(entry, bases, file)]
        parts[role] = YoloPart(tuple(dict.fromkeys(images)))
    if "train" not in parts and "val" not in parts:
        raise DataError(f"'{file}' names no images to train with; expected train: FOLDER.")
    return YoloData(parts, _read_names(content, file), _read_keypoints(content, file))


def _located(entry: str, bases: Sequence[Path]) -> Path | None:
    """Where something named in a yaml file is: below its path or folder, or there without the dots in front of it."""
    plain = entry.replace("\\", "/")
    stripped = re.sub(r"^(\.\.?/)+", "", plain)
    for candidate in (*(base / plain for base in bases), *(base / stripped for base in bases)):
        if is_there(candidate):
            return candidate
    return None


def _images_of(entry: str, bases: Sequence[Path], file: Path) -> list[Path]:
    place = _located(entry, bases)
    if place is None:
        raise DataError(f"'{file}' names {abridge(entry)}, which is not in '{bases[0]}'; correct path, or its entry.")
    if place.is_dir():
        return find_images([place])
    if place.suffix.lower() != ".txt":
        raise DataError(f"'{file}' names {abridge(entry)}; expected a folder of images or a txt file that lists them.")
    images = []
    for line in read_text(place, most_bytes=200_000_000).splitlines():
        name = line.strip()
        if not name:
            continue
        found = next((path for base in (place.parent, *bases) if is_there(path := base / name)), None)
        if found is None:
            raise DataError(f"'{place}' lists the image {abridge(name)}, which is not there; correct the list.")
        images.append(found)
    if not images:
        raise DataError(f"'{place}' lists no image.")
    return images


def _read_names(content: dict[Any, Any], file: Path) -> list[Category]:
    names, count = content.get("names"), content.get("nc")
    if isinstance(names, str):  # As older versions write it: a file of names.
        place = _located(names, [file.parent])
        names = None if place is None else [line.strip() for line in read_text(place).splitlines() if line.strip()]
    if names is None and type(count) is int and 1 <= count <= _MOST_CLASSES:
        names = [str(number) for number in range(count)]
    if isinstance(names, dict) and names and all(type(key) is int and 0 <= key < _MOST_CLASSES for key in names):
        names = [names.get(number, str(number)) for number in range(max(names) + 1)]
    plain = isinstance(names, list) and all(
        isinstance(name, str | int) and not isinstance(name, bool) for name in names
    )
    if not plain or not names or len(names) > _MOST_CLASSES:
        raise DataError(f"'{file}' must hold names: a list of names of classes, or a name for each number.")
    if count is not None and count != len(names):
        raise DataError(f"'{file}' says nc: {abridge(count)} but gives {len(names)} names; expected the same.")
    return [Category(number, str(name)) for number, name in enumerate(names)]


def _read_keypoints(content: dict[Any, Any], file: Path) -> int | None:
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and 1 <= n <= 1000 for n in shape):
        raise DataError(f"'{file}' must give kpt_shape as two numbers, got {abridge(shape)}.")
    return shape[0] * shape[1]


def _from_folders(root: Path) -> YoloData | None:
    """Images and labels of all parts without a yaml file."""
    parts: dict[SplitRole | None, YoloPart] = {}
    folders = [root / entry.name for entry in list_folder(root) if _is_folder(root, entry.name)]
    roles = {role: folder for folder in folders if (role := role_of_name(folder.name)) is not None}
    candidates: dict[SplitRole | None, list[Path]] = {None: [root / "images", root]}
    for role, folder in roles.items():
        candidates[role] = [folder / "images", folder]
    if (root / "images").is_dir() and (root / "labels").is_dir():
        for entry in list_folder(root / "images"):
            role = role_of_name(entry.name)
            if role is not None and _is_folder(root / "images", entry.name):
                candidates.setdefault(role, []).insert(0, root / "images" / entry.name)
                candidates.pop(None, None)
    for role, places in candidates.items():
        part = next((found for place in places if (found := _labelled(place)) is not None), None)
        if part is not None:
            parts[role] = part
    if len(parts) > 1:
        parts.pop(None, None)
    if not parts:
        return None
    return YoloData(parts, _names_beside(root, parts))


def _is_folder(folder: Path, name: str) -> bool:
    return not is_no_data_folder(name) and (folder / name).is_dir()


def _labelled(folder: Path) -> YoloPart | None:
    """The images of a folder, if one of the first ones with labels has labels of YOLO."""
    if not folder.is_dir():
        return None
    direct = folder.name.casefold() == "images" or folder.parent.name.casefold() == "images"
    if direct:
        try:
            images = find_images([folder])
        except DataError:
            return None
    else:
        images = [folder / e.name for e in list_folder(folder) if Path(e.name).suffix.lower() in IMAGE_EXTENSIONS]
    for image in images:
        lines = first_lines(label_file(image))
        if lines:
            return YoloPart(tuple(images)) if _LINE.match(lines[0]) else None
    return None


def _names_beside(root: Path, parts: dict[SplitRole | None, YoloPart]) -> list[Category]:
    """Classes by a file of names, or by the largest number in the labels."""
    places = [
        root,
        root / "labels",
        *dict.fromkeys(image.parent for part in parts.values() for image in part.images[:1]),
    ]
    for place in places:
        for name in _NAME_FILES:
            if (place / name).is_file():
                lines = [line.strip() for line in read_text(place / name).splitlines() if line.strip()]
                if lines:
                    return [Category(number, line) for number, line in enumerate(lines)]
    largest = -1
    for part in parts.values():
        for image in part.images:
            file = label_file(image)
            if not is_there(file):
                continue
            for line in read_text(file, most_bytes=16_000_000).splitlines():
                word = line.split()[0] if line.split() else "0"
                if not (word.isascii() and word.isdecimal()) or int(word[:9]) >= _MOST_CLASSES:
                    raise DataError(f"'{file}' gives the class {abridge(word)}; expected a whole number from 0 up.")
                largest = max(largest, int(word))
    return [Category(number, str(number)) for number in range(largest + 1)]
