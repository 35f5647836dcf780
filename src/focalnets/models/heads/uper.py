"""UPerNet's head and the small convolutional head beside it, exact to the checkpoints of mmsegmentation.

Axes: B batch, h w [tokens], C channels of a map, D hidden channels, K classes.

Source: Xiao et al., Unified Perceptual Parsing, ECCV 2018; settings and order of operations of ``UPerHead`` and
``FCNHead`` of mmsegmentation with ``align_corners=False``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.ops.eager import is_exporting

__all__ = ["POOLED_SIZES", "ConvolutionNorm", "FcnHead", "UperHead"]

POOLED_SIZES = (1, 2, 3, 6)
"""Height and width to which the last map is pooled [tokens]."""


class ConvolutionNorm(nn.Module):
    """A convolution without bias, batch norm and ReLU; (B, C, h, w) to (B, D, h, w)."""

    def __init__(self, before: int, after: int, kernel_size: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the three."""
        return F.relu(self.norm(self.convolution(features)))


class UperHead(nn.Module):
    """A pyramid of pooled maps on the last stage, a feature pyramid over all, and a classifier on their union."""

    def __init__(self, channels: Sequence[int], hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        *finer, last = channels
        self.pooled = nn.ModuleList(ConvolutionNorm(last, hidden, 1) for _ in POOLED_SIZES)
        self.pooled_fusion = ConvolutionNorm(last + len(POOLED_SIZES) * hidden, hidden, 3)
        self.laterals = nn.ModuleList(ConvolutionNorm(count, hidden, 1) for count in finer)
        self.smoothing = nn.ModuleList(ConvolutionNorm(hidden, hidden, 3) for _ in finer)
        self.fusion = ConvolutionNorm(len(channels) * hidden, hidden, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(hidden, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Classify each position of the finest map: maps (B, C, h, w), finest first, to (B, K, h, w)."""
        *finer, last = maps
        pooled = [
            _resized(layer(_pooled(last, size)), last) for layer, size in zip(self.pooled, POOLED_SIZES, strict=True)
        ]
        levels = [layer(features) for layer, features in zip(self.laterals, finer, strict=True)]
        levels.append(self.pooled_fusion(torch.cat([last, *pooled], 1)))
        for level in range(len(levels) - 1, 0, -1):
            levels[level - 1] = levels[level - 1] + _resized(levels[level], levels[level - 1])
        smoothed = [layer(level) for layer, level in zip(self.smoothing, levels[:-1], strict=True)] + [levels[-1]]
        joined = torch.cat([smoothed[0], *(_resized(level, smoothed[0]) for level in smoothed[1:])], 1)
        return self.classifier(self.dropout(self.fusion(joined)))


class FcnHead(nn.Module):
    """A convolution and a classifier on one map, (B, C, h, w) to (B, K, h, w); it helps a deep network to learn."""

    def __init__(self, channels: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.convolution = ConvolutionNorm(channels, hidden, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(hidden, classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Classify each position."""
        return self.classifier(self.dropout(self.convolution(features)))


def _pooled(features: Tensor, size: int) -> Tensor:
    """Average a map (B, C, h, w) over ``size`` by ``size`` parts, as even as they can be.

    Formats for other runtimes know no such pooling of maps of any size; there it is a product with the shares (size, h)
    that rows and columns have in the parts.
    """
    if size == 1 or not is_exporting():
        return F.adaptive_avg_pool2d(features, size)
    by_row, by_column = (_shares(count, size, features) for count in features.shape[-2:])
    return by_row @ features @ by_column.transpose(0, 1)


def _shares(count: int, parts: int, like: Tensor) -> Tensor:
    part = torch.arange(parts, device=like.device)[:, None]
    first, end = part * count // parts, -(-(part + 1) * count // parts)
    place = torch.arange(count, device=like.device)
    return ((place >= first) & (place < end)).to(like.dtype) / (end - first)


def _resized(features: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)
