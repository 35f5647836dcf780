"""Labelled images in shards: the index that says what lies where, and the shards of others, which have none."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from focalnets.data.class_matching import match_classes
from focalnets.data.image_split import (
    EvaluationFolder,
    ImageFile,
    ImageFolders,
    Sample,
    labelled,
    quoted_list,
    split_by_class,
)
from focalnets.data.images import natural_key
from focalnets.data.shard_files import ScannedSample, Shard, ShardMember, scan_shard
from focalnets.errors import DataError

__all__ = [
    "INDEX_FORMAT",
    "INDEX_NAME",
    "ShardedImages",
    "Side",
    "is_shards",
    "open_evaluation_shards",
    "open_image_shards",
    "open_shards",
]

INDEX_NAME = "index.json"
INDEX_FORMAT = "focalnets shards"

Side = Literal["train", "val", "all"]
"""``all`` = not told apart yet; whoever trains holds some out."""

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardedImages:
    """What a set of shards holds.

    Attributes:
        location: The folder, file, pattern or URL.
        classes: Names of the classes; None if the shards name classes by numbers only.
        shards: The tar files.
        sides: The images of each side with their class. Those of shards on this disk come in the order they had when
            the shards were made; those on a server in the order of the shards, so that each is fetched once.
        split: How the sides were told apart, in words.
        origins: Names that the images had before, relative to their folder.
    """

    location: str
    classes: tuple[str, ...] | None
    shards: tuple[Shard, ...]
    sides: Mapping[Side, tuple[Sample, ...]]
    split: str
    origins: Mapping[ShardMember, str]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; numbers where there are no names."""
        if self.classes is not None:
            return self.classes
        return tuple(map(str, range(1 + max(label for samples in self.sides.values() for _, label in samples))))


def is_shards(data: str | Path) -> bool:
    """Whether this names shards rather than a folder of images: a URL, a pattern, a tar file, or a folder of these."""
    text = str(data)
    if "://" in text or text.startswith("pipe:") or _RANGE.search(text):
        return True
    path = Path(text).expanduser()
    if path.is_dir():
        if (path / INDEX_NAME).is_file():
            return True
        # A tar file that lies beside folders of classes makes no shards of them.
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        return any(entry.suffix == ".tar" for entry in entries) and not any(entry.is_dir() for entry in entries)
    return path.name == INDEX_NAME or path.suffix in (".tar", ".tgz") or ".tar." in path.name


def open_image_shards(location: str | Path, *, val_fraction: float = 0.2, seed: int = 0) -> ImageFolders:
    """Say which images of some shards train a network and which are held out.

    The sides of the shards are taken where they have both; otherwise the same images are held out as would be from the
    folder or table that the shards were made of.

    Raises:
        DataError: If shards are missing, damaged or not as expected, or hold too few classes or images.
        ConfigError: If ``val_fraction`` is out of range.
    """
    found = open_shards(location)
    classes, sides, split = found.class_names, found.sides, found.split
    if not (sides.get("train") and sides.get("val")):
        by_class = _by_class([sample for samples in sides.values() for sample in samples], classes)
        train, val, split = split_by_class(
            by_class,
            place=found.location,
            name_of=lambda file: found.origins[file],  # type: ignore[index]
            val_fraction=val_fraction,
            seed=seed,
        )
        sides = {"train": labelled(train, classes), "val": labelled(val, classes)}
        if found.shards[0].is_remote:
            # As they lie in the shards, so that each is fetched once.
            sides = {side: tuple(sorted(samples, key=_place)) for side, samples in sides.items()}
    present = {label for _, label in sides["train"]}
    if len(present) < 2:
        raise DataError(f"the shards '{found.location}' hold fewer than two classes to train on; expected two or more.")
    alone = sorted({label for _, label in sides["val"]} - present)
    if alone:
        raise DataError(
            f"the shards '{found.location}' hold classes out that they do not train: "
            f"{quoted_list([classes[label] for label in alone])}."
        )
    return ImageFolders(
        root=found.location if found.shards[0].is_remote else Path(found.location),
        classes=classes,
        train=sides["train"],
        val=sides["val"],
        split=split,
        kind="shards",
    )


def open_evaluation_shards(location: str | Path, classes: Sequence[str] | None = None) -> EvaluationFolder:
    """The images of some shards that a network is measured on: those held out, or all where none are.

    Args:
        location: A folder, tar file, pattern or URL.
        classes: Names of the network's classes; labels index into them. None takes the shards' own.

    Raises:
        DataError: If shards are missing, damaged or not as expected, or hold classes that the network does not have.
    """
    found = open_shards(location)
    names = found.class_names
    samples = found.sides.get("val") or tuple(sample for side in found.sides.values() for sample in side)
    if classes is None:
        return EvaluationFolder(root=found.location, classes=names, samples=samples)
    present = sorted({label for _, label in samples})
    if found.classes is None:
        # Numbers count in the network's outputs.
        if present[-1] >= len(classes):
            raise DataError(
                f"the shards '{found.location}' name class {present[-1]}, but the network has {len(classes)} classes."
            )
        return EvaluationFolder(root=found.location, classes=tuple(classes), samples=samples)
    index = match_classes([names[label] for label in present], classes, found.location)
    return EvaluationFolder(
        root=found.location,
        classes=tuple(classes),
        samples=tuple((file, index[names[label]]) for file, label in samples),
    )


def open_shards(location: str | Path) -> ShardedImages:
    """Find what a folder, tar file, pattern (``train-{000000..000012}.tar``) or URL of shards holds.

    An ``index.json`` that ``focalnets shard`` wrote is believed; otherwise the headers of every tar file are read.

    Raises:
        DataError: If shards are missing, damaged or not as expected.
    """
    text = str(location)
    if "://" in text or text.startswith("pipe:"):
        from focalnets.data.remote_shards import open_remote

        return open_remote(text)
    path = Path(text).expanduser()
    if path.name == INDEX_NAME:
        path = path.parent
    if path.is_dir():
        if (path / INDEX_NAME).is_file():
            try:
                content = json.loads((path / INDEX_NAME).read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise DataError(
                    f"'{path / INDEX_NAME}' is no index of shards ({error}); make the shards again."
                ) from error
            return read_index(content, str(path))
        files = sorted((entry for entry in path.iterdir() if entry.suffix == ".tar"), key=lambda f: natural_key(f.name))
        if not files:
            raise DataError(
                f"the folder '{path}' holds no tar file and no {INDEX_NAME}; make shards with focalnets shard."
            )
    elif ".tar." in path.name or path.suffix == ".tgz":
        raise DataError(f"'{path}' is a compressed tar; images can be read where they lie in plain .tar files only.")
    else:
        files = [Path(name) for name in expand(str(path))]
    shards = [Shard(str(file), file.stat().st_size if file.is_file() else None) for file in files]
    return assemble(text, [scan_shard(shard) for shard in shards], shards)


def expand(pattern: str) -> list[str]:
    """The names that a pattern such as ``train-{000..012}.tar`` stands for; zeros in front are kept.

    Raises:
        DataError: If a range counts down or is too long.
    """
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    if not first <= last < first + _MOST_SHARDS:
        raise DataError(f"the range {found[0]} in '{pattern}' must count up, over at most {_MOST_SHARDS:,} shards.")
    width = len(found[1])
    begin, end = pattern[: found.start()], pattern[found.end() :]
    return [name for number in range(first, last + 1) for name in expand(f"{begin}{number:0{width}}{end}")]


def assemble(location: str, scans: Sequence[Sequence[ScannedSample]], shards: Sequence[Shard]) -> ShardedImages:
    """What shards without an index hold, from what was found in each; names beginning train or val tell the sides."""
    _refuse_equal_names(location, shards)
    labels = {sample.label for scan in scans for sample in scan}
    if not labels:
        raise DataError(
            f"the shards '{location}' hold no image with a class; expected KEY.jpg beside KEY.cls or .json."
        )
    classes = None
    if any(isinstance(label, str) for label in labels):
        classes = tuple(sorted({str(label) for label in labels}, key=natural_key))
    index = {label: label if isinstance(label, int) else -1 for label in labels}
    if classes is not None:
        index = {label: classes.index(str(label)) for label in labels}
    sides: dict[Side, list[Sample]] = {}
    origins: dict[ShardMember, str] = {}
    for shard, scan in zip(shards, scans, strict=True):
        side: Side = next((name for name in ("train", "val") if shard.name.startswith(name)), "all")  # type: ignore[assignment]
        sides.setdefault(side, []).extend((sample.image, index[sample.label]) for sample in scan)
        origins |= {sample.image: sample.image.name_in_shards for sample in scan}
    return ShardedImages(
        location=location,
        classes=classes,
        shards=tuple(shards),
        sides={side: tuple(samples) for side, samples in sides.items()},
        split="shards named train and val",
        origins=origins,
    )


def read_index(content: Any, location: str, query: str = "") -> ShardedImages:
    """What an index says.

    Args:
        content: The JSON that ``focalnets shard`` wrote.
        location: The folder or URL that the shards lie in.
        query: What is appended to URLs, e.g. ``?token=...``.

    Raises:
        DataError: If it is no index, contradicts itself, or the shards beside it are missing or of another size.
    """
    try:
        if content["format"] != INDEX_FORMAT or content["version"] != 1:
            raise ValueError(f"format {content['format']!r}, version {content['version']!r}")
        classes = tuple(str(name) for name in content["classes"])
        remote = "://" in location
        placed: dict[Side, list[tuple[int, Sample]]] = {}
        shards: list[Shard] = []
        origins: dict[ShardMember, str] = {}
        for entry in content["shards"]:
            name, size, side = str(entry["file"]), int(entry["bytes"]), entry["side"]
            if not re.fullmatch(r"[\w][\w.-]*\.tar", name) or side not in ("train", "val", "all"):
                raise ValueError(f"shard {name!r}, side {side!r}")
            shard = Shard(f"{location.rstrip('/')}/{name}{query}", size, str(entry["sha256"]))
            shards.append(shard)
            columns = [entry[column] for column in ("members", "offsets", "sizes", "labels", "positions", "origins")]
            for member, offset, length, label, position, origin in zip(*columns, strict=True):
                if not (0 <= int(label) < len(classes) and 0 <= int(offset) <= int(offset) + int(length) <= size):
                    raise ValueError(f"member {member!r} of {name}")
                image = ShardMember(shard, str(member), int(offset), int(length))
                placed.setdefault(side, []).append((int(position), (image, int(label))))
                origins[image] = str(origin)
        if not placed:
            raise ValueError("no image")
        split = str(content["split"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"'{location}/{INDEX_NAME}' is no index that focalnets shard wrote ({type(error).__name__}: {error}); make "
            "the shards again."
        ) from error
    _refuse_equal_names(location, shards)
    if not remote:
        for shard in shards:
            file = Path(shard.location)
            if not file.is_file():
                raise DataError(f"there is no shard '{file}', which {INDEX_NAME} names; fetch or make it again.")
            if file.stat().st_size != shard.size:
                raise DataError(
                    f"the shard '{file}' has {file.stat().st_size:,} bytes, but {INDEX_NAME} says {shard.size:,}; "
                    "fetch or make it again."
                )
    sides = {}
    for side, entries in placed.items():
        entries.sort(key=(lambda entry: _place(entry[1])) if remote else (lambda entry: entry[0]))
        sides[side] = tuple(sample for _, sample in entries)
    return ShardedImages(
        location=location, classes=classes, shards=tuple(shards), sides=sides, split=split, origins=origins
    )


def _refuse_equal_names(location: str, shards: Sequence[Shard]) -> None:
    """Images are told apart by the names of their shard and member."""
    for name, times in Counter(shard.name for shard in shards).items():
        if times > 1:
            raise DataError(f"{times} of the shards '{location}' have the name '{name}'; give each its own name.")


def _place(sample: Sample) -> tuple[str, int]:
    file = sample[0]
    assert isinstance(file, ShardMember)
    return file.shard.location, file.offset


def _by_class(samples: Sequence[Sample], classes: Sequence[str]) -> dict[str, list[ImageFile]]:
    images: dict[str, list[ImageFile]] = {}
    for file, label in sorted(samples, key=lambda sample: sample[1]):
        images.setdefault(classes[label], []).append(file)
    return images
