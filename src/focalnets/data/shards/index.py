"""Labelled images in shards: the index that says what lies where, and the shards of others, which have none."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from focalnets.data.finding import natural_key
from focalnets.data.samples import Sample
from focalnets.data.shards.members import ScannedSample, Shard, ShardMember
from focalnets.data.split_names import role_of_shard
from focalnets.errors import DataError, abridged, quoted_list
from focalnets.files import list_of

__all__ = [
    "INDEX_FORMAT",
    "INDEX_NAME",
    "ShardedImages",
    "Side",
    "assemble",
    "expand",
    "is_pattern",
    "place_in_shards",
    "read_index",
]

INDEX_NAME = "index.json"
INDEX_FORMAT = "focalnets shards"

Side = Literal["train", "val", "all"]
"""``all`` = not told apart yet; whoever trains holds some out."""

_RANGE = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")
_COLUMNS = {"members": str, "offsets": int, "sizes": int, "labels": int, "positions": int, "origins": str}
"""What an index says of the images in a shard, one entry for each."""

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
        notes: What of the shards is not used, a line each.
    """

    location: str
    classes: tuple[str, ...] | None
    shards: tuple[Shard, ...]
    sides: Mapping[Side, tuple[Sample, ...]]
    split: str
    origins: Mapping[ShardMember, str]
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; numbers where there are no names."""
        if self.classes is not None:
            return self.classes
        return tuple(map(str, range(1 + max(label for samples in self.sides.values() for _, label in samples))))


def is_pattern(location: str) -> bool:
    """Whether a location holds a range such as ``{000..012}``."""
    return _RANGE.search(location) is not None


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
    """What shards without an index hold, from what was found in each; names with a word for train or val tell."""
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
    roles = [role_of_shard(shard.name) for shard in shards]
    notes: tuple[str, ...] = ()
    if "train" in roles and "val" in roles:
        unused = [shard.name for shard, role in zip(shards, roles, strict=True) if role not in ("train", "val")]
        if unused:
            notes = (f"shards that are not used beside those named train and val: {quoted_list(unused)}",)
    held_out = "val" if "val" in roles else "test"
    sides: dict[Side, list[Sample]] = {}
    origins: dict[ShardMember, str] = {}
    for role, scan in zip(roles, scans, strict=True):
        side: Side = "train" if role == "train" else "val" if role is not None and role == held_out else "all"
        sides.setdefault(side, []).extend((sample.image, index[sample.label]) for sample in scan)
        origins |= {sample.image: sample.image.name_in_shards for sample in scan}
    return ShardedImages(
        location=location,
        classes=classes,
        shards=tuple(shards),
        sides={side: tuple(samples) for side, samples in sides.items()},
        split=f"shards named train and {held_out}",
        origins=origins,
        notes=notes,
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
        if not isinstance(content, dict):
            raise TypeError(f"expected names with values, got a {type(content).__name__}")
        if content["format"] != INDEX_FORMAT or content["version"] != 1:
            raise ValueError(f"format {abridged(content['format'])}, version {abridged(content['version'])}")
        classes = tuple(list_of(str, content["classes"]))
        remote = "://" in location
        placed: dict[Side, list[tuple[int, Sample]]] = {}
        shards: list[Shard] = []
        origins: dict[ShardMember, str] = {}
        for entry in list_of(dict, content["shards"]):
            name, size, side = str(entry["file"]), entry["bytes"], entry["side"]
            if not re.fullmatch(r"[\w][\w.-]*\.tar", name) or side not in ("train", "val", "all"):
                raise ValueError(f"shard {name[:80]!r}, side {str(side)[:80]!r}")
            if type(size) is not int:
                raise TypeError(f"bytes of {name}: {str(size)[:80]!r}")
            shard = Shard(f"{location.rstrip('/')}/{name}{query}", size, str(entry["sha256"]))
            shards.append(shard)
            columns = [list_of(kind, entry[column]) for column, kind in _COLUMNS.items()]
            if len(set(map(len, columns))) > 1:
                raise ValueError(f"its lists about {name} are not of one length")
            for member, offset, length, label, position, origin in zip(*columns, strict=True):
                if not (0 <= label < len(classes) and 0 <= offset <= offset + length <= size):
                    raise ValueError(f"member {member[:80]!r} of {name}")
                image = ShardMember(shard, member, offset, length)
                placed.setdefault(side, []).append((position, (image, label)))
                origins[image] = origin
        if not placed:
            raise ValueError("no image")
        split = str(content["split"])
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)[:200]
        raise DataError(
            f"'{location}/{INDEX_NAME}' is no index that focalnets shard wrote ({reason}); make the shards again."
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
        entries.sort(key=(lambda entry: place_in_shards(entry[1])) if remote else (lambda entry: entry[0]))
        sides[side] = tuple(sample for _, sample in entries)
    return ShardedImages(
        location=location, classes=classes, shards=tuple(shards), sides=sides, split=split, origins=origins
    )


def _refuse_equal_names(location: str, shards: Sequence[Shard]) -> None:
    """Images are told apart by the names of their shard and member."""
    for name, times in Counter(shard.name for shard in shards).items():
        if times > 1:
            raise DataError(f"{times} of the shards '{location}' have the name '{name}'; give each its own name.")


def place_in_shards(sample: Sample) -> tuple[str, int]:
    """Where an image lies: its shard and the offset in it."""
    file = sample[0]
    assert isinstance(file, ShardMember)
    return file.shard.location, file.offset
