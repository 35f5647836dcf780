"""Our own format: a safetensors file that says what it is.

The metadata of the file carry, as JSON texts: the network's config, its class names, how images must be prepared, the
dtype that its weights are kept in, and notes of whoever wrote it. Files are written under a temporary name and renamed,
so a crash or a full disk never damages the file that was there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, UnknownNameError, nearest
from focalnets.files import replacing
from focalnets.models.focalnet import FocalNet
from focalnets.version import __version__
from focalnets.weights.description import FORMAT_VERSION, PREFIX

__all__ = [
    "STORED_DTYPES",
    "describe",
    "save_checkpoint",
    "stored_state",
    "write_safetensors",
]
STORED_DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
"""What weights may be kept as in a file; once loaded they are float32 again."""


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
        raise UnknownNameError(f"Weights cannot be kept as {dtype!r}; {nearest(dtype, STORED_DTYPES)}")
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
        f"{PREFIX}format_version": str(FORMAT_VERSION),
        f"{PREFIX}version": __version__,
        **{PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in texts.items()},
    }


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
