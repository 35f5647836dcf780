"""Writing a network in another layout, with the descriptions that its readers need.

What a layout cannot express is refused before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, UnknownNameError, nearest
from focalnets.files import replacing, write_json
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.models.variants import VARIANTS
from focalnets.weights.checkpoint import describe, save_checkpoint, stored_state, write_failed, write_safetensors
from focalnets.weights.companions import timm_settings, transformers_settings
from focalnets.weights.key_maps import LAYOUTS, OWN_LAYOUT, to_layout

__all__ = ["FILE_SUFFIXES", "TARGETS", "save_in_layout", "why_inexpressible", "write_pickle"]

TARGETS = (OWN_LAYOUT, *LAYOUTS)
"""Layouts that can be written."""

_PICKLED = (".pth", ".pt", ".bin")
FILE_SUFFIXES = (".safetensors", *_PICKLED)
"""What a destination ends in that is a file; all others are folders."""

_WIDE = (
    "depths",
    "embed_dim",
    "focal_levels",
    "focal_windows",
    "use_post_norm",
    "use_overlap_down",
    "layerscale_value",
)
_TIMM_FIXED: dict[str, tuple[str, ...]] = {
    **{f"focalnet_{size}_srf": ("depths", "embed_dim") for size in ("tiny", "small", "base")},
    **{f"focalnet_{size}_lrf": ("depths", "embed_dim", "focal_levels") for size in ("tiny", "small", "base")},
    **{f"focalnet_{size}_fl3": _WIDE for size in ("large", "xlarge")},
    **{f"focalnet_{size}_fl4": tuple(set(_WIDE) - {"focal_windows"}) for size in ("large", "xlarge")},
    "focalnet_huge_fl3": (*_WIDE, "use_post_norm_in_modulation"),
    "focalnet_huge_fl4": tuple({*_WIDE, "use_post_norm_in_modulation"} - {"focal_windows"}),
}
"""timm's networks, and the arguments that each of them fixes; the others can be given beside the name."""

_TIMM_DEFAULTS = timm_settings(FocalNetConfig(drop_path=0.1))


def save_in_layout(
    model: FocalNet,
    destination: str | os.PathLike[str],
    layout: str,
    *,
    dtype: str | None = None,
    notes: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a network in a layout.

    Args:
        model: The network.
        destination: A file that ends in .safetensors, .pth, .pt or .bin, or, for timm and transformers, a folder with
            weights and descriptions. Our own layout is safetensors only, transformers a folder only.
        layout: One of :data:`TARGETS`.
        dtype: What the weights are kept as, see :func:`focalnets.weights.checkpoint.stored_state`.
        notes: Free texts to keep in the metadata of safetensors files.

    Returns:
        The files written.

    Raises:
        UnknownNameError: If there is no such layout or dtype.
        CheckpointError: If the layout cannot express the network, the dtype not its weights, or writing fails; then
            nothing was written.
    """
    if layout not in TARGETS:
        raise UnknownNameError(f"There is no layout {layout!r}; {nearest(layout, TARGETS)}")
    path = Path(destination)
    suffix = path.suffix if path.suffix in FILE_SUFFIXES else ""
    reason = why_inexpressible(layout, model.config, suffix=suffix)
    if reason is not None:
        raise CheckpointError(f"This network cannot be written to {path} in the {layout} layout: {reason}")
    if layout == OWN_LAYOUT:
        save_checkpoint(model, path, notes=notes, dtype=dtype)
        return [path]
    state = stored_state(model, dtype)
    tensors = to_layout(layout, state, post_norm=model.config.post_norm)
    assert len(tensors) == len(state), "a rule is missing for a network that the layout can express"
    if suffix in _PICKLED:
        write_pickle({"model": tensors} if layout == "official" else tensors, path)
        return [path]
    if suffix:
        write_safetensors(tensors, path, describe(model, notes, dtype))
        return [path]
    write_safetensors(tensors, path / "model.safetensors", describe(model, notes, dtype))
    files = [path / "model.safetensors"]
    for name, content in _descriptions(layout, model, dtype).items():
        _write_description(content, path / name)
        files.append(path / name)
    return files


def why_inexpressible(layout: str, config: FocalNetConfig, *, suffix: str) -> str | None:
    """Say why a layout cannot hold a network of this config, in one sentence, or None if it can.

    Args:
        layout: One of :data:`TARGETS`.
        config: The network.
        suffix: Of the file to write; empty for a folder.
    """
    if layout == OWN_LAYOUT:
        return None if suffix == ".safetensors" else "our own layout is one file that ends in .safetensors."
    if config.stem == "convolutional":
        return "it has no place for a convolutional stem."
    if config.downsampling == "double":
        return "it has no place for two convolutions between stages."
    if config.stem == "overlapped" and config.stem_padding != (3 if config.pyramid_norms else 2):
        return f"its overlapped stem is padded otherwise than stem_padding={config.stem_padding} there."
    if layout == "official":
        return None if suffix else "it is one file; end the name in .pth or .safetensors."
    if config.pyramid_norms:
        return "it has no place for the norms of a dense backbone; the official layout has."
    if layout == "transformers":
        return "its config.json is needed beside the weights; give a folder." if suffix else None
    if config.patch_size != 4:
        return f"its patches have 4 px, these have {config.patch_size}."
    if suffix and config.normalize_modulator:
        return "a file without config.json cannot say normalize_modulator=True; give a folder."
    if not suffix and _timm_name(config) is None:
        return "timm has no network of these depths and channels that its config.json could name; write one file."
    return None


def _timm_name(config: FocalNetConfig) -> tuple[str, dict[str, Any]] | None:
    """Find timm's name for a network and the arguments to give beside it."""
    settings = timm_settings(config)
    best: tuple[str, dict[str, Any]] | None = None
    for name, fixed in _TIMM_FIXED.items():
        own = timm_settings(VARIANTS[name].config)
        if all(_alike(argument, own[argument], settings[argument]) for argument in fixed):
            defaults = {**_TIMM_DEFAULTS, **{argument: settings[argument] for argument in fixed}}
            beside = {key: value for key, value in settings.items() if value != defaults[key]}
            if best is None or len(beside) < len(best[1]):
                best = name, {**beside, "normalize_modulator": config.normalize_modulator}
    return best


def _alike(argument: str, first: Any, second: Any) -> bool:
    # What a layer scale started from does not matter once its numbers are loaded.
    return (first is None) == (second is None) if argument == "layerscale_value" else first == second


def _descriptions(layout: str, model: FocalNet, dtype: str | None) -> dict[str, dict[str, Any]]:
    return _timm_descriptions(model) if layout == "timm" else _transformers_descriptions(model, dtype)


def _timm_descriptions(model: FocalNet) -> dict[str, dict[str, Any]]:
    config, images = model.config, model.preprocessing
    found = _timm_name(config)
    assert found is not None
    name, arguments = found
    content: dict[str, Any] = {
        "architecture": name,
        "num_classes": config.num_classes,
        "num_features": config.dims[-1],
        "global_pool": "avg",
        "model_args": arguments,
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [config.in_chans, images.input_size_px, images.input_size_px],
            "fixed_input_size": False,
            "interpolation": images.interpolation,
            "crop_pct": images.crop_fraction,
            "crop_mode": "center",
            "mean": list(images.mean),
            "std": list(images.std),
            "num_classes": config.num_classes,
            "pool_size": None,
            "first_conv": "stem.proj",
            "classifier": "head.fc",
        },
    }
    if model.class_names is not None:
        content["label_names"] = list(model.class_names)
    return {"config.json": content}


def _transformers_descriptions(model: FocalNet, dtype: str | None) -> dict[str, dict[str, Any]]:
    config, images = model.config, model.preprocessing
    labels = model.class_names or tuple(f"LABEL_{index}" for index in range(config.num_classes))
    size = images.input_size_px
    description: dict[str, Any] = {
        "architectures": ["FocalNetForImageClassification" if config.num_classes else "FocalNetModel"],
        "model_type": "focalnet",
        "image_size": size,
        **transformers_settings(config),
        "dtype": dtype or "float32",
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    preprocessor = {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": round(size / images.crop_fraction)},
        "resample": 3 if images.interpolation == "bicubic" else 2,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(images.mean),
        "image_std": list(images.std),
    }
    return {"config.json": description, "preprocessor_config.json": preprocessor}


def write_pickle(content: dict[str, Any], path: Path) -> None:
    """Write what ``torch.save`` takes under a temporary name, then rename.

    Raises:
        CheckpointError: If writing fails; an older file is untouched.
    """
    try:
        # Through a file of Python's, whose errors say what the system says.
        with replacing(path, durable=True) as temporary, temporary.open("wb") as file:
            torch.save(_detached(content), file)
    except OSError as error:
        raise write_failed(path, error) from error


def _detached(content: Any) -> Any:
    if isinstance(content, Tensor):
        # Cloned, because a view would drag the whole memory of what it views into the file.
        return content.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(content, dict):
        return {key: _detached(value) for key, value in content.items()}
    return content


def _write_description(content: dict[str, Any], path: Path) -> None:
    try:
        write_json(path, content, durable=True)
    except OSError as error:
        raise write_failed(path, error) from error
