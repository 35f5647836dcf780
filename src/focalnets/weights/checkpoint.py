"""Our own format: a safetensors file that says what it is.

What its metadata carry is written and read in :mod:`focalnets.weights.description`. Files are written under a temporary
name and renamed, so a crash or a full disk never damages the file that was there. A network that a file could not give
back is refused before anything is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from focalnets.errors import CheckpointError, ConfigError, UnknownNameError, nearest
from focalnets.files import replacing
from focalnets.models.config import FocalNetConfig, Preprocessing, SeriesInput, TextInput
from focalnets.models.focalnet import FocalNet
from focalnets.models.network_configs import NetworkConfig
from focalnets.version import __version__
from focalnets.weights.assembly import find_misfits, refuse_fewer_numbers
from focalnets.weights.description import CLASSIFY, STORED_DTYPE_NAMES, Description, classifier_head, json_metadata
from focalnets.weights.key_maps import blank_network

__all__ = [
    "STORED_DTYPES",
    "describe",
    "describe_foreign",
    "save_checkpoint",
    "stored_state",
    "write_safetensors",
]
STORED_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in STORED_DTYPE_NAMES}
"""What weights may be kept as in a file; once loaded they are float32 again."""

_COMPILED = "_orig_mod."


def save_checkpoint(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    notes: Mapping[str, str] | None = None,
    dtype: str | None = None,
    task: str = CLASSIFY,
    head: Mapping[str, Any] | None = None,
) -> None:
    """Write a network with everything needed to use it again.

    Args:
        model: A FocalNet, or the network of another task, see :func:`describe`. What ``torch.compile``, data-parallel
            training or a moving average wrapped around it is left out.
        path: File to write or replace; its folder is made if needed.
        notes: Free texts to keep beside the weights.
        dtype: One of :data:`STORED_DTYPES`, see :func:`stored_state`; None keeps that of the network.
        task: What the network does.
        head: What stands on the backbone; None for a FocalNet's own classifier.

    Raises:
        CheckpointError: If the tensors do not fit what the network says of itself, e.g. after its classifier was
            replaced by hand; if a weight is not finite, not dense or beyond the range of the dtype; or if the file
            cannot be written, e.g. because the disk is full. A file of that name is left as it was.
    """
    state = stored_state(model, dtype)
    try:
        metadata = describe(model, notes, dtype, task=task, head=head)
    except ConfigError as error:
        raise CheckpointError(f"{path} was not written: {error}") from error
    if not _is_classifier(model, task):
        network: Any = unwrapped(model)
        refuse_fewer_numbers(network.config, network.preprocessing, state, str(path))
    write_safetensors(state, path, metadata)


def stored_state(model: nn.Module, dtype: str | None = None) -> dict[str, Tensor]:
    """Check the weights of a network, and return them as a file keeps them.

    float16 halves a file and rounds each weight by at most 1/2048 of itself (below 0.00006 by at most 3e-8). The
    running statistics of batch normalisation are few, reach far and stay as they are.

    Args:
        model: The network.
        dtype: One of :data:`STORED_DTYPES`; None keeps that of the network.

    Raises:
        UnknownNameError: If there is no such dtype.
        CheckpointError: If the tensors do not fit the network's config or labels, or a weight is not finite, not dense
            or beyond the range of the dtype.
    """
    if dtype is not None and dtype not in STORED_DTYPES:
        raise UnknownNameError(f"Weights cannot be kept as {dtype!r}; {nearest(dtype, STORED_DTYPES)}")
    model = unwrapped(model)
    state = {name.replace(_COMPILED, ""): tensor for name, tensor in model.state_dict().items()}
    _refuse_unreadable(state)
    if isinstance(model, FocalNet):
        _refuse_misfit(model, state)
    if dtype is None:
        return state
    stored = dict(state)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        stored[name.replace(_COMPILED, "")] = parameter.detach().to(STORED_DTYPES[dtype])
    beyond = [name for name, tensor in stored.items() if bool((tensor.isinf() & state[name].isfinite()).any())]
    if beyond:
        raise CheckpointError(
            f"{dtype} reaches to {torch.finfo(STORED_DTYPES[dtype]).max:g} only, and {len(beyond)} of {len(state)} "
            f"tensors hold weights beyond it ({', '.join(beyond[:3])}); keep them as float32."
        )
    return stored


def describe(
    model: nn.Module,
    notes: Mapping[str, str] | None = None,
    dtype: str | None = None,
    *,
    task: str = CLASSIFY,
    head: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Write the metadata of a checkpoint of this network.

    Args:
        model: A FocalNet, or a module that carries ``config`` (the FocalNetConfig of its backbone), ``preprocessing``
            (its input: an image, a clip, a text or a series), ``class_names`` (labels or None) and ``origin`` (a text).
        notes: Free texts to keep beside the weights.
        dtype: What the weights are kept as; None says nothing about it.
        task: What the network does, e.g. ``classify``.
        head: What stands on the backbone, as plain JSON values with a ``kind``; ``outputs`` counts what it tells apart.
            None means the linear classifier of a FocalNet.

    Raises:
        ConfigError: If the module lacks one of these, or what it says contradicts itself.
    """
    model = unwrapped(model)
    name = type(model).__name__
    absent = [key for key in ("config", "preprocessing", "class_names", "origin") if not hasattr(model, key)]
    if absent:
        raise ConfigError(
            f"a network in a checkpoint says what it is by the attributes config, preprocessing, class_names and "
            f"origin; {name} lacks {', '.join(absent)}."
        )
    config: Any = model.config
    spec: Any = model.preprocessing
    labels: Any = model.class_names
    if not isinstance(config, NetworkConfig) or not isinstance(spec, Preprocessing | TextInput | SeriesInput):
        raise ConfigError(
            f"config must be that of a network and preprocessing an image, clip, text or series input, got "
            f"{type(config).__name__} and {type(spec).__name__} in {name}."
        )
    if head is None:
        if not _is_classifier(model, task):
            raise ConfigError(
                f"it is not known what stands on the backbone of {name} for the task {task!r}: give head, such as "
                '{"kind": "linear", "outputs": 10}.'
            )
        assert isinstance(config, FocalNetConfig)
        head = classifier_head(config, getattr(model, "threshold", None))
    return Description(
        task=task,
        config=config,
        head=dict(head),
        input=spec,
        labels=None if labels is None else tuple(labels),
        notes=dict(notes or {}),
        origin=str(model.origin),
        stored_dtype=dtype,
        version=__version__,
    ).to_metadata()


def describe_foreign(name: str, class_names: Sequence[str], notes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Write the metadata of a network of another make; no FocalNet is read from a file with them.

    Args:
        name: The network, as users name it.
        class_names: Names of its outputs.
        notes: Free texts to keep beside the weights.
    """
    return {"format": "pt", "network": name, "class_names": json_metadata(list(class_names)), **dict(notes or {})}


def unwrapped(model: nn.Module) -> nn.Module:
    """Take off what torch.compile, data-parallel training or a moving average wrapped around a network."""
    wrappers = nn.parallel.DistributedDataParallel | nn.DataParallel | AveragedModel
    while True:
        if isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        elif isinstance(model, wrappers):
            model = model.module
        else:
            return model


def _is_classifier(model: nn.Module, task: str) -> bool:
    return task == CLASSIFY and isinstance(unwrapped(model), FocalNet)


def _refuse_unreadable(state: Mapping[str, Any]) -> None:
    """Refuse tensors that no file gives back: not dense, without numbers, not finite."""
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"The network keeps {name} as a {type(tensor).__name__}; a checkpoint holds dense tensors only."
            )
        if tensor.is_quantized:
            raise CheckpointError(
                f"The network keeps {name} quantised ({tensor.dtype}); a checkpoint holds plain numbers: save the "
                "network as it was before it was quantised."
            )
        if tensor.layout != torch.strided:
            raise CheckpointError(
                f"The network keeps {name} as a sparse tensor ({tensor.layout}); a checkpoint holds dense ones: "
                "replace it by its to_dense()."
            )
        if tensor.is_meta:
            raise CheckpointError(f"The network holds no numbers for {name} (it is on the device meta).")
        if tensor.is_complex():
            raise CheckpointError(f"The network keeps {name} as {tensor.dtype}; a checkpoint holds real numbers.")
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{len(broken)} of {len(state)} tensors hold NaN or infinite numbers ({', '.join(broken[:3])}); the "
            "training diverged, so nothing was written: go back to weights from before."
        )


def _refuse_misfit(model: FocalNet, state: Mapping[str, Tensor]) -> None:
    """Refuse a FocalNet whose tensors are not those of its config, or whose names are of another classifier."""
    config = model.config
    outputs = 0 if config.pyramid_norms else config.num_classes
    blank = blank_network(config).state_dict()
    misfits = find_misfits({name: tuple(tensor.shape) for name, tensor in blank.items()}, state)
    names = {name for listed in misfits.values() for name in listed}
    if names and all(name.startswith("head.") for name in names):
        raise CheckpointError(
            f"The classifier is not the one that the network's config says, a linear layer with {outputs} outputs: it "
            f"was replaced by hand ({_listed(misfits)}). Call model.reset_classifier(classes, class_names), which "
            "changes both, and load the weights of yours into model.head."
        )
    if names:
        raise CheckpointError(
            f"The tensors are not those of the network that its config says, so no file could give it back "
            f"({_listed(misfits)}); build a FocalNet with the config that you mean and load the tensors into it."
        )
    whole = [name for name, tensor in blank.items() if tensor.is_floating_point() > state[name].is_floating_point()]
    if whole:
        raise CheckpointError(
            f"The network keeps {whole[0]} as {state[whole[0]].dtype}; floating-point numbers are expected."
        )
    if outputs and model.class_names is not None and len(model.class_names) != outputs:
        raise CheckpointError(
            f"The network has {len(model.class_names)} class names for {outputs} outputs; set model.class_names to "
            "one name for each output, or to None."
        )
    if outputs and not model.names_fit_head():
        raise CheckpointError(
            "The classifier was replaced by hand after the class names were set, so the names may be those of the "
            "old one; set model.class_names once more for the new one, to None if they are not known, or call "
            "model.reset_classifier(classes, class_names) in place of assigning model.head."
        )


def _listed(misfits: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in misfits.items())


def write_safetensors(tensors: Mapping[str, Tensor], path: str | os.PathLike[str], metadata: dict[str, str]) -> None:
    """Write tensors under a temporary name in the same folder, flush them to the disk, then rename.

    Tensors that share memory are written once for each name.

    Raises:
        CheckpointError: If writing fails; the temporary file is removed and an older file is untouched.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    contents: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        kept = tensor.detach().cpu().contiguous()
        place = kept.untyped_storage().data_ptr()
        contents[name] = kept.clone() if place in seen else kept
        seen.add(place)
    try:
        with replacing(path, durable=True) as temporary:
            temporary.touch()
            usual_mode = temporary.stat().st_mode
            save_file(contents, temporary, metadata)
            temporary.chmod(usual_mode)  # safetensors makes files that only their owner can read
    except (OSError, SafetensorError) as error:
        raise write_failed(path, error) from error


def write_failed(path: Path, error: Exception) -> CheckpointError:
    """Say in one sentence that a file could not be written."""
    number = re.search(r"\(os error (\d+)\)", str(error))  # as safetensors reports the system's errors
    reason = os.strerror(int(number[1])) if number else getattr(error, "strerror", None) or str(error)
    return CheckpointError(
        f"{path} could not be written ({reason}); what was there before is unchanged: free some space or choose "
        "another folder."
    )
