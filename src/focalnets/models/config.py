"""What a FocalNet is made of; what its input must look like stands in ``models/input_specs.py``. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from focalnets.errors import ConfigError
from focalnets.models.fields import PlainConfig, check_types, is_finite, shortened
from focalnets.models.input_specs import ClipInput as ClipInput
from focalnets.models.input_specs import InputSpec
from focalnets.models.input_specs import Preprocessing as Preprocessing
from focalnets.models.input_specs import SeriesInput as SeriesInput
from focalnets.models.input_specs import TextInput as TextInput
from focalnets.models.input_specs import WholeImage as WholeImage
from focalnets.models.input_specs import read_input_spec as read_input_spec

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

LARGEST_STAGES = 16
"""Stages that a network may have; more is taken for a mistake or a hostile file. So with the next."""

LARGEST_FIELDS = {
    "depths": 10_000,
    "focal_levels": 100,
    "focal_windows": 10_001,
    "embed_dim": 2**20,
    "patch_size": 2**12,
    "in_chans": 2**16,
    "num_classes": 2**26,
}
"""Whole numbers in a network's config, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FocalNetConfig(PlainConfig):
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
        check_types(self)
        for name in ("depths", "focal_levels", "focal_windows"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        stages = len(self.depths)
        if not stages:
            raise ConfigError("depths needs at least one stage, got none.")
        if stages > LARGEST_STAGES:
            raise ConfigError(f"depths may have at most {LARGEST_STAGES} stages, got {stages:,}.")
        for name in ("focal_levels", "focal_windows"):
            if len(getattr(self, name)) != stages:
                raise ConfigError(
                    f"{name} needs one entry for each of the {stages} stages, got {len(getattr(self, name))}."
                )
        for name, smallest in (("depths", 1), ("focal_levels", 0), ("focal_windows", 1)):
            if not all(isinstance(value, int) and value >= smallest for value in getattr(self, name)):
                raise ConfigError(f"{name} must be whole numbers from {smallest} up, got {getattr(self, name)}.")
        for name, most in LARGEST_FIELDS.items():
            values = getattr(self, name)
            largest = max(values) if isinstance(values, tuple) else values
            if largest > most:
                raise ConfigError(f"{name} may be at most {most:,}, got {shortened(largest)}.")
        if any(window % 2 == 0 for window in self.focal_windows):
            raise ConfigError(f"focal_windows must be odd so that a window has a centre, got {self.focal_windows}.")
        for name, smallest in (("embed_dim", 1), ("patch_size", 1), ("in_chans", 1), ("num_classes", 0)):
            if getattr(self, name) < smallest:
                raise ConfigError(f"{name} must be a whole number from {smallest} up, got {getattr(self, name)!r}.")
        for name in ("drop_path", "dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} is a probability from 0 to below 1, got {getattr(self, name)!r}.")
        if not self.mlp_ratio > 0 or not is_finite(self.mlp_ratio):
            raise ConfigError(f"mlp_ratio must be a finite number above 0, got {self.mlp_ratio!r}.")
        if self.layer_scale is not None and not is_finite(self.layer_scale):
            raise ConfigError(f"layer_scale must be a finite number or None, got {self.layer_scale!r}.")
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
        """List the depthwise kernel size of each focal level of ``stage`` [tokens]."""
        first = self.focal_windows[stage]
        return tuple(first + 2 * level for level in range(self.focal_levels[stage]))


def check_channels(config: FocalNetConfig, spec: InputSpec) -> None:
    """Compare the channels of a network with those that its input is prepared for.

    Raises:
        ConfigError: If mean and std have another number of entries than the network has channels.
    """
    if isinstance(spec, Preprocessing) and spec.channels != config.in_chans:
        raise ConfigError(
            f"mean and std must have one entry for each of the {config.in_chans} channels of the network, got "
            f"{spec.channels}."
        )
