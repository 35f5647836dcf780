"""What a FocalNet is made of, and what its images must look like. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from focalnets.errors import ConfigError

Stem = Literal["patch", "overlapped", "convolutional"]
"""How pixels become tokens: ``patch`` = one strided convolution without overlap; ``overlapped`` = 7x7 stride 4
(3x3 stride 2 between stages); ``convolutional`` = three 3x3 convolutions with batch normalisation (overlapped between
stages)."""

Downsampling = Literal["single", "double"]
"""What halves the map between stages: ``single`` = the stem's kind of embedding, 2x2 or overlapping 3x3, with a
LayerNorm; ``double`` = a 3x3 convolution of stride 2 and another of stride 1, both with batch normalisation."""

Initialization = Literal["official", "fan_in", "identity"]
"""``official`` = linear layers drawn at standard deviation 0.02, convolutions as PyTorch does; ``fan_in`` = linear
layers drawn at standard deviation 1 / sqrt(inputs); ``identity`` = as ``fan_in``, but the last layer of each branch is
zero, so that every block returns what it receives until it has learnt something."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FocalNetConfig:
    """The complete description of one FocalNet; equal configs build equal networks.

    Every field that is a tuple has one entry a stage. Defaults are those of the official tiny model with a small
    receptive field.

    Attributes:
        depths: Blocks in each stage. One entry makes an isotropic network.
        embed_dim: Channels of the first stage; each later stage doubles them.
        focal_levels: Focal levels L in each stage, without the global one. 0 keeps only the global level.
        focal_windows: Kernel size of the first level in each stage [tokens]; odd. Level l uses ``k + 2 (l - 1)``.
        mlp_ratio: Hidden channels of the MLP over channels of the block.
        patch_size: Pixels a token spans along each axis after the stem.
        stem: How pixels become tokens, see :data:`Stem`.
        stem_padding: Zero pixels around the image for an overlapped stem. The classifiers use 2, the official detection
            and segmentation backbones 3.
        downsampling: What halves the map between stages, see :data:`Downsampling`.
        post_norm: Normalise what a branch returns instead of what it receives.
        modulation_norm: LayerNorm on query times modulator before the output projection.
        normalize_modulator: Divide the gated sum by L + 1.
        layer_scale: Initial value of the learnt per-channel scale of each branch; None leaves the scale out.
        drop_path: Probability of dropping a whole branch in the last block; grows linearly from 0 in the first.
        dropout: Dropout probability after projections.
        num_classes: Outputs of the classifier; 0 returns pooled features.
        in_chans: Channels of the input image.
        initialization: How random weights are drawn, see :data:`Initialization`.
        pyramid_norms: Build a backbone for dense tasks: a LayerNorm on the map of every stage instead of the final norm
            and the classifier.
    """

    depths: tuple[int, ...] = (2, 2, 6, 2)
    embed_dim: int = 96
    focal_levels: tuple[int, ...] = (2, 2, 2, 2)
    focal_windows: tuple[int, ...] = (3, 3, 3, 3)
    mlp_ratio: float = 4.0
    patch_size: int = 4
    stem: Stem = "patch"
    stem_padding: int = 2
    downsampling: Downsampling = "single"
    post_norm: bool = False
    modulation_norm: bool = False
    normalize_modulator: bool = False
    layer_scale: float | None = None
    drop_path: float = 0.0
    dropout: float = 0.0
    num_classes: int = 1000
    in_chans: int = 3
    initialization: Initialization = "official"
    pyramid_norms: bool = False

    def __post_init__(self) -> None:
        for name in ("depths", "focal_levels", "focal_windows"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        stages = len(self.depths)
        if not stages:
            raise ConfigError("depths needs at least one stage, got none.")
        for name in ("focal_levels", "focal_windows"):
            if len(getattr(self, name)) != stages:
                raise ConfigError(
                    f"{name} needs one entry for each of the {stages} stages, got {len(getattr(self, name))}."
                )
        for name, smallest in (("depths", 1), ("focal_levels", 0), ("focal_windows", 1)):
            if not all(isinstance(value, int) and value >= smallest for value in getattr(self, name)):
                raise ConfigError(f"{name} must be whole numbers from {smallest} up, got {getattr(self, name)}.")
        if any(window % 2 == 0 for window in self.focal_windows):
            raise ConfigError(f"focal_windows must be odd so that a window has a centre, got {self.focal_windows}.")
        for name, smallest in (("embed_dim", 1), ("patch_size", 1), ("in_chans", 1), ("num_classes", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < smallest:
                raise ConfigError(f"{name} must be a whole number from {smallest} up, got {value!r}.")
        for name in ("drop_path", "dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} is a probability from 0 to below 1, got {getattr(self, name)!r}.")
        if not self.mlp_ratio > 0:
            raise ConfigError(f"mlp_ratio must be above 0, got {self.mlp_ratio!r}.")
        if self.stem not in ("patch", "overlapped", "convolutional"):
            raise ConfigError(f"stem must be 'patch', 'overlapped' or 'convolutional', got {self.stem!r}.")
        if self.stem != "patch" and self.patch_size != 4:
            raise ConfigError(f"a {self.stem} stem has patch_size 4, got {self.patch_size}.")
        if self.downsampling not in get_args(Downsampling):
            raise ConfigError(
                f"downsampling must be one of {', '.join(get_args(Downsampling))}, got {self.downsampling!r}."
            )
        if self.initialization not in get_args(Initialization):
            raise ConfigError(
                f"initialization must be one of {', '.join(get_args(Initialization))}, got {self.initialization!r}."
            )

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels between neighbouring tokens of each stage."""
        return tuple(self.patch_size * 2**stage for stage in range(len(self.depths)))

    def kernel_sizes(self, stage: int) -> tuple[int, ...]:
        """Compute the depthwise kernel size of each focal level of ``stage`` [tokens]."""
        first = self.focal_windows[stage]
        return tuple(first + 2 * level for level in range(self.focal_levels[stage]))

    def replace(self, **overrides: Any) -> FocalNetConfig:
        """Change some fields; returns another config. Unknown fields are errors."""
        return FocalNetConfig.from_dict({**self.to_dict(), **overrides})

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain values that survive JSON."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FocalNetConfig:
        """Build from plain values, e.g. read from JSON.

        Raises:
            ConfigError: If a key is unknown or a value out of range.
        """
        _refuse_unknown_keys(cls, values)
        return cls(**values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes the input of a network; part of every checkpoint.

    Attributes:
        input_size_px: Height and width of the evaluation crop [px].
        crop_fraction: The image is resized so that the crop covers this fraction of its shorter side.
        interpolation: ``bicubic`` or ``bilinear``.
        mean, std: Channel statistics in RGB order, for pixel values from 0 to 1.
    """

    input_size_px: int = 224
    crop_fraction: float = 0.875
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if not isinstance(self.input_size_px, int) or self.input_size_px < 1:
            raise ConfigError(f"input_size_px must be a whole number from 1 up, got {self.input_size_px!r}.")
        if not 0.0 < self.crop_fraction <= 1.0:
            raise ConfigError(f"crop_fraction must lie above 0 and at most at 1, got {self.crop_fraction!r}.")
        if self.interpolation not in ("bicubic", "bilinear"):
            raise ConfigError(f"interpolation must be 'bicubic' or 'bilinear', got {self.interpolation!r}.")
        if len(self.mean) != len(self.std) or not all(math.isfinite(v) for v in self.mean) or min(self.std) <= 0:
            raise ConfigError("mean and std must have one finite entry a channel, std above 0.")

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain values that survive JSON."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from plain values.

        Raises:
            ConfigError: If a key is unknown or a value out of range.
        """
        _refuse_unknown_keys(cls, values)
        return cls(**values)


def _refuse_unknown_keys(cls: type, values: Mapping[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(
            f"{cls.__name__} has no field {', '.join(map(repr, unknown))}; its fields are {', '.join(known)}."
        )
