"""Images annotated in COCO's format for objects: polygons, run lengths of both kinds, and boxes.

Axes: H W height and width [px]. Pixel (row r, column c) has its middle at y = r + 0.5, x = c + 0.5.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages, fitted_mask, read_photo
from focalnets.data.images import exif_orientation, image_header, image_size, open_image_file
from focalnets.errors import DataError

__all__ = ["annotation_mask", "find_coco_file", "open_coco", "polygon_mask"]

_MOST_PIXELS = 200_000_000


def find_coco_file(path: Path) -> Path | None:
    """The json file that is meant by itself or by a folder that holds one, or holds one in ``annotations/``.

    Raises:
        DataError: If a folder holds several.
    """
    if path.is_file():
        return path
    for folder in (path, path / "annotations"):
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        if len(files) > 1:
            raise DataError(f"'{folder}' holds {', '.join(file.name for file in files)}; name one of these files.")
        if files:
            return files[0]
    return None


def open_coco(file: Path, category: str | None = None, images: str | Path | None = None) -> AnnotatedImages:
    """Images of a COCO file that show an object.

    Args:
        file: The json file, with ``images``, ``annotations`` and ``categories``. An annotation without ``segmentation``
            counts with its box. Regions of crowds count as objects.
        category: Name of a category or of a ``supercategory``; None takes all annotations.
        images: Folder of the images; None looks beside the file and in the folders above it, also in ``images/``, in
            the folder that the file's name ends in (``instances_val2017.json``: ``val2017/``) and in both.

    Raises:
        DataError: If the file is no such json, if images are missing or of another size, if there is no such category,
            or if no image shows an object of it.
        ImageError: If the header of an image cannot be read.
    """
    content = _content(file)
    wanted, words = _categories(content, category, file)
    annotations: dict[Any, list[dict[str, Any]]] = collections.defaultdict(list)
    known = {_identity(one) for one in content["images"]}
    for number, one in enumerate(content["annotations"]):
        _check_annotation(one, number, known, file)
        if wanted is None or one.get("category_id") in wanted:
            annotations[one["image_id"]].append(one)
    entries = [one for one in content["images"] if annotations.get(one["id"])]
    if not entries:
        raise DataError(f"No image of '{file}' shows an object{f' of category {category!r}' if category else ''}.")
    folder = _image_folder(file, entries, images)
    for entry in entries:
        _check_image(entry, folder, file)

    def read(index: int) -> AnnotatedImage:
        entry = entries[index]
        path = folder / entry["file_name"]
        image, orientation = read_photo(path)
        width, height = _stated_size(entry) or _stored_size(path)
        mask = np.zeros((height, width), dtype=bool)
        for one in annotations[entry["id"]]:
            mask |= annotation_mask(one, height, width)
        names = (f"image {entry['id']} in '{file}'", f"'{path}'")
        return AnnotatedImage(entry["file_name"], image, fitted_mask(mask, image, orientation, names=names))

    return AnnotatedImages(data=str(file), objects=words, names=[one["file_name"] for one in entries], read=read)


def annotation_mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Where the object of one annotation is, booleans (height, width).

    Several polygons of one object are joined. Without polygons or run lengths the box is filled.

    Raises:
        DataError: If ``segmentation`` or ``bbox`` is not as expected.
    """
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            return _run_length_mask(segmentation, height, width)
        mask = np.zeros((height, width), dtype=bool)
        for points in segmentation or ():
            numbers = np.asarray(points, dtype=np.float64)
            if numbers.ndim != 1 or numbers.size < 6 or numbers.size % 2 or not np.isfinite(numbers).all():
                raise ValueError("a polygon needs an even number of at least six finite numbers")
            mask |= polygon_mask(numbers.reshape(-1, 2), height, width)
        if not segmentation:
            left, top, box_width, box_height = np.asarray(annotation["bbox"], dtype=np.float64).tolist()
            right, bottom = left + box_width, top + box_height
            corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
            if not np.isfinite(corners).all():
                raise ValueError("a box needs finite numbers")
            mask = polygon_mask(corners, height, width)
        return mask
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"Annotation {annotation.get('id')} is not as COCO has it ({reason}); correct or remove it."
        ) from error


def polygon_mask(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels whose middle lies inside a polygon by the even-odd rule.

    Args:
        points: Corners (N, 2) as x, y [px].
        height: Of the mask [px].
        width: Of the mask [px].

    Returns:
        Booleans (height, width).
    """
    # Walking along a row, each edge that is crossed leads in or out: mark the crossings, then count them.
    crossings = np.zeros((height, width + 1), dtype=np.int32)
    for (x, y), (next_x, next_y) in zip(points, np.roll(points, -1, axis=0), strict=True):
        first, last = np.ceil(np.clip(np.sort((y, next_y)) - 0.5, 0, height)).astype(int)
        if last <= first:
            continue
        rows = np.arange(first, last)
        at = x + (rows + 0.5 - y) * ((next_x - x) / (next_y - y))
        crossings[rows, np.ceil(np.clip(at - 0.5, 0, width)).astype(int)] += 1
    return np.cumsum(crossings, axis=1)[:, :width] % 2 == 1


def _run_length_mask(segmentation: dict[str, Any], height: int, width: int) -> np.ndarray:
    counts = segmentation["counts"]
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"its run lengths are for {segmentation['size']}, the image has {[height, width]}")
    runs = np.asarray(_decompressed(counts) if isinstance(counts, str) else counts, dtype=np.int64)
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
        raise ValueError("its run lengths do not cover the image")
    return np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    """COCO's compressed run lengths: 5 bits a letter, lowest first, from the fourth on relative to the last but one."""
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii", errors="strict"):
        bits = letter - 48
        if not 0 <= bits < 64:
            raise ValueError("its compressed run lengths hold letters that do not belong there")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its compressed run lengths end too early")
    return runs


def _content(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' cannot be read ({error}); expected a COCO json file.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{file}' is no json or incomplete ({error}); expected a COCO json file.") from error
    for key in ("images", "annotations"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise DataError(f"'{file}' holds no list '{key}'; expected a COCO json file for objects.")
    if not content["images"]:
        raise DataError(f"'{file}' lists no images.")
    for one in content["images"]:
        if not isinstance(one.get("file_name"), str) or _identity(one) is None:
            raise DataError(f"An image in '{file}' has no file_name or no id; expected both for each.")
    return content


def _identity(entry: dict[str, Any]) -> int | str | None:
    identity = entry.get("id")
    return identity if isinstance(identity, int | str) else None


def _check_annotation(one: dict[str, Any], number: int, known: set[Any], file: Path) -> None:
    identity = one.get("image_id")
    if not isinstance(identity, int | str) or identity not in known:
        raise DataError(f"Annotation {one.get('id', number)} in '{file}' belongs to no image that is listed there.")


def _categories(content: dict[str, Any], category: str | None, file: Path) -> tuple[set[Any] | None, str]:
    """Numbers of the categories that count, None for all, and what they are in words."""
    if category is None:
        return None, "all objects"
    listed = content.get("categories")
    entries = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    meant = category.casefold()
    for key in ("name", "supercategory"):
        chosen = [one for one in entries if str(one.get(key)).casefold() == meant and isinstance(one.get("id"), int)]
        if chosen:
            return {one["id"] for one in chosen}, str(chosen[0][key])
    names = ", ".join(str(one.get("name")) for one in entries)
    raise DataError(f"'{file}' has no category {category!r}; {f'choose from {names}' if names else 'it names none'}.")


def _image_folder(file: Path, entries: Sequence[dict[str, Any]], images: str | Path | None) -> Path:
    if images is not None:
        candidates = [Path(images).expanduser()]
    else:
        split = file.stem.rsplit("_", 1)[-1]
        below = (Path(), Path("images"), Path(split), Path("images") / split)
        candidates = [above / place for above in (file.parent, file.parent.parent) for place in below]
    for folder in candidates:
        if (folder / entries[0]["file_name"]).is_file():
            return folder
    searched = f"'{images}'" if images is not None else f"and around '{file.parent}'"
    raise DataError(
        f"The images of '{file}' are not in {searched}, where '{entries[0]['file_name']}' was looked for; name their "
        "folder."
    )


def _stated_size(entry: dict[str, Any]) -> tuple[int, int] | None:
    """Width and height that the file states."""
    width, height = entry.get("width"), entry.get("height")
    if isinstance(width, int) and isinstance(height, int) and 0 < width * height <= _MOST_PIXELS:
        return width, height
    return None


def _stored_size(path: Path) -> tuple[int, int]:
    """Width and height of the pixels in the file, before EXIF turns them."""
    upright = image_size(path)
    return upright[::-1] if _orientation(path) >= 5 else upright


def _orientation(path: Path) -> int:
    with open_image_file(path) as opened:
        return exif_orientation(image_header(opened, f"'{path}'"))


def _check_image(entry: dict[str, Any], folder: Path, file: Path) -> None:
    path = folder / entry["file_name"]
    if not path.is_file():
        raise DataError(f"'{file}' lists the image '{entry['file_name']}', which is not in '{folder}'.")
    upright, stated = image_size(path), _stated_size(entry)
    if stated is None or stated == upright or (stated == upright[::-1] and _orientation(path) >= 5):
        return
    raise DataError(
        f"'{path}' has {upright[0]} x {upright[1]} pixels but '{file}' says {stated[0]} x {stated[1]}; expected the "
        "same."
    )
