"""What a FocalNet is made of, and what its input must look like: an image, a clip or a text. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from focalnets.errors import ConfigError
from focalnets.models.fields import check_types, check_whole_number, checked_keys, is_finite, shortened

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

TextUnit = Literal["bytes", "characters", "tokens"]
"""What one position of a text input stands for."""

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

LARGEST_SIDE_PX = 8192
"""Shorter side that an input may ask images to be resized to [px]; more is taken for a damaged or hostile file."""

LARGEST_MEAN = 10.0
"""How far from 0 the mean of a channel may lie, for pixel values from 0 to 1."""

STD_RANGE = (1e-3, 10.0)
"""Smallest and largest standard deviation of a channel, for pixel values from 0 to 1."""

LARGEST_CLIP_FRAMES = 4096
"""Frames that a clip may have, and frames of the video that one step may span."""

LARGEST_CONTEXT = 2**20
"""Positions that a text input may have."""

LARGEST_VOCABULARY = 2**24
"""Entries that a vocabulary may have."""


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

    def replace(self, **overrides: Any) -> FocalNetConfig:
        """Copy the config with some fields changed; unknown fields are errors."""
        return FocalNetConfig.from_dict({**self.to_dict(), **overrides})

    def to_dict(self) -> dict[str, Any]:
        """Write plain values that survive JSON."""
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
        return cls(**checked_keys(cls, values))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes the input of a network; part of every checkpoint.

    Attributes:
        input_size_px: Height and width of the evaluation crop [px].
        crop_fraction: The image is resized so that the crop covers this fraction of its shorter side.
        interpolation: ``bicubic`` or ``bilinear``.
        mean, std: Channel statistics in RGB order, for pixel values from 0 to 1.
    """

    kind: ClassVar[str] = "image"

    input_size_px: int = 224
    crop_fraction: float = 0.875
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        check_types(self)
        check_whole_number("input_size_px", self.input_size_px, LARGEST_SIDE_PX)
        if not 0.0 < self.crop_fraction <= 1.0:
            raise ConfigError(f"crop_fraction must lie above 0 and at most at 1, got {self.crop_fraction!r}.")
        if self.input_size_px > LARGEST_SIDE_PX * self.crop_fraction:
            raise ConfigError(
                f"input_size_px / crop_fraction is the side that images are resized to, at most {LARGEST_SIDE_PX:,} "
                f"px; got {self.input_size_px} / {self.crop_fraction:g}."
            )
        if self.interpolation not in ("bicubic", "bilinear"):
            raise ConfigError(f"interpolation must be 'bicubic' or 'bilinear', got {self.interpolation!r}.")
        if not self.mean or len(self.mean) != len(self.std):
            raise ConfigError(
                f"mean and std must have one entry for each channel, got {len(self.mean)} and {len(self.std)} entries."
            )
        if not all(abs(value) <= LARGEST_MEAN for value in self.mean):
            raise ConfigError(
                f"mean must be finite and, for pixel values from 0 to 1, lie within {LARGEST_MEAN:g} of 0, got "
                f"{shortened(self.mean)}."
            )
        if not all(STD_RANGE[0] <= value <= STD_RANGE[1] for value in self.std):
            raise ConfigError(
                f"std must be finite and, for pixel values from 0 to 1, lie between {STD_RANGE[0]:g} and "
                f"{STD_RANGE[1]:g}, got {shortened(self.std)}."
            )
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))

    @property
    def channels(self) -> int:
        """Channels that the statistics are given for."""
        return len(self.mean)

    def with_channels(self, channels: int) -> Preprocessing:
        """Average the statistics of the channels for one channel, repeat them in turn for others."""

        def fitted(values: tuple[float, ...]) -> tuple[float, ...]:
            if channels == 1:
                return (sum(values) / len(values),)
            return tuple(values[channel % len(values)] for channel in range(channels))

        return dataclasses.replace(self, mean=fitted(self.mean), std=fitted(self.std))

    def to_dict(self) -> dict[str, Any]:
        """Write plain values that survive JSON, with the kind of input."""
        return {"kind": self.kind, **dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from plain values; ``kind`` may be left out.

        Raises:
            ConfigError: If a key is unknown, a value out of range, or the kind another one.
        """
        return cls(**checked_keys(cls, values))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipInput(Preprocessing):
    """How a piece of a video becomes the input of a network; each frame is prepared as an image.

    Attributes:
        frames: Frames of a clip.
        frame_step: Frames of the video from one frame of the clip to the next.
    """

    kind: ClassVar[str] = "clip"

    frames: int = 16
    frame_step: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_number("frames", self.frames, LARGEST_CLIP_FRAMES)
        check_whole_number("frame_step", self.frame_step, LARGEST_CLIP_FRAMES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextInput:
    """How a text becomes the input of a network.

    Attributes:
        context_length: Most positions that the network reads at once.
        unit: What one position stands for, see :data:`TextUnit`.
        vocabulary: Name of the vocabulary or tokenizer that turns the text into numbers, e.g. ``bytes``.
        vocabulary_size: Its entries; numbers run from 0 to below it.
    """

    kind: ClassVar[str] = "text"

    context_length: int = 256
    unit: TextUnit = "bytes"
    vocabulary: str = "bytes"
    vocabulary_size: int = 256

    def __post_init__(self) -> None:
        check_types(self)
        check_whole_number("context_length", self.context_length, LARGEST_CONTEXT)
        check_whole_number("vocabulary_size", self.vocabulary_size, LARGEST_VOCABULARY)
        if self.unit not in get_args(TextUnit):
            raise ConfigError(f"unit must be one of {', '.join(get_args(TextUnit))}, got {self.unit!r}.")
        if not 0 < len(self.vocabulary) <= 200 or not self.vocabulary.isprintable():
            raise ConfigError(
                f"vocabulary must be a name of 1 to 200 printable characters, got {shortened(self.vocabulary)}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Write plain values that survive JSON, with the kind of input."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextInput:
        """Build from plain values; ``kind`` may be left out.

        Raises:
            ConfigError: If a key is unknown, a value out of range, or the kind another one.
        """
        return cls(**checked_keys(cls, values))


InputSpec = Preprocessing | ClipInput | TextInput
"""What a checkpoint says of its input: an image (:class:`Preprocessing`), a clip or a text."""

_INPUTS: dict[str, type[Preprocessing] | type[TextInput]] = {
    spec.kind: spec for spec in (Preprocessing, ClipInput, TextInput)
}


def read_input_spec(values: Mapping[str, Any]) -> InputSpec:
    """Build what ``to_dict`` of an input gave, by its ``kind``.

    Raises:
        ConfigError: If the kind is missing or unknown, a key is unknown or a value out of range.
    """
    kind = values.get("kind") if isinstance(values, Mapping) else None
    if not isinstance(kind, str) or kind not in _INPUTS:
        raise ConfigError(
            f"an input must be of kind {', '.join(_INPUTS)}, got {shortened(kind)}; a newer kind needs a newer "
            "focalnets."
        )
    return _INPUTS[kind].from_dict(values)


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
