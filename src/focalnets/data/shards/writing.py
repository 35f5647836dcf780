"""Writes images into shards: original bytes, each with its class, in tar files that appear when they are whole."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from focalnets.data.samples import ImageFile, Sample, stored_bytes
from focalnets.data.shards.index import INDEX_FORMAT, INDEX_NAME, Side
from focalnets.errors import ConfigError, DataError
from focalnets.files import file_in_the_way, parse_json, replacing, user_path, write_json, write_text

__all__ = ["ShardingResult", "write_shards"]

_PROGRESS_NAME = "unfinished.jsonl"
"""First line: what is written into which files; then a line for each whole shard, its entry for the index."""

_HEADER_BYTES = 512
_SHARD_NAME = re.compile(r"(train|val|images)-\d+\.tar")


@dataclasses.dataclass(frozen=True)
class ShardingResult:
    """What was written.

    Attributes:
        index: The index file.
        shards: Number of tar files, of which ``kept`` were there from a run that had been stopped.
        images: Number of images.
        size: Bytes in all tar files.
    """

    index: Path
    shards: int
    kept: int
    images: int
    size: int


@dataclasses.dataclass(frozen=True)
class _Planned:
    """A shard to write: its name, side, and the place of each of its images in that side."""

    name: str
    side: Side
    positions: list[int]


def write_shards(
    sides: Mapping[Side, Sequence[Sample]],
    classes: Sequence[str],
    output: str | Path,
    *,
    name_of: Callable[[ImageFile], str],
    split: str,
    samples_per_shard: int = 10_000,
    max_bytes: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ShardingResult:
    """Write the images of each side into tar files and an index of all.

    Images that train are shuffled by ``seed``, those held out keep their order. Stopped and called again with the same
    images and settings, it goes on after the last whole shard.

    Args:
        sides: Images with their class; "all" for those not told apart.
        classes: Names of the classes.
        output: Folder for the shards, made if needed.
        name_of: Gives the name of an image that the index remembers.
        split: How the sides were told apart, in words.
        samples_per_shard: Images in a shard, at most.
        max_bytes: Bytes in a shard, at most; an image larger than that is alone in its shard. None for no limit.
        seed: Chooses the order.
        overwrite: Replace shards of other images or settings that are already there. Only files that an index lists
            which this function wrote are ever removed or replaced.
        on_progress: Called with the number of images done.

    Raises:
        DataError: If the output holds other shards or files of the names to be written, or an image cannot be read or
            changes meanwhile.
        ConfigError: If a number is out of range.
    """
    for name, value, least in (("samples_per_shard", samples_per_shard, 1), ("max_bytes", max_bytes or 10_240, 10_240)):
        if value < least:
            raise ConfigError(f"{name} must be a whole number from {least:,} up, got {value}.")
    output = user_path(output)
    in_the_way = file_in_the_way(output)
    if in_the_way is not None:
        raise DataError(f"the output '{output}' cannot be made, because '{in_the_way}' is a file; name a folder.")
    sizes = {side: _sizes(samples) for side, samples in sides.items()}
    plan = [
        shard for side in sides for shard in _plan(side, sizes[side], samples_per_shard, max_bytes or 1 << 62, seed)
    ]
    identity = _identity(plan, sides, sizes, classes, name_of)
    finished = _finished(output, identity, [shard.name for shard in plan], overwrite)
    kept, done, entries = len(finished), 0, []
    progress = output / _PROGRESS_NAME
    if kept < len(plan):
        names = [shard.name for shard in plan]
        known = [{"identity": identity, "planned": names}, *finished.values()]
        write_text(progress, "".join(f"{json.dumps(line)}\n" for line in known), durable=True)
    for shard in plan:
        entry = finished.get(shard.name)
        if entry is None:
            samples = sides[shard.side]
            entry = _write(output / shard.name, shard, samples, name_of)
            with progress.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(entry)}\n")
                file.flush()
                os.fsync(file.fileno())
        entries.append(entry)
        done += len(shard.positions)
        if on_progress is not None:
            on_progress(done)
    content = {
        "format": INDEX_FORMAT,
        "version": 1,
        "identity": identity,
        "split": split,
        "images": done,
        "images_per_class": _images_per_class(sides, classes),
        "classes": list(classes),
        "shards": entries,
    }
    write_json(output / INDEX_NAME, content, durable=True)
    progress.unlink(missing_ok=True)
    size = sum(entry["bytes"] for entry in entries)
    return ShardingResult(output / INDEX_NAME, len(plan), kept, done, size)


def _sizes(samples: Sequence[Sample]) -> list[int]:
    try:
        return [stored_bytes(file) for file, _ in samples]
    except OSError as error:
        raise DataError(f"the image '{error.filename}' cannot be read ({error.strerror}).") from error


def _plan(side: Side, sizes: Sequence[int], samples_per_shard: int, max_bytes: int, seed: int) -> list[_Planned]:
    order = range(len(sizes)) if side == "val" else np.random.default_rng(seed).permutation(len(sizes)).tolist()
    groups: list[list[int]] = []
    # A tar file ends with two empty blocks and zeros up to a multiple of 10 KiB.
    empty = filled = tarfile.RECORDSIZE + 2 * tarfile.BLOCKSIZE
    for position in order:
        needed = 3 * _HEADER_BYTES + _padded(sizes[position])
        if not groups or len(groups[-1]) == samples_per_shard or filled + needed > max_bytes:
            groups.append([])
            filled = empty
        groups[-1].append(position)
        filled += needed
    name = "images" if side == "all" else side
    return [_Planned(f"{name}-{number:06}.tar", side, group) for number, group in enumerate(groups)]


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _identity(
    plan: Sequence[_Planned],
    sides: Mapping[Side, Sequence[Sample]],
    sizes: Mapping[Side, Sequence[int]],
    classes: Sequence[str],
    name_of: Callable[[ImageFile], str],
) -> str:
    """Differs where other shards would be written."""
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for shard in plan:
        digest.update(f"{shard.name}\n".encode())
        for position in shard.positions:
            file, label = sides[shard.side][position]
            line = f"{position}\t{label}\t{sizes[shard.side][position]}\t{name_of(file)}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _finished(output: Path, identity: str, planned: Sequence[str], overwrite: bool) -> dict[str, Any]:
    """Index entries of the shards that an earlier, stopped run left whole, after removing those of other runs."""
    ours = set()
    for name in (_PROGRESS_NAME, INDEX_NAME):
        try:
            text = (output / name).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(
                f"the output '{output / name}' cannot be read ({error.strerror}); name another folder."
            ) from error
        except ValueError as error:
            raise _not_ours(output, name) from error
        content = _read_progress(text) if name == _PROGRESS_NAME else _read_own_index(text)
        if content is None:
            raise _not_ours(output, name)
        finished = {entry["file"]: entry for entry in content["shards"]}
        if content["identity"] == identity:
            return {file: entry for file, entry in finished.items() if _is_whole(output / file, entry["bytes"])}
        if not overwrite:
            raise DataError(
                f"the folder '{output}' already holds shards of other images or settings; replace them with "
                "--overwrite, or name another folder."
            )
        ours |= {name, *finished, *content.get("planned", ())}
    there = sorted(file.name for file in output.glob("*.tar")) if output.is_dir() else []
    others = [file for file in there if file not in ours and (file in planned or not ours)]
    if others:
        raise _not_ours(output, others[0])
    for file in sorted(ours):
        (output / file).unlink(missing_ok=True)
    return {}


def _not_ours(output: Path, name: str) -> DataError:
    return DataError(
        f"the folder '{output}' already holds '{name}', which focalnets shard did not write; name another folder, or "
        "remove it yourself."
    )


def _read_own_index(text: str) -> dict[str, Any] | None:
    """The content of an index; None if it is none that was written here."""
    try:
        content = parse_json(text)
        if content["format"] != INDEX_FORMAT or not isinstance(content["identity"], str):
            return None
        return content if all(map(_is_entry, content["shards"])) else None
    except (ValueError, KeyError, TypeError):
        return None


def _is_entry(entry: Any) -> bool:
    """Whether this describes a shard in the same folder."""
    name = entry["file"]
    return bool(_SHARD_NAME.fullmatch(name)) and isinstance(entry["bytes"], int)


def _read_progress(text: str) -> dict[str, Any] | None:
    """The identity and entries that the file of finished shards notes, named as in the index; None if it is another."""
    first, *lines = text.splitlines() or [""]
    entries = []
    for line in lines:
        # A line cut off by a stop: its shard is written again.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = parse_json(line)
            if _is_entry(entry):
                entries.append(entry)
    try:
        begun = parse_json(first)
        identity, planned = begun["identity"], begun.get("planned", [])
        # A shard that was just finished when the run was stopped may not be listed yet.
        planned = [name for name in planned if _SHARD_NAME.fullmatch(name)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return {"identity": identity, "planned": planned, "shards": entries} if isinstance(identity, str) else None


def _is_whole(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def _write(
    path: Path, shard: _Planned, samples: Sequence[Sample], name_of: Callable[[ImageFile], str]
) -> dict[str, Any]:
    """Write one tar file; return its entry for the index."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("members", "offsets", "sizes", "labels", "positions", "origins")
    }
    with replacing(path, durable=True) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for position in shard.positions:
                file, label = samples[position]
                try:
                    data = file.read_bytes()
                except OSError as error:
                    raise DataError(f"the image '{file}' cannot be read ({error.strerror}).") from error
                key = f"{position:08}"
                suffix = PurePosixPath(file.name).suffix.lower() or ".jpg"
                _add(tar, f"{key}{suffix}", data)
                row = (f"{key}{suffix}", tar.offset - _padded(len(data)), len(data), label, position, name_of(file))
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
                _add(tar, f"{key}.cls", str(label).encode())
        with temporary.open("rb") as written:
            digest = _sha256(written)
        size = temporary.stat().st_size
    return {"file": path.name, "side": shard.side, "bytes": size, "sha256": digest, **columns}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    # The same images make the same bytes: neither time nor owner is noted.
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _images_per_class(sides: Mapping[Side, Sequence[Sample]], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    counts = {side: [0] * len(classes) for side in sides}
    for side, samples in sides.items():
        for _, label in samples:
            counts[side][label] += 1
    return {side: dict(zip(classes, numbers, strict=True)) for side, numbers in counts.items()}
