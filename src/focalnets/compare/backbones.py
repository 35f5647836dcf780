"""Backbones of any make below a head for places in an image, and whole networks for any task.

Axes: B batch, H W height and width [px], h w [tokens], C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from focalnets.compare.models import ComparedModel, build_module, load_timm_network, timm_network
from focalnets.errors import CheckpointError, ConfigError, ShapeError
from focalnets.models.config import Preprocessing
from focalnets.models.heads.pyramid import MapNorm
from focalnets.models.variants import VARIANTS
from focalnets.tasks.task import Task
from focalnets.weights.loading import load_model

__all__ = ["TimmBackbone", "build_compared"]

_STRIDES = (4, 8, 16, 32)


@dataclasses.dataclass(frozen=True)
class _Shape:
    """What a head asks of the config of its backbone: channels, strides [px] and blocks of each stage."""

    dims: tuple[int, ...]
    strides: tuple[int, ...] = _STRIDES
    depths: tuple[int, ...] = (1, 1, 1, 1)

    @property
    def patch_size(self) -> int:
        """Stride of the first stage [px]."""
        return self.strides[0]

    @property
    def embed_dim(self) -> int:
        """Channels of the first stage."""
        return self.dims[0]


class TimmBackbone(nn.Module):
    """A network of timm in the place of a FocalNet: maps of four stages, each normalised as those of a FocalNet are.

    It takes no notice of masks, so padding reaches its maps: show it images that fill their batch.

    Args:
        name: As users name it.
        network: Made by timm with ``features_only=True``.
        size_px: Height and width of the images [px].

    Attributes:
        config: Channels and strides of the stages.
        pyramid_norms: One for each stage, over the channels.
        stages: Empty: all of it learns.
        preprocessing, origin: As of a FocalNet.

    Raises:
        ShapeError: If it has no maps with a place for every 4, 8, 16 and 32 px.
    """

    def __init__(self, name: str, network: nn.Module, size_px: int) -> None:
        super().__init__()
        known: Any = network.feature_info
        strides, channels = list(known.reduction()), list(known.channels())
        if not set(_STRIDES) <= set(strides):
            found = ", ".join(map(str, strides))
            raise ShapeError(
                f"a head for places in an image needs maps of strides 4, 8, 16 and 32; {name} has {found}."
            )
        self._places = [strides.index(stride) for stride in _STRIDES]
        self._channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        self.network = network
        self.config = _Shape(tuple(channels[place] for place in self._places))
        self.pyramid_norms = nn.ModuleList(MapNorm(count) for count in self.config.dims)
        self.stages = nn.ModuleList()
        self.preprocessing = Preprocessing(input_size_px=size_px)
        self.origin = "random weights"

    def set_recompute(self, level: str) -> None:
        """Refuse any choice but ``none``: only FocalNets compute anything again in the backward pass."""
        if level != "none":
            raise ConfigError(f"recompute is for FocalNets; other networks are trained with none, got {level!r}.")

    def forward_pyramid(self, images: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Compute the maps of all stages, finest first: (B, C, h, w) each, from images (B, 3, H, W)."""
        maps = self.network(images)
        chosen = [maps[place] for place in self._places]
        if self._channels_last:
            chosen = [each.permute(0, 3, 1, 2) for each in chosen]
        return [norm(each) for norm, each in zip(self.pyramid_norms, chosen, strict=True)]


def build_compared(
    model: ComparedModel, task: Task, labels: Sequence[str], *, size_px: int, drop_path: float | None = None
) -> nn.Module:
    """Build a network of a comparison with the task's head, in training mode on the CPU.

    It has the weights that the model names, else random ones; the head is always drawn.

    Args:
        model: Which.
        task: What it is for.
        labels: What its answers are to be called.
        size_px: Height and width of the images [px].
        drop_path: Stochastic depth; None keeps the network's own.

    Raises:
        ShapeError: If the head cannot stand on it.
        CheckpointError: If its weights cannot be read or are another network's.
        ValueError, RuntimeError, AssertionError, TypeError: Of timm, if the network cannot take such images.
    """
    if model.weights is not None and model.family == "focalnets":
        backbone: Any = _with_weights(model, task, drop_path)
        return _prepared(task.build(backbone, labels, pretrained=True), task, size_px)
    if not task.on_pyramid:
        return build_module(model, size_px=size_px, num_classes=len(labels), drop_path=drop_path)
    if model.family == "timm":
        settings = {**model.changes, "features_only": True}
        settings |= {} if drop_path is None else {"drop_path_rate": drop_path}
        if model.weights is None:
            network = timm_network(model.architecture, size_px, settings)
        else:
            network = load_timm_network(model.architecture, size_px, {"num_classes": 0, **settings}, model.weights)
        backbone = TimmBackbone(model.name, network, size_px)
    else:
        backbone = build_module(model, size_px=size_px, num_classes=0, drop_path=drop_path, pyramid_norms=True)
    return _prepared(task.build(backbone, labels, pretrained=False), task, size_px)


def _prepared(module: Any, task: Task, size_px: int) -> nn.Module:
    if task.on_pyramid:
        module.preprocessing = dataclasses.replace(module.preprocessing, input_size_px=size_px)
    return module.train()


def _with_weights(model: ComparedModel, task: Task, drop_path: float | None) -> Any:
    """Load one of ours: a classifier, whose head is replaced afterwards."""
    assert model.weights is not None
    options: dict[str, Any] = {"pyramid_norms": True} if task.on_pyramid else {}
    options |= {} if drop_path is None else {"drop_path": drop_path}
    network = load_model(model.weights, **options)
    expected = VARIANTS[model.architecture].config.replace(**model.changes)
    differing = [name for name in ("embed_dim", "depths") if getattr(network.config, name) != getattr(expected, name)]
    if differing:
        name = model.name.partition("@")[0]
        raise CheckpointError(f"'{model.weights}' holds another network than {name}: {', '.join(differing)} differ.")
    return network
