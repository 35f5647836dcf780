"""Tensors from files, and only tensors: nothing in a file is ever executed."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError

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
_CONTAINERS = ("state_dict_ema", "model_ema", "model", "state_dict")
_SETTINGS: list[Any] = [argparse.Namespace, (collections.OrderedDict, "yacs.config.CfgNode")]
"""Settings objects that training scripts save beside the weights; a plain container stands for yacs."""
_EXECUTABLE = re.compile(
    r"(?:unsupported GLOBAL |Unsupported global: GLOBAL |unrecognized function |but got <class ')"
    r"([\w.<> -]+?)(?:'| was| whose|$)"
)
_MAX_JSON_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawWeights:
    """What was read, before anything is known about the network.

    Attributes:
        tensors: By the names in the file.
        metadata: Of a safetensors file; else empty.
        files: The files read, without the descriptions beside them.
        folder: Where descriptions may lie beside the weights.
        notes: What was left out, sentences.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    files: tuple[Path, ...]
    folder: Path
    notes: tuple[str, ...] = ()


def read_weights(path: Path) -> RawWeights:
    """Read a weights file, a folder with one, or a folder with shards.

    Raises:
        CheckpointError: If there are none, or they are damaged, hostile or of an unknown kind.
    """
    if path.is_dir():
        path = _file_in_folder(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    if path.suffix == ".safetensors":
        tensors, metadata = read_safetensors(path)
        return RawWeights(tensors=tensors, metadata=metadata, files=(path,), folder=path.parent)
    content = read_pickle(path)
    tensors, notes = _tensors_within(content, path)
    return RawWeights(tensors=tensors, metadata={}, files=(path,), folder=path.parent, notes=notes)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a safetensors file; the tensors are mapped, not copied.

    Raises:
        CheckpointError: If the file is missing, empty, truncated or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    _check_not_empty(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {_first_line(error)}.") from error


def read_pickle(path: Path) -> Any:
    """Read what ``torch.save`` wrote, as far as it is tensors, numbers, texts and containers of them.

    Settings objects that training scripts keep beside the weights are read as inert containers.

    Raises:
        CheckpointError: If the file is missing, empty or damaged, or if reading it would execute code.
    """
    _check_not_empty(path)
    try:
        with torch.serialization.safe_globals(_SETTINGS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch.load meets damaged files with errors of every kind
        if isinstance(error, pickle.UnpicklingError) and (named := _EXECUTABLE.search(str(error))):
            raise CheckpointError(
                f"{path} is refused: besides tensors it holds a Python object whose loading can execute code "
                f"({named[1]}); ask for a safetensors file or one with tensors only."
            ) from error
        raise CheckpointError(f"{path} is damaged or no weights file: {_first_line(error)}.") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        CheckpointError: If it is oversized, malformed or something else.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise CheckpointError(f"{path} is larger than {_MAX_JSON_BYTES >> 20} MiB; a description is expected.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {_first_line(error)}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got a {type(value).__name__}.")
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
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{index} lacks weight_map, which says which file holds which tensor.")
    tensors: dict[str, Tensor] = {}
    files = []
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            raise CheckpointError(f"{index} points to {name!r}, outside its own folder; it is refused.")
        shard = read_weights(index.with_name(name)) if not name.endswith(".index.json") else None
        if shard is None or tensors.keys() & shard.tensors.keys():
            raise CheckpointError(f"{index} is inconsistent: {name} is no shard, or repeats a tensor of another one.")
        tensors.update(shard.tensors)
        files.append(index.with_name(name))
    if tensors.keys() != places.keys():
        odd = sorted(tensors.keys() ^ places.keys())
        raise CheckpointError(f"{index} does not agree with its files about {len(odd)} tensors: {', '.join(odd[:5])}.")
    return RawWeights(tensors=tensors, metadata={}, files=tuple(files), folder=index.parent)


def _tensors_within(content: Any, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict in what a training script saved, and a note about what else was there."""
    notes = []
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            others = sorted(str(other) for other in content if other != key)
            if others:
                notes.append(f"Of the entries of {path.name}, {key!r} was used and not {', '.join(others)}.")
            content = content[key]
            break
    tensors = (
        {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise CheckpointError(f"{path} holds no named tensors; a state dict is expected.")
    left = [str(name) for name in content if name not in tensors]
    if left:
        notes.append(f"{len(left)} entries that are no tensors were left out: {', '.join(left[:5])}.")
    return tensors, tuple(notes)


def _check_not_empty(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty; it was probably not completely written or downloaded.")


def _first_line(error: BaseException) -> str:
    text = str(error).partition("WeightsUnpickler error: ")[2].strip() or str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:200]
