"""A backbone and a head that answers for places in an image: what all networks of dense tasks have in common.

Axes: B batch, H W height and width [px], h w [tokens], C channels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.embedding import downsample_mask
from focalnets.models.fields import shortened
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import Recompute

__all__ = ["DenseNetwork", "checked_stages", "cut_out", "each_alone", "extend_edges", "framed", "valid_sizes"]

Kind = TypeVar("Kind", bound="DenseNetwork")


class DenseNetwork(nn.Module):
    """A FocalNet whose maps of several stages a head reads; subclasses own the head and ``forward``.

    Args:
        backbone: Built with pyramid norms. Its keys stand below ``backbone.``.
        stages: Which maps the head reads, counted from 0, in ascending order. What only serves others learns nothing,
            so that training in several processes finds a gradient for each parameter that learns.
        class_names: What answers are called.

    Attributes:
        backbone, stages, class_names: As given.
        preprocessing: How images must be prepared; that of the backbone until something else is set.
        origin: Where the weights came from, in words.

    Raises:
        ConfigError: If the backbone has no pyramid norms or not these stages.
    """

    def __init__(self, backbone: FocalNet, stages: Sequence[int], class_names: Sequence[str]) -> None:
        super().__init__()
        if backbone.pyramid_norms is None:
            raise ConfigError("A head for places in an image needs a backbone with pyramid norms (pyramid_norms=True).")
        self.stages = checked_stages(stages, len(backbone.config.depths))
        self.backbone = backbone
        self.class_names = tuple(class_names)
        self.preprocessing: Preprocessing = backbone.preprocessing
        self.origin = backbone.origin
        for stage, norm in enumerate(backbone.pyramid_norms):
            norm.requires_grad_(stage in self.stages)
        for stage, blocks in enumerate(backbone.stages):
            blocks.requires_grad_(stage <= self.stages[-1])

    @property
    def config(self) -> FocalNetConfig:
        """What the backbone is made of."""
        return self.backbone.config

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the maps that the head reads."""
        return tuple(self.config.dims[stage] for stage in self.stages)

    def describe_head(self) -> dict[str, Any]:
        """Describe the head for a checkpoint as plain JSON values, with ``kind`` and ``outputs``."""
        raise NotImplementedError

    def maps(self, images: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Compute the maps that the head reads, finest first: (B, C, h, w) each.

        Args:
            images: (B, 3, H, W).
            mask: Booleans (B, H, W), True for pixels that belong to an image; None if all do.
        """
        maps = self.backbone.forward_pyramid(images, mask)
        return [maps[stage] for stage in self.stages]

    def masks(self, mask: Tensor) -> list[Tensor]:
        """Mark the positions of each of these maps that belong to an image: booleans (B, h, w)."""
        marked, masks = downsample_mask(mask, self.config.patch_size), []
        for stage in range(len(self.config.depths)):
            marked = downsample_mask(marked, 2) if stage else marked
            masks.append(marked)
        return [masks[stage] for stage in self.stages]

    def with_backbone(self: Kind, backbone: nn.Module) -> Kind:
        """The same network for inference with another form of its backbone; the head is shared."""
        kept = {id(module): module for module in self.children()} | {id(self.backbone): backbone}
        other = copy.deepcopy(self, kept)
        other.training = False  # The shared head is left as it is.
        return other

    def set_recompute(self, level: Recompute) -> None:
        """Choose what training computes twice to save memory, see :meth:`FocalNet.set_recompute`."""
        self.backbone.set_recompute(level)


def checked_class_ids(numbers: Any, count: int, *, most: int = 2**53 - 1) -> tuple[int, ...] | None:
    """Return the numbers that data give to ``count`` classes; None stays None.

    Raises:
        ConfigError: If they are not one whole number for each, from 0 to ``most`` and no two the same.
    """
    if numbers is None:
        return None
    fits = isinstance(numbers, list | tuple) and len(numbers) == count
    if not fits or not all(type(number) is int and 0 <= number <= most for number in numbers):
        raise ConfigError(
            f"class_ids must be whole numbers from 0 to {most:,}, one for each of {count} classes, got "
            f"{shortened(numbers)}."
        )
    if len(set(numbers)) < count:
        raise ConfigError(f"class_ids must differ, got {shortened(numbers)}.")
    return tuple(numbers)


def checked_stages(stages: Sequence[int], count: int) -> tuple[int, ...]:
    """Return stages of a backbone in ascending order.

    Raises:
        ConfigError: If there are none, one comes twice or is not among ``count``.
    """
    chosen = tuple(stages)
    if not chosen or any(type(stage) is not int or not 0 <= stage < count for stage in chosen):
        raise ConfigError(f"stages must be numbers from 0 to {count - 1}, got {list(chosen)!r:.80}.")
    if len(set(chosen)) < len(chosen):
        raise ConfigError(f"stages must be different, got {list(chosen)!r:.80}.")
    return tuple(sorted(chosen))


def valid_sizes(images: Tensor, mask: Tensor | None) -> Tensor:
    """Read height and width of each image of a padded batch, (B, 2) int64 [px]; images fill the upper left corner."""
    batch, _, height, width = images.shape
    if mask is None:
        return torch.tensor([[height, width]] * batch)
    return torch.stack([mask.any(2).sum(1), mask.any(1).sum(1)], 1).cpu()


def extend_edges(features: Tensor, mask: Tensor) -> Tensor:
    """Repeat the last valid row and column of each map (B, C, h, w) over what was padded; ``mask`` (B, h, w)."""
    return _repeated(features, mask, (features.shape[-2], features.shape[-1]))


def framed(maps: Sequence[Tensor], masks: Sequence[Tensor] | None, extent: tuple[int, int]) -> list[Tensor]:
    """Give maps the size that they have where the coarsest one has this extent, by cutting or repeating edges.

    Args:
        maps: (B, C, h, w), finest first, each of twice as many rows and columns as the next one.
        masks: Which positions of each belong to an image, (B, h, w), from the upper left corner; None if all do.
        extent: Rows and columns of the coarsest map.
    """
    found = []
    for level, features in enumerate(maps):
        factor = 2 ** (len(maps) - 1 - level)
        size = (extent[0] * factor, extent[1] * factor)
        if masks is None and size == (features.shape[-2], features.shape[-1]):
            found.append(features)
            continue
        mask = torch.ones_like(features[:, 0], dtype=torch.bool) if masks is None else masks[level]
        found.append(_repeated(features, mask, size))
    return found


def _repeated(features: Tensor, mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Take the valid part of each map, with its last row and column repeated up to a size."""
    rows = mask.any(2).sum(1).sub(1).clamp(min=0)
    columns = mask.any(1).sum(1).sub(1).clamp(min=0)
    row = torch.arange(size[0], device=features.device).expand(len(features), -1).minimum(rows[:, None])
    column = torch.arange(size[1], device=features.device).expand(len(features), -1).minimum(columns[:, None])
    number = torch.arange(len(features), device=features.device)[:, None, None]
    return features[number, :, row[:, :, None], column[:, None, :]].permute(0, 3, 1, 2)


def each_alone(head: Callable[[list[Tensor]], Tensor], maps: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Run a head on each image of a padded batch by itself, so that it gets what it gets alone.

    Args:
        head: Takes maps (B, C, h, w), answers with a map (B, K, h', w') whose size is that of the first one.
        maps: Of the padded batch.
        masks: Which positions of each belong to an image, (B, h, w); these fill the upper left corner.

    Returns:
        (B, K, h', w'), zero where only padding is.
    """
    answers = []
    for number in range(len(maps[0])):
        answer = head(cut_out(maps, masks, number))
        missing = (maps[0].shape[-1] - answer.shape[-1], maps[0].shape[-2] - answer.shape[-2])
        answers.append(F.pad(answer, (0, missing[0], 0, missing[1])))
    return torch.cat(answers)


def cut_out(maps: Sequence[Tensor], masks: Sequence[Tensor], number: int) -> list[Tensor]:
    """Take the part of each map (B, C, h, w) that shows one image of the batch, (1, C, h', w'); arguments likewise."""
    cut = []
    for features, mask in zip(maps, masks, strict=True):
        height, width = int(mask[number].any(1).sum()), int(mask[number].any(0).sum())
        cut.append(features[number : number + 1, :, :height, :width])
    return cut
