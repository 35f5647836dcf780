"""The architecture's own variations: one table, one skeleton, one change a row.

The skeleton is ``focalnet_tiny_lrf``: 96 channels, blocks 2-2-6-2, three focal levels from 3x3. To add a row, write a
mixer of tokens (B, H, W, C) and call :func:`add_variation`, or change the config by overrides alone; in a file of your
own too, see :func:`load_rows`.
"""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focalnets.errors import ConfigError, FocalNetsError
from focalnets.files import listed, user_path
from focalnets.models.config import FocalNetConfig
from focalnets.models.variants import variant

if TYPE_CHECKING:
    from torch import nn

    from focalnets.models.focalnet import FocalNet
    from focalnets.models.layers import FocalModulation
    from focalnets.models.mixers import MixerBuilder

__all__ = ["SKELETON", "VARIATIONS", "Variation", "add_variation", "build_variation", "load_rows", "loaded_rows"]

SKELETON = "focalnet_tiny_lrf"

_NOT_OF_THE_SKELETON = ("drop_path", "in_chans", "num_classes", "pyramid_norms")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variation:
    """One change to the skeleton.

    Attributes:
        name: As typed and printed.
        summary: What is changed.
        overrides: Fields of the config that differ.
        width: Factor on the skeleton's channels.
        mixer: What takes the place of focal modulation; None keeps it.
        published_top1: ImageNet-1K top-1 [%] that Yang et al. report, None where they report none.
    """

    name: str
    summary: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    width: float = 1.0
    mixer: MixerBuilder | None = None
    published_top1: float | None = None

    def settings(self, skeleton: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """List the fields in which the network differs from :data:`SKELETON`, which ``skeleton`` may change itself.

        Raises:
            ConfigError: If a field is unknown or out of range.
        """
        unfit = [name for name in _NOT_OF_THE_SKELETON if name in (skeleton or {})]
        if unfit:
            raise ConfigError(f"the skeleton's {', '.join(unfit)} cannot be chosen; leave it out.")
        changed = {**(skeleton or {}), **self.overrides}
        base = variant(SKELETON).config.replace(**(skeleton or {}))
        if self.width != 1.0:
            changed["embed_dim"] = max(1, round(self.width * base.embed_dim))
        base.replace(**changed)
        return changed

    @property
    def config(self) -> FocalNetConfig:
        """The config of the network around the mixer."""
        return variant(SKELETON).config.replace(**self.settings())


VARIATIONS: dict[str, Variation] = {}
"""All rows by name, in the order in which they are shown."""


def add_variation(row: Variation) -> None:
    """Put a row into the table.

    Raises:
        ConfigError: If the name is taken.
    """
    if row.name in VARIATIONS:
        raise ConfigError(f"There is a variation called {row.name!r} already; choose another name.")
    VARIATIONS[row.name] = row


def load_rows(files: str | Path | Sequence[str | Path]) -> None:
    """Run Python files that call :func:`add_variation`, one or several; each once in a process.

    Raises:
        ConfigError: If a file cannot be read, breaks down, or adds a name that is taken.
    """
    for file in listed(files):
        path = user_path(file).resolve()
        if path in _LOADED:
            continue
        if not path.is_file():
            raise ConfigError(f"There is no file '{file}'; name a Python file that calls add_variation.")
        try:
            runpy.run_path(str(path))
        except FocalNetsError:
            raise
        except Exception as error:
            raise ConfigError(f"'{file}' broke down while adding rows ({type(error).__name__}: {error}).") from error
        _LOADED.add(path)


_LOADED: set[Path] = set()


def loaded_rows() -> list[str]:
    """List the files that :func:`load_rows` has run in this process, for other processes to run too."""
    return sorted(map(str, _LOADED))


def build_variation(row: Variation, skeleton: Mapping[str, Any] | None = None, **overrides: Any) -> FocalNet:
    """Build the network of a row with random weights.

    Args:
        row: Of the table, or one of your own.
        skeleton: Fields of the skeleton's config that all rows of a comparison change, e.g. ``embed_dim``.
        **overrides: Further fields of the config, which the row cannot change, e.g. ``num_classes``.
    """
    from focalnets.models.mixers import replace_mixers
    from focalnets.weights.loading import create_model

    network = create_model(SKELETON, **{**row.settings(skeleton), **overrides})
    return network if row.mixer is None else replace_mixers(network, row.mixer)


def _altered(**change: Any) -> MixerBuilder:
    """Alter focal modulation by arguments of :class:`focalnets.models.mixers.AlteredModulation`."""

    def build(focal: FocalModulation) -> nn.Module:
        from focalnets.models.mixers import AlteredModulation

        return AlteredModulation(focal.dim, focal.focal_levels, focal.kernels[0].shape[-1], **change)

    return build


def _convolutional(name: str, **settings: Any) -> MixerBuilder:
    """Choose a mixer with the kernels of the skeleton, by the name of its class."""

    def build(focal: FocalModulation) -> nn.Module:
        from focalnets.models import mixers

        return getattr(mixers, name)(focal.dim, focal.focal_levels, focal.kernels[0].shape[-1], **settings)

    return build


def _attention(name: str, **settings: Any) -> MixerBuilder:
    def build(focal: FocalModulation) -> nn.Module:
        from focalnets.models import mixers

        return getattr(mixers, name)(focal.dim, **settings)

    return build


def _pooling(_: FocalModulation) -> nn.Module:
    from focalnets.models.mixers import NeighbourhoodPooling

    return NeighbourhoodPooling()


def _levels(count: int, window: int = 3) -> dict[str, Any]:
    return {"focal_levels": (count,) * 4, "focal_windows": (window,) * 4}


_SMALL_FIELD = _levels(2)

for _row in (
    Variation(name="full", summary="the skeleton as it is: 3 levels, 3x3 to 7x7, and the global one",
              published_top1=82.3),
    Variation(name="levels_0", summary="no focal level, only the global one (global pooling aggregator)",
              overrides=_levels(0), published_top1=75.7),
    Variation(name="levels_1", summary="1 focal level of 3x3", overrides=_levels(1), published_top1=82.0),
    Variation(name="levels_1_k13", summary="1 focal level of 13x13, the reach of three",
              overrides=_levels(1, 13), published_top1=81.9),
    Variation(name="levels_2", summary="2 focal levels, 3x3 and 5x5", overrides=_SMALL_FIELD, published_top1=82.1),
    Variation(name="levels_3_k5", summary="3 focal levels, 5x5 to 9x9", overrides=_levels(3, 5)),
    Variation(name="levels_4", summary="4 focal levels, 3x3 to 9x9", overrides=_levels(4), published_top1=82.2),
    Variation(name="additive", summary="the modulator is added to the query instead of multiplied",
              mixer=_altered(combine="add"), published_top1=81.5),
    Variation(name="no_gates", summary="levels are summed without gates", mixer=_altered(gates="none"),
              published_top1=81.9),
    Variation(name="no_global", summary="no global level", mixer=_altered(gates="no_global"), published_top1=82.0),
    Variation(name="top_level_only", summary="the topmost focal level alone, with its gate",
              mixer=_altered(gates="top"), published_top1=81.9),
    Variation(name="overlapped_embedding", summary="2 levels, overlapped patches (7x7 stride 4, 3x3 stride 2)",
              overrides={**_SMALL_FIELD, "stem": "overlapped"}, published_top1=82.4),
    Variation(name="deeper_thinner", summary="2 levels, overlapped patches, blocks 3-3-16-3, channels two thirds",
              overrides={**_SMALL_FIELD, "stem": "overlapped", "depths": (3, 3, 16, 3)}, width=2 / 3,
              published_top1=82.7),
    Variation(name="depthwise_convolution", summary="stacked depthwise convolutions between linear layers",
              mixer=_convolutional("DepthwiseConvolution"), published_top1=81.6),
    Variation(name="pooling_aggregator", summary="levels are means of their windows, nothing learnt in them",
              mixer=_altered(kernels="average"), published_top1=80.5),
    Variation(name="pooling", summary="PoolFormer's mixer: the mean of 3x3 less the token", mixer=_pooling),
    Variation(name="multi_scale_attention", summary="attention to the levels at each place, QKV projected first",
              mixer=_convolutional("MultiScaleAttention", projects_first=True), published_top1=81.5),
    Variation(name="multi_scale_attention_later", summary="the same, QKV projected behind the levels",
              mixer=_convolutional("MultiScaleAttention", projects_first=False), published_top1=80.8),
    Variation(name="sliding_attention", summary="self-attention to the 7x7 tokens around each",
              mixer=_attention("SlidingAttention"), published_top1=81.5),
    Variation(name="windowed_attention", summary="self-attention in 7x7 windows that do not overlap",
              mixer=_attention("WindowedAttention")),
    Variation(name="global_attention", summary="self-attention among all tokens", mixer=_attention("GlobalAttention")),
):  # fmt: skip
    add_variation(_row)
