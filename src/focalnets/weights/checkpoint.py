"""Our own format: a safetensors file that says what it is.

The metadata of the file carry, as JSON texts: the network's config, its class names, how images must be prepared, the
dtype that its weights are kept in, and notes of whoever wrote it. Files are written under a temporary name and renamed,
so a crash or a full disk never damages the file that was there.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, ConfigError, UnknownNameError
from focalnets.files import replacing
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.version import __version__
from focalnets.weights.key_maps import OWN_LAYOUT

__all__ = [
    "STORED_DTYPES",
    "Description",
    "describe",
    "load_checkpoint",
    "read_description",
    "save_checkpoint",
    "stored_state",
    "write_safetensors",
]

FORMAT_VERSION = 1
STORED_DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
"""What weights may be kept as in a file; once loaded they are float32 again."""
MAX_METADATA_CHARACTERS = 16 * 2**20

_PREFIX = "focalnets."
_DESCENT = ", descended from "


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """What the metadata of a checkpoint say.

    Attributes:
        config: The network.
        preprocessing: How images must be prepared.
        class_names: One name an output, or None.
        notes: Free texts by name, e.g. epoch and score.
        origin: Where the weights came from, in words.
    """

    config: FocalNetConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    notes: dict[str, str]
    origin: str

    def origin_after(self, path: Path) -> str:
        """Where weights of this description came from, once read from ``path``; names the first origin only."""
        first = self.origin.rpartition(_DESCENT)[2]
        return f"{path}{_DESCENT}{first}" if first else str(path)


def save_checkpoint(
    model: FocalNet,
    path: str | os.PathLike[str],
    *,
    notes: Mapping[str, str] | None = None,
    dtype: str | None = None,
) -> None:
    """Write a network with everything needed to use it again.

    Args:
        model: The network.
        path: File to write or replace; its folder is made if needed.
        notes: Free texts to keep beside the weights.
        dtype: One of :data:`STORED_DTYPES`, see :func:`stored_state`; None keeps that of the network.

    Raises:
        CheckpointError: If a weight is beyond the range of the dtype, or the file cannot be written, e.g. because the
            disk is full; a file of that name is left as it was.
    """
    write_safetensors(stored_state(model, dtype), path, describe(model, notes, dtype))


def stored_state(model: FocalNet, dtype: str | None = None) -> dict[str, Tensor]:
    """The weights of a network as a file keeps them.

    float16 halves a file and rounds each weight by at most 1/2048 of itself (below 0.00006 by at most 3e-8). The
    running statistics of batch normalisation are few, reach far and stay as they are.

    Args:
        model: The network.
        dtype: One of :data:`STORED_DTYPES`; None keeps that of the network.

    Raises:
        UnknownNameError: If there is no such dtype.
        CheckpointError: If a weight is beyond the range of the dtype.
    """
    state = model.state_dict()
    if dtype is None:
        return state
    if dtype not in STORED_DTYPES:
        raise UnknownNameError(f"Weights cannot be kept as {dtype!r}; choose one of {', '.join(STORED_DTYPES)}.")
    stored = dict(state)
    for name, parameter in model.named_parameters():
        stored[name] = parameter.detach().to(STORED_DTYPES[dtype])
    beyond = [name for name, tensor in stored.items() if bool((tensor.isinf() & state[name].isfinite()).any())]
    if beyond:
        raise CheckpointError(
            f"{dtype} reaches to {torch.finfo(STORED_DTYPES[dtype]).max:g} only, and {len(beyond)} of {len(state)} "
            f"tensors hold weights beyond it ({', '.join(beyond[:3])}); keep them as float32."
        )
    return stored


def load_checkpoint(path: str | os.PathLike[str]) -> FocalNet:
    """Read a network that :func:`save_checkpoint` wrote, in float32 on the CPU, in evaluation mode.

    Raises:
        CheckpointError: If the file is missing, damaged, of another kind, or does not fit what it says about itself.
    """
    # Imported here because recognising other layouts builds on this module.
    from focalnets.weights.assembly import assemble
    from focalnets.weights.opening import open_weights

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    opened = open_weights(path)
    description = opened.description
    if description is None or opened.recognition.layout != OWN_LAYOUT:
        raise CheckpointError(f"{path} is no checkpoint of this package; focalnets.load_model reads the other layouts.")
    model = assemble(
        description.config,
        opened.tensors,
        str(path),
        preprocessing=description.preprocessing,
        class_names=description.class_names,
    )
    model.origin = description.origin_after(path)
    return model


def describe(model: FocalNet, notes: Mapping[str, str] | None = None, dtype: str | None = None) -> dict[str, str]:
    """The metadata of a checkpoint of this network, whose weights are kept as ``dtype``; None says nothing about it."""
    texts: dict[str, Any] = {
        "config": model.config.to_dict(),
        "preprocessing": model.preprocessing.to_dict(),
        "class_names": None if model.class_names is None else list(model.class_names),
        "notes": dict(notes or {}),
        "origin": model.origin,
    }
    if dtype is not None:
        texts["stored_dtype"] = dtype
    return {
        "format": "pt",  # transformers refuses safetensors files without it
        f"{_PREFIX}format_version": str(FORMAT_VERSION),
        f"{_PREFIX}version": __version__,
        **{_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in texts.items()},
    }


def read_description(metadata: Mapping[str, str], file: str) -> Description | None:
    """What metadata say, checked; None if they are not from this package.

    Raises:
        CheckpointError: If they are oversized, malformed, of a newer format, name settings that do not exist, or say
            that the network is no FocalNet.
    """
    if "network" in metadata and "class_names" in metadata:  # as focalnets.training.foreign writes them
        raise CheckpointError(
            f"{file} holds {metadata['network'][:60]!r}, trained by `focalnets compare`, which is no FocalNet; it "
            "serves that comparison only."
        )
    version = metadata.get(f"{_PREFIX}format_version")
    if version is None:
        return None
    if not version.isascii() or not version.isdigit() or not 1 <= int(version[:9]) <= FORMAT_VERSION:
        raise CheckpointError(
            f"{file} is of format {version[:20]!r}; this version reads up to {FORMAT_VERSION}: update focalnets."
        )
    if sum(len(key) + len(value) for key, value in metadata.items()) > MAX_METADATA_CHARACTERS:
        raise CheckpointError(
            f"{file} carries metadata of more than {MAX_METADATA_CHARACTERS >> 20} Mi characters; it is refused."
        )
    config = _read_json(metadata, "config", dict, file)
    preprocessing = _read_json(metadata, "preprocessing", dict, file)
    class_names = _read_json(metadata, "class_names", (list, type(None)), file, absent=None)
    notes = _read_json(metadata, "notes", dict, file, absent={})
    origin = _read_json(metadata, "origin", str, file, absent="")
    if not all(isinstance(text, str) for text in (*(class_names or ()), *notes.values())):
        raise CheckpointError(f"{file} is damaged: class names and notes in its metadata must be texts.")
    try:
        _check_types(FocalNetConfig, config)
        _check_types(Preprocessing, preprocessing)
        description = Description(
            config=FocalNetConfig.from_dict(config),
            preprocessing=Preprocessing.from_dict(preprocessing),
            class_names=None if class_names is None else tuple(class_names),
            notes=notes,
            origin=origin,
        )
    except ConfigError as error:
        raise CheckpointError(f"{file} describes a network that this version cannot build: {error}") from error
    outputs = 0 if description.config.pyramid_norms else description.config.num_classes
    if description.class_names is not None and outputs and len(description.class_names) != outputs:
        raise CheckpointError(
            f"{file} names {len(description.class_names)} classes for {outputs} outputs; it is damaged."
        )
    return description


def write_safetensors(tensors: Mapping[str, Tensor], path: str | os.PathLike[str], metadata: dict[str, str]) -> None:
    """Write tensors under a temporary name in the same folder, flush them to the disk, then rename.

    Raises:
        CheckpointError: If writing fails; the temporary file is removed and an older file is untouched.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with replacing(path, durable=True) as temporary:
            temporary.touch()
            usual_mode = temporary.stat().st_mode
            save_file(contents, temporary, metadata)
            temporary.chmod(usual_mode)  # safetensors makes files that only their owner can read
    except (OSError, SafetensorError) as error:
        raise write_failed(path, error) from error


def write_failed(path: Path, error: Exception) -> CheckpointError:
    """The sentence for a file that could not be written."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return CheckpointError(
        f"{path} could not be written ({reason}); what was there before is unchanged: free some space or choose "
        "another folder."
    )


def _read_json(metadata: Mapping[str, str], key: str, kinds: Any, file: str, **default: Any) -> Any:
    text = metadata.get(_PREFIX + key)
    if text is None:
        if "absent" in default:
            return default["absent"]
        raise CheckpointError(f"{file} is damaged: its metadata lack {_PREFIX}{key}.")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged: {_PREFIX}{key} in its metadata is no valid JSON.") from error
    if not isinstance(value, kinds):
        raise CheckpointError(f"{file} is damaged: {_PREFIX}{key} in its metadata is a {type(value).__name__}.")
    return value


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _check_types(cls: type, values: Mapping[str, Any]) -> None:
    for field in dataclasses.fields(cls):
        if field.name not in values:
            continue
        value, model = values[field.name], field.default
        if model is None:
            fits = value is None or _is_number(value)
        elif isinstance(model, tuple):
            fits = isinstance(value, list) and all(map(_is_number, value))
        elif isinstance(model, float):
            fits = _is_number(value)
        else:
            fits = type(value) is type(model)
        if not fits:
            raise ConfigError(f"{field.name} has a value of the wrong type, {str(value)[:60]}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
