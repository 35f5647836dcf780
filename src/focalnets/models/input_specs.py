"""What the input of a network must look like: a crop or a whole image, a clip, text or series. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar, get_args

from focalnets.errors import ConfigError
from focalnets.models.fields import check_types, check_whole_number, checked_keys, shortened

Spec = TypeVar("Spec", bound="Preprocessing")

Side = Literal["shorter", "longer", "both"]
"""Which side of a whole image gets the input size: ``shorter`` and ``longer`` keep proportions, ``both`` does not."""

TextUnit = Literal["bytes", "characters", "words", "tokens"]
"""What one position of a text input stands for."""

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

LARGEST_TOKENIZER = 8 * 2**20
"""Characters in which a tokenizer may be described."""


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

    @property
    def size(self) -> int:
        """What inputs are large, ``input_size_px``; see :attr:`TextInput.size`."""
        return self.input_size_px

    def with_size(self: Spec, size: int) -> Spec:
        """Copy the spec with another :attr:`size`."""
        return dataclasses.replace(self, input_size_px=size)

    def size_in_words(self) -> str:
        """Say how large inputs are, for people."""
        return f"at {self.input_size_px} px"

    def in_words(self) -> str:
        """Say which pixels of an image the network sees, for people."""
        return f"{self.input_size_px} px, centre crop of {self.crop_fraction:g} of the shorter side"

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
class WholeImage(Preprocessing):
    """How a whole image of any proportions becomes the input of a network that answers for places in it.

    Attributes:
        side: What ``input_size_px`` is, see :data:`Side`.
        longest_px: Longer side at most [px], for which the shorter one then becomes smaller; None for no limit.
        antialias: Whether images are smoothed where they become smaller; frameworks that resize by OpenCV do not.
    """

    kind: ClassVar[str] = "whole_image"

    crop_fraction: float = 1.0
    interpolation: Literal["bicubic", "bilinear"] = "bilinear"
    side: Side = "shorter"
    longest_px: int | None = None
    antialias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_fraction != 1.0:
            raise ConfigError(f"crop_fraction must be 1, for whole images are not cropped, got {self.crop_fraction!r}.")
        if self.side not in get_args(Side):
            raise ConfigError(f"side must be one of {', '.join(get_args(Side))}, got {shortened(self.side)}.")
        if self.longest_px is None:
            return
        if type(self.longest_px) is not int:
            raise ConfigError(f"longest_px must be a whole number or None, got {shortened(self.longest_px)}.")
        check_whole_number("longest_px", self.longest_px, 4 * LARGEST_SIDE_PX)
        if self.side != "shorter":
            raise ConfigError(f"longest_px is for side shorter, got side {self.side}.")

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """Compute width and height [px] at which the network sees an image; halves are rounded up."""
        if self.side == "both":
            return self.input_size_px, self.input_size_px
        scale = self.input_size_px / (min if self.side == "shorter" else max)(width, height)
        if self.longest_px is not None:
            scale = min(scale, self.longest_px / max(width, height))
        return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))

    def in_words(self) -> str:
        """Say at which size the network sees an image, for people."""
        if self.side == "both":
            return f"{self.input_size_px} x {self.input_size_px} px, whole images"
        limit = "" if self.longest_px is None else f", the longer one at most {self.longest_px} px"
        return f"whole images with a {self.side} side of {self.input_size_px} px{limit}"


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
        tokenizer: What turns texts into numbers and back, written down: of ``characters`` all of them in their order,
            of ``words`` one a line, of ``tokens`` the content of a ``tokenizer.json``; empty for ``bytes``, or where it
            is not known.
    """

    kind: ClassVar[str] = "text"

    context_length: int = 256
    unit: TextUnit = "bytes"
    vocabulary: str = "bytes"
    vocabulary_size: int = 256
    tokenizer: str = ""

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.tokenizer) > LARGEST_TOKENIZER:
            raise ConfigError(
                f"a tokenizer may be described by at most {LARGEST_TOKENIZER:,} characters, got "
                f"{len(self.tokenizer):,}."
            )
        check_whole_number("context_length", self.context_length, LARGEST_CONTEXT)
        check_whole_number("vocabulary_size", self.vocabulary_size, LARGEST_VOCABULARY)
        if self.unit not in get_args(TextUnit):
            raise ConfigError(f"unit must be one of {', '.join(get_args(TextUnit))}, got {self.unit!r}.")
        if not 0 < len(self.vocabulary) <= 200 or not self.vocabulary.isprintable():
            raise ConfigError(
                f"vocabulary must be a name of 1 to 200 printable characters, got {shortened(self.vocabulary)}."
            )

    @property
    def size(self) -> int:
        """How long inputs are, ``context_length``."""
        return self.context_length

    def with_size(self, size: int) -> TextInput:
        """Copy the spec with another :attr:`size`."""
        return dataclasses.replace(self, context_length=size)

    def size_in_words(self) -> str:
        """Say how long inputs are, for people."""
        return f"in contexts of {self.context_length:,} {self.unit}"

    def in_words(self) -> str:
        """Say what the network reads, for people."""
        return f"{self.context_length:,} {self.unit} at once, {self.vocabulary_size:,} different ones"

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesInput:
    """How a series of numbers becomes the input of a network.

    Attributes:
        length: Most positions that the network reads.
        channels: Names of the channels, in their order.
        mean, std: Of each channel over the training; a series is less the mean and divided by the standard deviation.
    """

    kind: ClassVar[str] = "series"

    length: int = 256
    channels: tuple[str, ...] = ("channel 1",)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_types(self)
        check_whole_number("length", self.length, LARGEST_CONTEXT)
        for name, kind in (("channels", str), ("mean", float), ("std", float)):
            values = tuple(kind(value) for value in getattr(self, name))
            object.__setattr__(self, name, values)
            if not 0 < len(values) <= LARGEST_CONTEXT or len(values) != len(self.channels):
                raise ConfigError(f"{name} must have one entry for each of at least one channel, got {len(values)}.")
        if not all(abs(value) < float("inf") for value in self.mean):
            raise ConfigError(f"mean must be finite, got {shortened(self.mean)}.")
        if not all(0.0 < value < float("inf") for value in self.std):
            raise ConfigError(f"std must be finite and above 0, got {shortened(self.std)}.")

    size = property(lambda self: self.length, doc="How long inputs are, ``length``.")

    def with_size(self, size: int) -> SeriesInput:
        """Copy the spec with another :attr:`size`."""
        return dataclasses.replace(self, length=size)

    def size_in_words(self) -> str:
        """Say how long inputs are, for people."""
        return f"in {self.in_words()}"

    def in_words(self) -> str:
        """Say what the network reads, for people."""
        count = len(self.channels)
        return f"series of up to {self.length:,} positions with {count:,} channel{'s'[: count - 1]}"

    def to_dict(self) -> dict[str, Any]:
        """Write plain values that survive JSON, with the kind of input."""
        lists = {name: list(getattr(self, name)) for name in ("channels", "mean", "std")}
        return {"kind": self.kind, "length": self.length, **lists}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SeriesInput:
        """Build from plain values, see :meth:`TextInput.from_dict`."""
        return cls(**checked_keys(cls, values))


InputSpec = Preprocessing | WholeImage | ClipInput | TextInput | SeriesInput
"""What a checkpoint says of its input: a crop of an image, a whole one, a clip, a text or a series of numbers."""

_INPUTS: dict[str, Any] = {spec.kind: spec for spec in (Preprocessing, WholeImage, ClipInput, TextInput, SeriesInput)}


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
