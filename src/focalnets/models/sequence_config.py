"""What networks of one-dimensional data are made of, and the table of ours. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

from focalnets.errors import ConfigError, UnknownNameError, nearest
from focalnets.models.fields import PlainConfig, check_types, check_whole_number, is_finite, shortened
from focalnets.models.input_specs import LARGEST_VOCABULARY

__all__ = [
    "LANGUAGE_VARIANTS",
    "LanguageConfig",
    "LanguageVariant",
    "Mixer",
    "Running",
    "SequenceMixer",
    "TextClassifierConfig",
    "language_variant",
]

Mixer = Literal["focal", "attention", "recurrence", "long_convolution"]
"""What mixes the tokens of a block: causal focal modulation, or what it is measured against: attention with rotary
positions, a gated linear recurrence, a gated convolution as long as the text."""

Running = Literal["mean", "ema", "gated"]
"""What follows the last level: ``mean`` = its mean over all positions so far; ``ema`` = exponential means of learnt
time scales; ``gated`` = one exponential mean whose decay depends on the position."""

SequenceMixer = Literal["focal", "attention"]
"""What lets the positions of a network that classifies sequences see each other."""

LARGEST_DIM, LARGEST_DEPTH, LARGEST_LEVELS, LARGEST_REACH, LARGEST_KEYS = 2**16, 1000, 16, 2**16, 2**12
"""Channels, blocks, levels, positions that one kernel may span, channels of a key; more is taken for a mistake or a
hostile file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageConfig(PlainConfig):
    """The complete description of a causal network; equal configs build equal networks.

    Attributes:
        vocabulary_size: Tokens that there are.
        dim: Channels C.
        depth: Blocks.
        mixer: What mixes the tokens of a block, see :data:`Mixer`; the next six are for ``focal``.
        kernel_sizes: Kernel size of each focal level [tokens], odd or even.
        dilations: Tokens between the taps of each kernel; empty for 1 everywhere.
        running: What follows the last level, see :data:`Running`.
        scales: Time scales of ``ema``, each a level of its own.
        gate_heads: Groups of channels with gates of their own.
        memory_keys: Channels of the keys of an associative memory beside the levels, in each group of channels; 0 for
            none. Its state grows with them, not with the length.
        attention_every: Every so manieth block attends instead, 0 for none: a hybrid, whose state grows with the
            length.
        attention_heads: Heads of a block that attends.
        short_convolution: Taps of a causal convolution in front of what mixes, of every mixer but ``focal``, which has
            its own; 0 for none.
        mlp_ratio: Hidden channels of the MLP over channels.
        dropout: Dropout probability at the end of each branch.
    """

    vocabulary_size: int = 256
    dim: int = 128
    depth: int = 4
    mixer: Mixer = "focal"
    kernel_sizes: tuple[int, ...] = (3, 5, 7)
    dilations: tuple[int, ...] = ()
    running: Running = "mean"
    scales: int = 1
    gate_heads: int = 1
    memory_keys: int = 0
    attention_every: int = 0
    attention_heads: int = 4
    short_convolution: int = 0
    mlp_ratio: float = 4.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("kernel_sizes", "dilations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_whole_number("vocabulary_size", self.vocabulary_size, LARGEST_VOCABULARY)
        check_whole_number("dim", self.dim, LARGEST_DIM)
        check_whole_number("depth", self.depth, LARGEST_DEPTH)
        check_whole_number("scales", self.scales, LARGEST_LEVELS)
        check_whole_number("gate_heads", self.gate_heads, self.dim)
        check_whole_number("attention_heads", self.attention_heads, self.dim)
        if len(self.kernel_sizes) > LARGEST_LEVELS:
            raise ConfigError(f"kernel_sizes may have at most {LARGEST_LEVELS} levels, got {len(self.kernel_sizes):,}.")
        if self.dilations and len(self.dilations) != len(self.kernel_sizes):
            raise ConfigError(
                f"dilations needs one entry for each of the {len(self.kernel_sizes)} kernel_sizes or none, got "
                f"{len(self.dilations)}."
            )
        for name in ("kernel_sizes", "dilations"):
            if not all(type(value) is int and 1 <= value <= LARGEST_REACH for value in getattr(self, name)):
                raise ConfigError(
                    f"{name} must be whole numbers from 1 to {LARGEST_REACH:,}, got {shortened(*getattr(self, name))}."
                )
        if any(size * step > LARGEST_REACH for size, step in zip(self.kernel_sizes, self.steps, strict=True)):
            raise ConfigError(f"a kernel may span at most {LARGEST_REACH:,} tokens, kernel size times dilation.")
        for name, names in (("mixer", get_args(Mixer)), ("running", get_args(Running))):
            if getattr(self, name) not in names:
                raise ConfigError(f"{name} must be one of {', '.join(names)}, got {shortened(getattr(self, name))}.")
        if self.scales > 1 and self.running != "ema":
            raise ConfigError(f"scales are for running ema, got {self.scales} with running {self.running}.")
        if self.dim % self.gate_heads:
            raise ConfigError(f"gate_heads must divide dim {self.dim}, got {self.gate_heads}.")
        if not 0 <= self.memory_keys <= LARGEST_KEYS:
            raise ConfigError(
                f"memory_keys must be a whole number from 0 to {LARGEST_KEYS:,}, got {shortened(self.memory_keys)}."
            )
        if self.memory_keys and self.mixer != "focal":
            raise ConfigError(f"memory_keys are for the mixer focal, got {self.mixer}; leave them out.")
        if self.attention_every < 0:
            raise ConfigError(f"attention_every must be a whole number from 0 up, got {self.attention_every}.")
        attends = self.mixer == "attention" or self.attention_every > 0
        if attends and (self.dim % self.attention_heads or self.dim // self.attention_heads % 2):
            raise ConfigError(
                f"attention_heads must divide dim {self.dim} into heads of even size, got {self.attention_heads}."
            )
        if not 0 <= self.short_convolution <= LARGEST_REACH:
            raise ConfigError(
                f"short_convolution must be a whole number from 0 to {LARGEST_REACH:,}, got {self.short_convolution}."
            )
        if self.short_convolution and self.mixer == "focal" and not attends:
            raise ConfigError(
                "short_convolution is for other mixers than focal, whose levels are convolutions; leave it out."
            )
        _check_mlp(self.mlp_ratio, self.dim)
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout is a probability from 0 to below 1, got {self.dropout!r}.")

    @property
    def steps(self) -> tuple[int, ...]:
        """Tokens between the taps of each kernel."""
        return self.dilations or (1,) * len(self.kernel_sizes)

    def mixer_of(self, block: int) -> Mixer:
        """Tell what mixes the tokens of a block, counted from 0."""
        attends = self.attention_every > 0 and (block + 1) % self.attention_every == 0
        return "attention" if attends else self.mixer


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextClassifierConfig(PlainConfig):
    """The complete description of a bidirectional network that classifies whole sequences.

    Attributes:
        vocabulary_size: Tokens that there are; 0 for series of numbers.
        channels: Numbers at each position of a series; 0 for tokens.
        patch: Positions of a series that become one token; 1 for tokens.
        patch_window: Positions of a series that such a token sees, its own in their middle: an overlapped embedding. 0
            for its own alone.
        num_classes: Classes K.
        dim: Channels C.
        depth: Blocks.
        mixer: What lets positions see each other: focal modulation, or attention with rotary positions to compare with.
        attention_heads: Heads of attention, of even size; of no matter for focal modulation.
        focal_levels: Focal levels, without the global one.
        focal_window: Kernel size of the first level [positions], odd; each further one is larger by 2.
        mlp_ratio: Hidden channels of the MLP over channels.
        dropout: Dropout probability of embedded tokens, within branches and in front of the classifier.
        drop_path: Probability of dropping a whole branch in the last block; grows linearly from 0 in the first.
    """

    vocabulary_size: int = 256
    channels: int = 0
    patch: int = 1
    patch_window: int = 0
    num_classes: int = 2
    dim: int = 128
    depth: int = 4
    mixer: SequenceMixer = "focal"
    attention_heads: int = 4
    focal_levels: int = 3
    focal_window: int = 3
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        if (self.vocabulary_size > 0) == (self.channels > 0):
            raise ConfigError(
                "one of vocabulary_size, for tokens, and channels, for series, must be above 0 and the other 0, got "
                f"{shortened(self.vocabulary_size)} and {shortened(self.channels)}."
            )
        for name, smallest, most in (
            ("vocabulary_size", 0, LARGEST_VOCABULARY), ("channels", 0, LARGEST_DIM), ("patch", 1, LARGEST_REACH),
            ("patch_window", 0, LARGEST_REACH),
            ("num_classes", 1, 2**26), ("attention_heads", 1, LARGEST_DIM), ("dim", 1, LARGEST_DIM),
            ("depth", 1, LARGEST_DEPTH), ("focal_levels", 0, LARGEST_LEVELS),
            ("focal_window", 1, LARGEST_REACH),
        ):  # fmt: skip
            if not smallest <= getattr(self, name) <= most:
                raise ConfigError(
                    f"{name} must be a whole number from {smallest} to {most:,}, got {shortened(getattr(self, name))}."
                )
        if self.vocabulary_size and self.patch != 1:
            raise ConfigError(f"patch is for series of numbers, got {self.patch} for tokens.")
        if self.patch_window and (self.vocabulary_size or self.patch_window < self.patch):
            raise ConfigError(
                f"patch_window is for series of numbers and at least as long as patch {self.patch}, got "
                f"{self.patch_window}."
            )
        if self.mixer not in get_args(SequenceMixer):
            raise ConfigError(
                f"mixer must be one of {', '.join(get_args(SequenceMixer))}, got {shortened(self.mixer)}."
            )
        if self.mixer == "attention" and (self.dim % self.attention_heads or self.dim // self.attention_heads % 2):
            raise ConfigError(
                f"attention_heads must divide dim {self.dim} into heads of even size, got {self.attention_heads}."
            )
        if self.focal_window % 2 == 0:
            raise ConfigError(f"focal_window must be odd so that a window has a centre, got {self.focal_window}.")
        _check_mlp(self.mlp_ratio, self.dim)
        for name in ("dropout", "drop_path"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} is a probability from 0 to below 1, got {getattr(self, name)!r}.")


def _check_mlp(ratio: float, dim: int) -> None:
    if not ratio > 0 or not is_finite(ratio) or ratio * dim > LARGEST_DIM * 16:
        raise ConfigError(f"mlp_ratio must be a finite number above 0, got {ratio!r}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageVariant:
    """A causal network with a name.

    Attributes:
        name: What it is called.
        summary: What it is, for people.
        config: What it is made of.
        context_length: Tokens that it is trained on at once.
    """

    name: str
    summary: str
    config: LanguageConfig
    context_length: int


_SMALL: dict[str, Any] = {"vocabulary_size": 65, "dim": 128, "depth": 4}
_NANO: dict[str, Any] = {"vocabulary_size": 65, "dim": 384, "depth": 6, "dropout": 0.2}

LANGUAGE_VARIANTS: dict[str, LanguageVariant] = {
    row.name: row
    for row in (
        LanguageVariant(
            name="focal_language_small", summary="0.8 M parameters, running mean", context_length=256,
            config=LanguageConfig(**_SMALL),
        ),
        LanguageVariant(
            name="focal_language_small_ema", summary="0.8 M parameters, three learnt time scales, gates of 4 groups",
            context_length=256, config=LanguageConfig(**_SMALL, running="ema", scales=3, gate_heads=4),
        ),
        LanguageVariant(
            name="focal_language_small_gated", summary="0.9 M parameters, a decay that depends on the token",
            context_length=256, config=LanguageConfig(**_SMALL, running="gated"),
        ),
        LanguageVariant(
            name="focal_language_small_memory", summary="0.8 M parameters, associative memory, keys of 16 channels",
            context_length=256, config=LanguageConfig(**_SMALL, memory_keys=16),
        ),
        LanguageVariant(
            name="focal_language_small_hybrid", summary="0.8 M parameters, the last of four blocks attends",
            context_length=256, config=LanguageConfig(**_SMALL, attention_every=4),
        ),
        LanguageVariant(
            name="focal_language_base", summary="10.7 M parameters, the size of nanoGPT's for characters",
            context_length=256, config=LanguageConfig(**_NANO),
        ),
        LanguageVariant(
            name="focal_language_base_hybrid", summary="10.7 M parameters, every third block attends",
            context_length=256, config=LanguageConfig(**_NANO, attention_every=3, attention_heads=6),
        ),
        LanguageVariant(
            name="attention_language_small", summary="0.8 M parameters, attention with rotary positions",
            context_length=256, config=LanguageConfig(**_SMALL, mixer="attention"),
        ),
        LanguageVariant(
            name="short_conv_attention_language_small",
            summary="0.8 M parameters, attention behind a convolution of 4 tokens", context_length=256,
            config=LanguageConfig(**_SMALL, mixer="attention", short_convolution=4),
        ),
        LanguageVariant(
            name="recurrence_language_small", summary="0.8 M parameters, gated linear recurrence", context_length=256,
            config=LanguageConfig(**_SMALL, mixer="recurrence", short_convolution=4),
        ),
        LanguageVariant(
            name="long_convolution_language_small", summary="0.8 M parameters, gated long convolution",
            context_length=256, config=LanguageConfig(**_SMALL, mixer="long_convolution", short_convolution=3),
        ),
        LanguageVariant(
            name="attention_language_base", summary="10.7 M parameters, attention with rotary positions",
            context_length=256, config=LanguageConfig(**_NANO, mixer="attention", attention_heads=6),
        ),
    )
}  # fmt: skip
"""Causal networks by name: ours, and others of the same size to compare them with; ``vocabulary_size`` is that of the
data that a network is built for."""


def language_variant(name: str) -> LanguageVariant:
    """Look up the row of that name.

    Raises:
        UnknownNameError: If there is none; the message names the closest ones.
    """
    if name not in LANGUAGE_VARIANTS:
        raise UnknownNameError(
            f"There is no language network called {shortened(name)}; {nearest(str(name), LANGUAGE_VARIANTS)}"
        )
    return LANGUAGE_VARIANTS[name]
