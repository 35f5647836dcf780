"""Changes to weights that were asked for: another classifier, pyramid norms, focal windows and levels, channels.

Axes: C channels, L focal levels, k kernel size [tokens], D channels of the first stage.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.errors import CheckpointError
from focalnets.models.config import FocalNetConfig, Preprocessing

__all__ = ["adapt_channels", "adapt_focus", "add_pyramid_norms", "replace_classifier"]

Tensors = dict[str, Tensor]


def replace_classifier(tensors: Tensors, config: FocalNetConfig, num_classes: int) -> tuple[Tensors, FocalNetConfig]:
    """Put a freshly drawn classifier in place of the one in the weights; 0 classes leave pooled features."""
    if config.pyramid_norms:
        raise CheckpointError("A dense backbone has no classifier; num_classes cannot be chosen for it.")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}
    config = config.replace(num_classes=num_classes)
    if num_classes:
        kept["head.weight"] = nn.init.trunc_normal_(torch.empty(num_classes, config.dims[-1]), std=0.02)
        kept["head.bias"] = torch.zeros(num_classes)
    return kept, config


def add_pyramid_norms(tensors: Tensors, config: FocalNetConfig) -> tuple[Tensors, FocalNetConfig, list[int]]:
    """Turn a classifier into a backbone for dense tasks, or complete one that lacks the norms of some stages.

    The final norm and the classifier are left out; norms that are missing start at scale 1 and shift 0. The padding of
    an overlapped stem stays the one that the weights were trained with.

    Returns:
        Tensors, config, and the stages whose norms are new.
    """
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(("head.", "norm."))}
    fresh = [stage for stage in range(len(config.depths)) if f"pyramid_norms.{stage}.weight" not in kept]
    for stage in fresh:
        kept[f"pyramid_norms.{stage}.weight"] = torch.ones(config.dims[stage])
        kept[f"pyramid_norms.{stage}.bias"] = torch.zeros(config.dims[stage])
    return kept, config.replace(pyramid_norms=True), fresh


def adapt_focus(
    tensors: Tensors,
    config: FocalNetConfig,
    *,
    focal_levels: Sequence[int] | None = None,
    focal_windows: Sequence[int] | None = None,
) -> tuple[Tensors, FocalNetConfig, tuple[str, ...]]:
    """Fit the depthwise kernels to other windows, and add focal levels.

    A kernel is padded with zeros around its centre, which changes nothing, or cropped to its centre. A new level gets
    a freshly drawn kernel and gates of zero, placed before the gate of the global level; the global level then averages
    the new last level.

    Source: the loader of the official detection backbone. Deviation: there the number of levels may also shrink, which
    drops trained weights; here that is refused.

    Returns:
        Tensors, config and notes.

    Raises:
        CheckpointError: If there would be fewer levels than the weights have.
    """
    new = config.replace(
        focal_levels=tuple(config.focal_levels if focal_levels is None else focal_levels),
        focal_windows=tuple(config.focal_windows if focal_windows is None else focal_windows),
    )
    if any(after < before for after, before in zip(new.focal_levels, config.focal_levels, strict=True)):
        raise CheckpointError(
            f"The weights have {config.focal_levels} focal levels and {new.focal_levels} were asked for; levels can be "
            "added but trained ones are not dropped."
        )
    adapted: Tensors = {}
    for name, tensor in tensors.items():
        match = re.match(r"stages\.(\d+)\.blocks\.\d+\.modulation\.(?:kernels\.(\d+)|(input_projection)\.)", name)
        if match is None:
            adapted[name] = tensor
        elif match[2] is not None:
            adapted[name] = _resize_kernel(tensor, new.kernel_sizes(int(match[1]))[int(match[2])])
        else:
            stage = int(match[1])
            adapted[name] = _insert_gates(tensor, new.focal_levels[stage] - config.focal_levels[stage])
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            for level in range(config.focal_levels[stage], new.focal_levels[stage]):
                kernel = torch.empty(config.dims[stage], *2 * (new.kernel_sizes(stage)[level],))
                bound = 1 / math.sqrt(kernel[0].numel())
                name = f"stages.{stage}.blocks.{block}.modulation.kernels.{level}"
                adapted[name] = nn.init.uniform_(kernel, -bound, bound)
    return adapted, new, tuple(_describe_focus(config, new))


def adapt_channels(
    tensors: Tensors, config: FocalNetConfig, preprocessing: Preprocessing, in_chans: int
) -> tuple[Tensors, FocalNetConfig, Preprocessing]:
    """Fit the first convolution to images with another number of channels.

    One channel takes the sum of the kernels over the channels, so that a grey image gives what its RGB copy gives; more
    channels repeat the kernels in turn and scale them by old / new, which keeps the size of the sums. The channel
    statistics are averaged or repeated likewise.

    Source: the convention of timm's ``adapt_input_conv``.
    """
    name = next(name for name in ("stem.projection.weight", "stem.convolutions.0.weight") if name in tensors)
    weight = tensors[name].float()
    before = weight.shape[1]
    config = config.replace(in_chans=in_chans)
    if in_chans == 1:
        weight = weight.sum(1, keepdim=True)
    else:
        weight = weight[:, [channel % before for channel in range(in_chans)]] * (before / in_chans)
    return {**tensors, name: weight}, config, preprocessing.with_channels(in_chans)


def _resize_kernel(kernel: Tensor, size: int) -> Tensor:
    """Pad (C, k, k) with zeros to (C, size, size), or crop it to its centre."""
    margin = (size - kernel.shape[-1]) // 2  # negative margins crop
    return F.pad(kernel, (margin, margin, margin, margin)) if margin else kernel


def _insert_gates(projection: Tensor, levels: int) -> Tensor:
    """Put ``levels`` rows of zeros before the last row, which is the gate of the global level."""
    if not levels:
        return projection
    return torch.cat([projection[:-1], projection.new_zeros(levels, *projection.shape[1:]), projection[-1:]])


def _describe_focus(old: FocalNetConfig, new: FocalNetConfig) -> list[str]:
    notes = []
    if new.focal_windows != old.focal_windows:
        cropped = any(after < before for after, before in zip(new.focal_windows, old.focal_windows, strict=True))
        how = (
            "kernels were cropped to their centres where windows shrank"
            if cropped
            else "kernels were padded with zeros"
        )
        notes.append(f"focal_windows were changed from {old.focal_windows} to {new.focal_windows}: {how}.")
    if new.focal_levels != old.focal_levels:
        notes.append(
            f"focal_levels were raised from {old.focal_levels} to {new.focal_levels}: kernels of new levels are "
            "freshly drawn and their gates are zero."
        )
    return notes
