"""Descriptions beside weights: ``config.json`` of transformers and timm, ``preprocessor_config.json``.

They are evidence, not truth: what they say is compared with the tensors, and a flag that an old conversion never set
proves nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from focalnets.errors import CheckpointError, ConfigError
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.layers import NORM_EPSILON
from focalnets.models.variants import VARIANTS
from focalnets.weights.readers import read_json_object

__all__ = ["Companion", "read_companion", "timm_settings", "transformers_settings"]

_RESAMPLING = {2: "bilinear", 3: "bicubic"}
_MALFORMED = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
"""What reading values of other kinds than those that are usual ends in."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Companion:
    """What a file of another package says beside weights, in our terms.

    Attributes:
        file: Where it was read.
        layout: ``transformers`` or ``timm``.
        settings: Fields of a config; ``layer_scale`` as a number or None.
        num_classes: Outputs, or None where it does not tell.
        class_names: One name an output, or None where it does not tell.
        preprocessing: How images must be prepared, or None where it does not tell.
        trusted_preprocessing: Whether that may replace the published one of a published network.
    """

    file: Path
    layout: str
    settings: dict[str, Any]
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    trusted_preprocessing: bool = False


def read_companion(folder: Path) -> Companion | None:
    """Read the description in a folder, or None if there is none of a FocalNet.

    Raises:
        CheckpointError: If it is malformed, or describes a network that cannot be built here.
    """
    file = folder / "config.json"
    if not file.is_file():
        return None
    content = read_json_object(file)
    try:
        if content.get("model_type") == "focalnet":
            return _read_transformers(content, file)
        if str(content.get("architecture", "")).startswith("focalnet"):
            return _read_timm(content, file)
    except CheckpointError:
        raise
    except _MALFORMED as error:
        raise CheckpointError(f"{file} is malformed{_in_words(error)}") from error
    return None


def transformers_settings(config: FocalNetConfig) -> dict[str, Any]:
    """Write the fields of a transformers ``FocalNetConfig`` for this network; the inverse of what is read here."""
    return {
        "patch_size": config.patch_size,
        "num_channels": config.in_chans,
        "embed_dim": config.embed_dim,
        "use_conv_embed": config.stem == "overlapped",
        "hidden_sizes": list(config.dims),
        "depths": list(config.depths),
        "focal_levels": list(config.focal_levels),
        "focal_windows": list(config.focal_windows),
        "hidden_act": "gelu",
        "mlp_ratio": float(config.mlp_ratio),
        "hidden_dropout_prob": float(config.dropout),
        "drop_path_rate": float(config.drop_path),
        "use_layerscale": config.layer_scale is not None,
        "layerscale_value": 1e-4 if config.layer_scale is None else float(config.layer_scale),
        "use_post_layernorm": config.post_norm,
        "use_post_layernorm_in_modulation": config.modulation_norm,
        "normalize_modulator": config.normalize_modulator,
        "initializer_range": 0.02,
        "layer_norm_eps": NORM_EPSILON,
        "encoder_stride": config.strides[-1],
    }


def timm_settings(config: FocalNetConfig) -> dict[str, Any]:
    """Write the arguments of timm's ``FocalNet`` for this network, apart from classes."""
    return {
        "in_chans": config.in_chans,
        "embed_dim": config.embed_dim,
        "depths": list(config.depths),
        "mlp_ratio": float(config.mlp_ratio),
        "focal_levels": list(config.focal_levels),
        "focal_windows": list(config.focal_windows),
        "use_overlap_down": config.stem == "overlapped",
        "use_post_norm": config.post_norm,
        "use_post_norm_in_modulation": config.modulation_norm,
        "normalize_modulator": config.normalize_modulator,
        "layerscale_value": config.layer_scale,
        "proj_drop_rate": float(config.dropout),
        "drop_path_rate": float(config.drop_path),
    }


def _overlapped(flag: bool) -> str:
    return "overlapped" if flag else "patch"


_TRANSFORMERS_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "num_channels": ("in_chans", int),
    "embed_dim": ("embed_dim", int),
    "use_conv_embed": ("stem", _overlapped),
    "depths": ("depths", tuple),
    "focal_levels": ("focal_levels", tuple),
    "focal_windows": ("focal_windows", tuple),
    "mlp_ratio": ("mlp_ratio", float),
    "use_post_layernorm": ("post_norm", bool),
    "use_post_layernorm_in_modulation": ("modulation_norm", bool),
    "normalize_modulator": ("normalize_modulator", bool),
}

_TIMM_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "in_chans": ("in_chans", int),
    "embed_dim": ("embed_dim", int),
    "depths": ("depths", tuple),
    "mlp_ratio": ("mlp_ratio", float),
    "focal_levels": ("focal_levels", tuple),
    "focal_windows": ("focal_windows", tuple),
    "use_overlap_down": ("stem", _overlapped),
    "use_post_norm": ("post_norm", bool),
    "use_post_norm_in_modulation": ("modulation_norm", bool),
    "normalize_modulator": ("normalize_modulator", bool),
    "layerscale_value": ("layer_scale", lambda value: value),
}


def _read_transformers(content: dict[str, Any], file: Path) -> Companion:
    if content.get("hidden_act", "gelu") != "gelu" or content.get("layer_norm_eps", NORM_EPSILON) != NORM_EPSILON:
        raise CheckpointError(
            f"{file} asks for hidden_act {content.get('hidden_act')!r} and layer_norm_eps "
            f"{content.get('layer_norm_eps')!r}; only 'gelu' and {NORM_EPSILON} can be built here."
        )
    settings = _translated(content, _TRANSFORMERS_FIELDS)
    if "use_layerscale" in content:
        settings["layer_scale"] = float(content.get("layerscale_value", 1e-4)) if content["use_layerscale"] else None
    if not content.get("use_conv_embed") and isinstance(content.get("patch_size"), int):
        settings["patch_size"] = content["patch_size"]
    labels = content.get("id2label")
    names = None
    if isinstance(labels, dict):
        names = tuple(str(labels[str(index)]) for index in range(len(labels)))
    generic = names is not None and all(name == f"LABEL_{index}" for index, name in enumerate(names))
    headless = content.get("architectures") == ["FocalNetModel"]
    return Companion(
        file=file,
        layout="transformers",
        settings=settings,
        num_classes=None if names is None or headless else len(names),
        class_names=None if generic or headless else names,
        preprocessing=_preprocessor(file.with_name("preprocessor_config.json")),
    )


def _preprocessor(file: Path) -> Preprocessing | None:
    """Read the preparation of images from transformers' preprocessor_config.json, or None if there is none."""
    if not file.is_file():
        return None
    content = read_json_object(file)
    return _prepared(file, lambda: _transformers_preprocessing(content))


def _transformers_preprocessing(content: Mapping[str, Any]) -> Preprocessing | None:
    crop, resize = _edge(content.get("crop_size")), _edge(content.get("size"))
    size = crop if crop and content.get("do_center_crop", True) else resize
    if not size or "image_mean" not in content or "image_std" not in content:
        return None
    mean, std = content["image_mean"], content["image_std"]
    if content.get("do_normalize") is False:
        mean, std = [0.0] * len(mean), [1.0] * len(std)
    factor = 1.0 if content.get("do_rescale") is False else float(content.get("rescale_factor", 1 / 255))
    if not math.isclose(255 * factor, 1.0, rel_tol=1e-3):  # statistics for pixel values on another scale
        mean, std = ([value / (255 * factor) for value in values] for values in (mean, std))
    return Preprocessing(
        input_size_px=size,
        crop_fraction=min(1.0, size / resize) if resize else 1.0,
        interpolation="bilinear" if _RESAMPLING.get(content.get("resample", 3)) == "bilinear" else "bicubic",
        mean=tuple(mean),
        std=tuple(std),
    )


def _prepared(file: Path, read: Callable[[], Preprocessing | None]) -> Preprocessing | None:
    try:
        return read()
    except _MALFORMED as error:
        raise CheckpointError(f"{file} describes images that cannot be prepared{_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    if isinstance(error, ConfigError):
        return f": {error}"
    return f"; a value in it is of another kind or size than expected ({str(error).rstrip('.')})."


def _edge(size: Any) -> int:
    if isinstance(size, dict):
        size = size.get("shortest_edge", size.get("height", 0))
    return int(size or 0)


def _read_timm(content: dict[str, Any], file: Path) -> Companion:
    published = content.get("pretrained_cfg", content)
    row = VARIANTS.get(str(content["architecture"]).partition(".")[0])
    settings: dict[str, Any] = {}
    if row is not None:
        shown = ("depths", "embed_dim", "mlp_ratio", "focal_levels", "focal_windows", "stem", "post_norm")
        settings = {name: getattr(row.config, name) for name in (*shown, "modulation_norm", "layer_scale")}
    # timm's own variants never ask for a normalised modulator, whatever the weights were trained with.
    settings.update(_translated(content.get("model_args") or {}, _TIMM_FIELDS))
    names = content.get("label_names", published.get("label_names"))
    return Companion(
        file=file,
        layout="timm",
        settings=settings,
        num_classes=content.get("num_classes", published.get("num_classes")),
        class_names=tuple(map(str, names)) if isinstance(names, list) else None,
        preprocessing=_prepared(file, lambda: _timm_preprocessing(published)),
        trusted_preprocessing=True,
    )


def _timm_preprocessing(published: Mapping[str, Any]) -> Preprocessing | None:
    if "input_size" not in published:
        return None
    return Preprocessing(
        input_size_px=int(published["input_size"][-1]),
        crop_fraction=float(published.get("crop_pct") or 0.9),
        interpolation="bilinear" if published.get("interpolation") == "bilinear" else "bicubic",
        mean=tuple(published.get("mean") or Preprocessing().mean),
        std=tuple(published.get("std") or Preprocessing().std),
    )


def _translated(content: Mapping[str, Any], fields: Mapping[str, tuple[str, Callable[[Any], Any]]]) -> dict[str, Any]:
    return {ours: convert(content[theirs]) for theirs, (ours, convert) in fields.items() if theirs in content}
