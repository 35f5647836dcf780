"""Which annotated images train and which are held out: chosen, written to a file and found again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages
from focalnets.data.annotated.parts import DENSE_TASKS, Parts
from focalnets.data.split_names import SplitRole
from focalnets.errors import DataError

__all__ = ["divided", "fingerprint", "held_out", "named", "read_split", "split_content", "stable_name"]

_SPLIT_FORMAT = "focalnets annotated split"


def held_out(names: Sequence[str], val_fraction: float, seed: int, place: str | Path) -> set[int]:
    """Choose the numbers of the images that are held out, by their names and ``seed`` alone.

    Raises:
        DataError: If there is one image only.
    """
    if len(names) < 2:
        raise DataError(f"'{place}' holds 1 image; expected at least 2, one to train and one to hold out.")
    ranked = sorted(range(len(names)), key=lambda number: _rank(names[number], seed))
    return set(ranked[: min(max(round(len(names) * val_fraction), 1), len(names) - 1)])


def divided(
    parts: Parts, val_fraction: float, seed: int, place: str | Path
) -> tuple[AnnotatedImages, AnnotatedImages, str, list[str]]:
    """Choose what trains and what is held out: as the data tell, ``test`` for ``val`` where there is none.

    Returns:
        The two sides, how they were told apart, and notes on what is not used.

    Raises:
        DataError: If there is one image only.
    """
    measured: SplitRole = "val" if "val" in parts else "test"
    if measured in parts and ("train" in parts or None in parts):
        train = parts["train"] if "train" in parts else parts[None]
        left = measured == "val" and "test" in parts
        notes = [f"{len(parts['test']):,} images for testing are not used"] if left else []
        return train, parts[measured], "as the data tell them apart", notes
    source = next(parts[part] for part in ("train", None, "val", "test") if part in parts)  # type: ignore[index]
    chosen = held_out(source.names, val_fraction, seed, place)
    train = source.subset([number for number in range(len(source)) if number not in chosen])
    return train, source.subset(sorted(chosen)), f"{val_fraction:.0%} held out, seed {seed}", []


def _rank(name: str, seed: int) -> bytes:
    # Some file systems store accents decomposed; the split must not depend on that.
    return hashlib.sha256(f"{seed}/{unicodedata.normalize('NFC', name)}".encode("utf-8", "surrogatepass")).digest()


def stable_name(images: AnnotatedImages, number: int, root: Path | str) -> str:
    """Name an image so that the name stays the same when the data move."""
    if not images.files:
        return images.names[number]
    file, base = images.files[number], Path(root)
    base = base if base.is_dir() else base.parent
    return (file.relative_to(base) if file.is_relative_to(base) else file).as_posix()


def split_content(kind: str, root: Path | str, sides: Sequence[AnnotatedImages], **facts: Any) -> dict[str, Any]:
    """Collect what a file says of a split: which images are on which side, and how the data were opened."""
    return {
        "format": _SPLIT_FORMAT,
        "kind": kind,
        "root": str(root.resolve()) if isinstance(root, Path) else root,
        **facts,
        "train": [stable_name(sides[0], number, root) for number in range(len(sides[0]))],
        "val": [stable_name(sides[1], number, root) for number in range(len(sides[1]))],
    }


def named(parts: Parts, names: Sequence[str], place: str | Path, split: str | Path) -> AnnotatedImages:
    """Take the images of these names out of all parts.

    Raises:
        DataError: If some are gone.
    """
    places: dict[str, tuple[AnnotatedImages, int]] = {}
    for images in parts.values():
        places |= {stable_name(images, number, place): (images, number) for number in range(len(images))}
    gone = [name for name in names if name not in places]
    if gone:
        raise DataError(
            f"{len(gone)} images of the split '{split}' are not in '{place}', the first is '{gone[0]}'; "
            "name the place that holds them or make a new split."
        )
    return _joined([places[name] for name in names])


def _joined(chosen: Sequence[tuple[AnnotatedImages, int]]) -> AnnotatedImages:
    first = chosen[0][0]
    return dataclasses.replace(
        first,
        names=[images.names[number] for images, number in chosen],
        read=_Joined([(images.read, number) for images, number in chosen]),
        files=[images.files[number] for images, number in chosen] if first.files else (),
        counts=None,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Joined:
    """Reads images of several parts."""

    chosen: Sequence[tuple[Any, int]]

    def __call__(self, index: int) -> AnnotatedImage:
        read, number = self.chosen[index]
        return read(number)


def read_split(path: str | Path) -> Mapping[str, Any]:
    """Read the file of a split.

    Raises:
        DataError: If it is missing or none.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != _SPLIT_FORMAT or content["task"] not in DENSE_TASKS:
            raise ValueError(content["format"])
        for key in ("root", "kind", "split"):
            if not isinstance(content[key], str):
                raise ValueError(key)
        for side in ("train", "val"):
            names = content[side]
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise ValueError(side)
        content["reduce_zero_label"] = bool(content["reduce_zero_label"])
    except FileNotFoundError:
        raise DataError(f"there is no split file '{path}'; write one with write_split.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"'{path}' is no split written by write_split ({type(error).__name__}: {error}).") from error
    return content


def fingerprint(sides: Sequence[AnnotatedImages]) -> str:
    """Hash names and sizes of photos and files of annotations."""
    digest = hashlib.sha256()
    for side, images in zip(("train", "val"), sides, strict=True):
        for number, name in enumerate(images.names):
            size = _size_of(images.files[number]) if images.files else 0
            digest.update(f"{side}\t{name}\t{size}\n".encode("utf-8", "surrogatepass"))
        for source in images.sources:
            digest.update(f"{source.name}\t{_size_of(source)}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _size_of(file: Path) -> int:
    """Measure a file in bytes; 0 for one that cannot be reached, e.g. a link that leads in a circle."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
