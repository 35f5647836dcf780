"""Tensors from files, and only tensors: nothing in a file is ever executed."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, kind_of_value
from focalnets.files import read_json
from focalnets.models.fields import printable, shortened
from focalnets.weights.containers import choose_tensors, tensors_below
from focalnets.weights.file_kinds import describe_cut, pickle_protocol, recognise_file
from focalnets.weights.stand_ins import STAND_INS

__all__ = ["RawWeights", "read_json_object", "read_pickle", "read_safetensors", "read_weights"]

PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
_FOLDER_NAMES = (
    "best.safetensors",
    "last.safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_EXECUTABLE = re.compile(
    r"(?:unsupported GLOBAL |Unsupported global: GLOBAL |unrecognized function |but got <class ')"
    r"([\w.<> -]+?)(?:'| was| whose|$)"
)
_PROTOCOL = 2  # of pickle: what torch.save writes and its safe reader knows
_MAX_JSON_BYTES = 64 * 2**20
_MOST_SHARDS = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawWeights:
    """What was read, before anything is known about the network.

    Attributes:
        tensors: By the names in the file.
        metadata: Of a safetensors file; else empty.
        files: The files read, without the descriptions beside them.
        folder: Where descriptions may lie beside the weights.
        notes: What was left out, sentences.
        about: What a training script kept beside the weights under ``meta``: plain values by name.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    files: tuple[Path, ...]
    folder: Path
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def place(self) -> str:
        """The files, for messages."""
        return ", ".join(map(str, self.files[:2])) + (", ..." if len(self.files) > 2 else "")


def read_weights(path: Path, entry: str | None = None) -> RawWeights:
    """Read a weights file, a folder with one, or a folder with shards.

    What a file is shows in its first bytes; how its name ends does not matter.

    Args:
        path: The file or folder.
        entry: Which of several networks in one file, see :func:`focalnets.weights.containers.choose_tensors`.

    Raises:
        CheckpointError: If there are none, or they are damaged, hostile or of an unknown kind.
    """
    if path.is_dir():
        path = _file_in_folder(path)
    if path.name.endswith(".index.json") and path.is_file():
        raw = _read_shards(path)
    elif recognise_file(path) == "safetensors":
        tensors, metadata = read_safetensors(path)
        raw = RawWeights(tensors=tensors, metadata=metadata, files=(path,), folder=path.parent)
    else:
        content = read_pickle(path)
        tensors, notes = choose_tensors(content, path, entry)
        about = content.get("meta") if isinstance(content, Mapping) else None
        return RawWeights(
            tensors=tensors,
            metadata={},
            files=(path,),
            folder=path.parent,
            notes=notes,
            about=about if isinstance(about, Mapping) else {},
        )
    if entry is not None:
        tensors = tensors_below(raw.tensors, entry)
        if not tensors:
            raise CheckpointError(f"{path} has no tensors whose names begin with '{entry}.'.")
        raw = dataclasses.replace(raw, tensors=tensors, metadata={})
    return raw


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a safetensors file; the tensors are mapped, not copied.

    Raises:
        CheckpointError: If the file cannot be read, is truncated or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, OverflowError) as error:
        if (cut := describe_cut(path)) is not None:
            raise CheckpointError(f"{path} is damaged: {cut}.") from error
        raise CheckpointError(f"{path} is damaged or no safetensors file: {_reason(error)}.") from error


def read_pickle(path: Path) -> Any:
    """Read what ``torch.save`` wrote, as far as it is tensors, numbers, texts and containers of them.

    Of what training scripts keep beside the weights, settings are read as plain containers, and dates, paths, numbers
    of NumPy and the like become objects that do nothing, see :mod:`focalnets.weights.stand_ins`.

    Raises:
        CheckpointError: If the file is damaged, or if reading it would execute code.
    """
    try:
        with torch.serialization.safe_globals(STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols of pickle, which are named below
            if path.suffix == ".safetensors":  # torch.load would go by that ending
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch.load meets damaged files with errors of every kind
        if isinstance(error, pickle.UnpicklingError) and (found := _EXECUTABLE.search(str(error))):
            raise CheckpointError(
                f"{path} is refused: besides tensors it holds a Python object whose loading can execute code "
                f"({found[1]}); ask for a safetensors file or one with tensors only, as "
                "torch.save(model.state_dict(), path) writes it."
            ) from error
        if (protocol := pickle_protocol(path)) is not None and protocol > _PROTOCOL:
            raise CheckpointError(
                f"{path} was saved with pickle protocol {protocol}, which cannot be read without executing code; save "
                f"it again with torch.save as it is (protocol {_PROTOCOL}), or as safetensors."
            ) from error
        raise CheckpointError(f"{path} is damaged or no weights file: {_reason(error)}.") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        CheckpointError: If it is oversized, malformed or something else.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise CheckpointError(f"{path} is larger than {_MAX_JSON_BYTES >> 20} MiB; a description is expected.")
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {_reason(error)}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, but what it holds is {kind_of_value(value)}.")
    return value


def _file_in_folder(folder: Path) -> Path:
    for name in _FOLDER_NAMES:
        if (folder / name).is_file():
            return folder / name
    suffixes = (".safetensors", *PICKLE_SUFFIXES)
    files = sorted(file for file in folder.iterdir() if file.suffix in suffixes and not file.name.startswith("."))
    if len(files) == 1:
        return files[0]
    if files:
        raise CheckpointError(
            f"{folder} holds {len(files)} weights files; name one: {', '.join(f.name for f in files)}."
        )
    raise CheckpointError(
        f"{folder} holds no weights; expected {', '.join(_FOLDER_NAMES[:3])} "
        f"or one file that ends in {', '.join(suffixes)}."
    )


def _read_shards(index: Path) -> RawWeights:
    places = read_json_object(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{index} lacks weight_map, which says which file holds which tensor.")
    names = sorted(set(places.values()))
    if len(names) > _MOST_SHARDS:
        raise CheckpointError(f"{index} names {len(names):,} files; at most {_MOST_SHARDS:,} are read.")
    tensors: dict[str, Tensor] = {}
    files = []
    for name in names:
        if not _is_file_name(name):
            raise CheckpointError(f"{index} points to {shortened(name)}, outside its own folder; it is refused.")
        file = index.with_name(name)
        shard = None if name.endswith(".index.json") or file.is_dir() else read_weights(file)
        if shard is None or tensors.keys() & shard.tensors.keys():
            raise CheckpointError(
                f"{index} is inconsistent: {printable(name)} is no shard, or repeats a tensor of another one."
            )
        tensors.update(shard.tensors)
        files.append(index.with_name(name))
    if tensors.keys() != places.keys():
        odd = sorted(tensors.keys() ^ places.keys())
        raise CheckpointError(f"{index} does not agree with its files about {len(odd)} tensors: {shortened(*odd[:5])}.")
    return RawWeights(tensors=tensors, metadata={}, files=tuple(files), folder=index.parent)


def _is_file_name(name: str) -> bool:
    """Whether this names a file in the same folder, as a system can have it."""
    try:
        return 0 < len(os.fsencode(name)) <= 255 and Path(name).name == name != ".." and name.isprintable()
    except UnicodeEncodeError:  # halves of characters
        return False


def _reason(error: BaseException) -> str:
    """Take what an error says of the file, without the advice of PyTorch around it."""
    text = str(error).partition("WeightsUnpickler error: ")[2].strip() or str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
