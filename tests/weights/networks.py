"""Small networks with every combination of flags that a published variant has, and the same ones built by the peers."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor, nn

from focalnets import FocalNet, FocalNetConfig

_SMALL = {"depths": (1, 2, 1, 1), "embed_dim": 8, "num_classes": 11}
_LARGE = {"stem": "overlapped", "post_norm": True, "layer_scale": 1.0}

COMBINATIONS: dict[str, dict[str, Any]] = {
    "srf": {},
    "lrf": {"focal_levels": (3, 3, 3, 3)},
    "overlapped": {"stem": "overlapped"},
    "fl3": {**_LARGE, "focal_levels": (3, 3, 3, 3), "focal_windows": (5, 5, 5, 5)},
    "fl4": {**_LARGE, "focal_levels": (4, 4, 4, 4)},
    "fl4_normalized": {**_LARGE, "focal_levels": (4, 4, 4, 4), "normalize_modulator": True},
    "huge_fl3": {**_LARGE, "focal_levels": (3, 3, 3, 3), "modulation_norm": True},
    "huge_fl4": {**_LARGE, "focal_levels": (4, 4, 4, 4), "modulation_norm": True},
    "uneven": {"focal_levels": (4, 2, 1, 3), "focal_windows": (3, 7, 5, 3), "mlp_ratio": 3.0, "in_chans": 4},
}
"""What the large variants are made of, at small size; together they hold every flag and every pair of flags in use."""

ISOTROPIC = {"depths": (3,), "embed_dim": 12, "patch_size": 16, "focal_levels": (3,), "focal_windows": (3,)}


def small_config(name: str, **overrides: Any) -> FocalNetConfig:
    return FocalNetConfig.from_dict({**_SMALL, **COMBINATIONS[name], **overrides})


def draw(module: nn.Module, seed: int = 0) -> None:
    """Draw every weight so that every path of the network matters to the output."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        deviation, mean = _statistics(name, parameter)
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation + mean)


def _statistics(name: str, parameter: Tensor) -> tuple[float, float]:
    if name.endswith("bias"):
        return 0.1, 0.0
    if parameter.ndim == 1:  # norms and layer scales
        return 0.1, 1.0
    if "focal_layers" in name or re.search(r"\.kernels\.\d+$", name):
        return 1 / math.sqrt(parameter.shape[-1]), 0.0
    return 1 / math.sqrt(parameter[0].numel()), 0.0


def drawn(config: FocalNetConfig, seed: int = 0, **kwargs: Any) -> FocalNet:
    model = FocalNet(config, **kwargs).eval()
    draw(model, seed)
    return model


def timm_network(config: FocalNetConfig) -> nn.Module:
    from timm.models.focalnet import FocalNet as TimmFocalNet

    model = TimmFocalNet(
        in_chans=config.in_chans,
        num_classes=config.num_classes,
        embed_dim=config.embed_dim,
        depths=config.depths,
        mlp_ratio=config.mlp_ratio,
        focal_levels=config.focal_levels,
        focal_windows=config.focal_windows,
        use_overlap_down=config.stem == "overlapped",
        use_post_norm=config.post_norm,
        use_post_norm_in_modulation=config.modulation_norm,
        normalize_modulator=config.normalize_modulator,
        layerscale_value=config.layer_scale,
        drop_path_rate=0.0,
    )
    return model.eval()


def transformers_network(config: FocalNetConfig) -> nn.Module:
    from transformers import FocalNetConfig as TransformersConfig
    from transformers import FocalNetForImageClassification

    described = TransformersConfig(
        patch_size=config.patch_size,
        num_channels=config.in_chans,
        embed_dim=config.embed_dim,
        use_conv_embed=config.stem == "overlapped",
        depths=list(config.depths),
        mlp_ratio=config.mlp_ratio,
        focal_levels=list(config.focal_levels),
        focal_windows=list(config.focal_windows),
        use_layerscale=config.layer_scale is not None,
        use_post_layernorm=config.post_norm,
        use_post_layernorm_in_modulation=config.modulation_norm,
        normalize_modulator=config.normalize_modulator,
        drop_path_rate=0.0,
        num_labels=config.num_classes,
    )
    return FocalNetForImageClassification(described).eval()


def timm_pyramid(model: nn.Module, images: Tensor) -> list[Tensor]:
    return model.forward_intermediates(images, intermediates_only=True)  # type: ignore[operator]


def transformers_pyramid(model: nn.Module, images: Tensor) -> list[Tensor]:
    """The maps before downsampling, which the encoder gives on request, behind the embedding."""
    embedded, size = model.focalnet.embeddings(images)  # type: ignore[union-attr, operator]
    encoded = model.focalnet.encoder(  # type: ignore[union-attr, operator]
        embedded, size, output_hidden_states=True, output_hidden_states_before_downsampling=False
    )
    maps = []
    hidden = embedded
    for stage, block in enumerate(model.focalnet.encoder.stages):  # type: ignore[union-attr]
        hidden, before, _ = block(hidden, size)
        maps.append(before.transpose(1, 2).unflatten(2, size))
        size = tuple(encoded.reshaped_hidden_states[stage + 1].shape[-2:])
    return maps


def relative_error(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())
