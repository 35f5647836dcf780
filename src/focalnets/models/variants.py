"""One table: every published variant a row, and our own small ones."""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import Any

from focalnets.errors import UnknownNameError, abridged, nearest
from focalnets.models.config import FocalNetConfig, Preprocessing

__all__ = ["VARIANTS", "Published", "Variant", "list_models", "variant"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """Figures that the authors published for a variant.

    Attributes:
        parameters_m: Parameters [millions]; without the classifier where ``head_excluded``.
        gmacs: Multiply-accumulates of one image of 224x224 px [billions].
        top1_percent: ImageNet-1K validation accuracy at 224 px, trained on ImageNet-1K alone.
        v100_images_per_s: Inference throughput on one V100.
        head_excluded: Whether ``parameters_m`` leaves the classifier out.
    """

    parameters_m: float
    gmacs: float | None = None
    top1_percent: float | None = None
    v100_images_per_s: int | None = None
    head_excluded: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A named network."""

    name: str
    summary: str
    config: FocalNetConfig
    preprocessing: Preprocessing
    published: Published | None


_LRF = {"focal_levels": (3, 3, 3, 3)}
_TINY = {"depths": (2, 2, 6, 2), "embed_dim": 96, "drop_path": 0.2}
_SMALL = {"depths": (2, 2, 18, 2), "embed_dim": 96, "drop_path": 0.3}
_BASE = {"depths": (2, 2, 18, 2), "embed_dim": 128, "drop_path": 0.5}
_OVERLAPPED = {"stem": "overlapped"}
_ISOTROPIC = {"depths": (12,), "focal_levels": (3,), "focal_windows": (3,), "patch_size": 16, "drop_path": 0.2}
_LARGE_FAMILY = {
    "depths": (2, 2, 18, 2),
    "stem": "overlapped",
    "post_norm": True,
    "layer_scale": 1e-4,
    "drop_path": 0.5,
    "num_classes": 21842,
}
_FL3_WIDE = {"focal_levels": (3, 3, 3, 3), "focal_windows": (5, 5, 5, 5)}
_FL3 = {"focal_levels": (3, 3, 3, 3), "focal_windows": (3, 3, 3, 3)}
_FL4 = {"focal_levels": (4, 4, 4, 4), "focal_windows": (3, 3, 3, 3)}
# Small networks see few images and short schedules; these choices learn faster from random weights, see docs/log.md.
_FROM_SCRATCH = {
    "depths": (2, 2, 6, 2),
    "focal_levels": (3, 3, 3, 3),
    "stem": "convolutional",
    "downsampling": "double",
    "initialization": "identity",
}

_AT_224 = Preprocessing(input_size_px=224, crop_fraction=0.9)
_AT_384 = Preprocessing(input_size_px=384, crop_fraction=1.0)
_AT_128 = Preprocessing(input_size_px=128, crop_fraction=1.0)


def _row(
    name: str,
    summary: str,
    settings: dict[str, Any],
    published: Published | None,
    preprocessing: Preprocessing = _AT_224,
) -> Variant:
    config = FocalNetConfig.from_dict(settings)
    return Variant(name=name, summary=summary, config=config, published=published, preprocessing=preprocessing)


def _figures(parameters_m: float, gmacs: float, top1: float, images_per_s: int) -> Published:
    return Published(parameters_m=parameters_m, gmacs=gmacs, top1_percent=top1, v100_images_per_s=images_per_s)


def _without_head(parameters_m: float) -> Published:
    return Published(parameters_m=parameters_m, head_excluded=True)


VARIANTS: dict[str, Variant] = {
    row.name: row
    for row in (
        _row(
            "focalnet_pico",
            "ours, for thousands of images and no cluster",
            {**_FROM_SCRATCH, "embed_dim": 32},
            None,
            preprocessing=_AT_128,
        ),
        _row(
            "focalnet_nano",
            "ours, for tens of thousands of images",
            {**_FROM_SCRATCH, "embed_dim": 48},
            None,
            preprocessing=_AT_128,
        ),
        _row("focalnet_tiny_srf", "small receptive field", _TINY, _figures(28.43, 4.41, 82.1, 743)),
        _row("focalnet_tiny_lrf", "large receptive field", {**_TINY, **_LRF}, _figures(28.65, 4.49, 82.3, 696)),
        _row("focalnet_small_srf", "small receptive field", _SMALL, _figures(49.89, 8.61, 83.4, 434)),
        _row("focalnet_small_lrf", "large receptive field", {**_SMALL, **_LRF}, _figures(50.34, 8.73, 83.5, 406)),
        _row("focalnet_base_srf", "small receptive field", _BASE, _figures(88.15, 15.26, 83.7, 280)),
        _row("focalnet_base_lrf", "large receptive field", {**_BASE, **_LRF}, _figures(88.75, 15.42, 83.9, 269)),
        _row(
            "focalnet_tiny_iso_16",
            "isotropic, patches of 16 px",
            {**_ISOTROPIC, "embed_dim": 192},
            _figures(5.88, 1.11, 74.1, 2334),
        ),
        _row(
            "focalnet_small_iso_16",
            "isotropic, patches of 16 px",
            {**_ISOTROPIC, "embed_dim": 384},
            _figures(22.38, 4.30, 80.9, 920),
        ),
        _row(
            "focalnet_base_iso_16",
            "isotropic, patches of 16 px, normalised after the branches",
            {**_ISOTROPIC, "embed_dim": 768, "post_norm": True},
            _figures(87.22, 16.93, 82.4, 300),
        ),
        _row(
            "focalnet_tiny_srf_overlapped",
            "overlapped patch embedding",
            {**_TINY, **_OVERLAPPED},
            _figures(30.4, 4.4, 82.4, 730),
        ),
        _row(
            "focalnet_small_srf_overlapped",
            "overlapped patch embedding",
            {**_SMALL, **_OVERLAPPED},
            _figures(51.8, 8.6, 83.4, 424),
        ),
        _row(
            "focalnet_base_srf_overlapped",
            "overlapped patch embedding",
            {**_BASE, **_OVERLAPPED},
            _figures(91.6, 15.3, 84.0, 278),
        ),
        _row(
            "focalnet_tiny_srf_deep",
            "deeper but thinner",
            {**_TINY, **_OVERLAPPED, "depths": (3, 3, 16, 3), "embed_dim": 64},
            _figures(25.1, 4.0, 82.7, 663),
        ),
        _row(
            "focalnet_small_srf_deep",
            "deeper but thinner",
            {**_SMALL, **_OVERLAPPED, "depths": (4, 4, 28, 4), "embed_dim": 64},
            _figures(38.2, 6.4, 83.5, 440),
        ),
        _row(
            "focalnet_base_srf_deep",
            "deeper but thinner",
            {**_BASE, **_OVERLAPPED, "depths": (4, 4, 28, 4), "embed_dim": 96},
            _figures(85.1, 14.3, 84.1, 247),
        ),
        _row(
            "focalnet_large_fl3",
            "ImageNet-22K, 3 levels from 5x5",
            {**_LARGE_FAMILY, **_FL3_WIDE, "embed_dim": 192},
            _without_head(205.6),
            preprocessing=_AT_384,
        ),
        _row(
            "focalnet_large_fl4",
            "ImageNet-22K, 4 levels, normalised modulator",
            {**_LARGE_FAMILY, **_FL4, "embed_dim": 192, "normalize_modulator": True},
            _without_head(205.7),
            preprocessing=_AT_384,
        ),
        _row(
            "focalnet_xlarge_fl3",
            "ImageNet-22K, 3 levels from 5x5",
            {**_LARGE_FAMILY, **_FL3_WIDE, "embed_dim": 256},
            _without_head(364.0),
            preprocessing=_AT_384,
        ),
        _row(
            "focalnet_xlarge_fl4",
            "ImageNet-22K, 4 levels; normalize_modulator=True selects the other published setting",
            {**_LARGE_FAMILY, **_FL4, "embed_dim": 256},
            _without_head(364.3),
            preprocessing=_AT_384,
        ),
        _row(
            "focalnet_huge_fl3",
            "ImageNet-22K, 3 levels, LayerNorm in the modulation",
            {**_LARGE_FAMILY, **_FL3, "embed_dim": 352, "modulation_norm": True},
            _without_head(683.8),
        ),
        _row(
            "focalnet_huge_fl4",
            "ImageNet-22K, 4 levels, LayerNorm in the modulation",
            {**_LARGE_FAMILY, **_FL4, "embed_dim": 352, "modulation_norm": True},
            _without_head(686.5),
        ),
    )
}
"""Every network by name. ``focalnet_xlarge_fl4``: the official settings say ``normalize_modulator=False``, the authors'
detection repository says True, and which one the published weights were trained with is not known; the default here is
the official file's, ``create_model("focalnet_xlarge_fl4", normalize_modulator=True)`` gives the other.
``focalnet_base_iso_16``: the official code asks for a layer scale that its published parameter count does not contain;
the default here is the published count, ``layer_scale=1e-4`` gives the other."""


def list_models(pattern: str = "*") -> list[str]:
    """List the names of all networks, or of those that match a shell pattern such as ``"*tiny*"``."""
    return fnmatch.filter(VARIANTS, pattern)


def variant(name: str) -> Variant:
    """Look up the row of that name.

    Raises:
        UnknownNameError: If there is none; the message names the closest ones.
    """
    if name not in VARIANTS:
        hint = nearest(name, VARIANTS, "`focalnets models` lists them.")
        raise UnknownNameError(f"There is no model called {abridged(name)}; {hint}")
    return VARIANTS[name]
