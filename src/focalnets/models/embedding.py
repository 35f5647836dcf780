"""From an image to tokens, and from a finer map to a coarser one.

Axes: B batch, C channels, H and W height and width, D channels of the tokens. Tokens are channels-last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.models.layers import NORM_EPSILON
from focalnets.ops.eager import is_exporting, is_traced_or_transformed

__all__ = ["ConvolutionalEmbedding", "PatchEmbedding", "channels_last", "downsample_mask", "keep_valid"]


class PatchEmbedding(nn.Module):
    """A strided convolution and a LayerNorm that turn an image or a finer map into tokens.

    Sizes that the stride does not divide are completed with zeros at the right and lower edge, so that a map of n
    positions gives ceil(n / stride) tokens and no position is lost.
    """

    def __init__(self, in_chans: int, dim: int, kernel_size: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_chans, dim, kernel_size, stride, padding)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        # With this many zeros more, floor((n + 2 padding + edge - kernel) / stride) + 1 = ceil(n / stride) for every n.
        self.edge = max(0, kernel_size - 1 - 2 * padding)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Embed (B, C, H, W) into tokens (B, ceil(H/stride), ceil(W/stride), D); zero where ``mask`` is False."""
        features = keep_valid(features, mask)
        return self.norm(self.projection(_complete(features, self.projection.stride[0], self.edge)).permute(0, 2, 3, 1))


class ConvolutionalEmbedding(nn.Module):
    """3x3 convolutions with batch normalisation, a GELU between them, and a LayerNorm after the last if asked for.

    Small networks trained from scratch on little data learn faster with it than with one large-stride convolution.

    Args:
        widths: Channels before the first convolution and after each.
        strides: Stride of each convolution.
        norm: Whether a LayerNorm comes last.
    """

    def __init__(self, widths: Sequence[int], strides: Sequence[int], *, norm: bool) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, 1, bias=False)
            for before, after, stride in zip(widths, widths[1:], self.strides, strict=False)
        )
        self.batch_norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.norm = nn.LayerNorm(widths[-1], eps=NORM_EPSILON) if norm else None

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Embed (B, C, H, W) into tokens (B, ceil(H/s), ceil(W/s), D), s being the product of the strides."""
        layers = zip(self.convolutions, self.batch_norms, self.strides, strict=True)
        for index, (convolution, batch_norm, stride) in enumerate(layers):
            features = keep_valid(features, mask)
            mask = None if mask is None else downsample_mask(mask, stride)
            features = batch_norm(convolution(features))
            if index < len(self.strides) - 1:
                features = F.gelu(features)
        tokens = features.permute(0, 2, 3, 1)
        return tokens if self.norm is None else self.norm(tokens)


def channels_last(images: Tensor) -> Tensor:
    """Lay images (B, C, H, W) out as tokens will be.

    Convolutions keep the layout of their input, and turning three colours costs less than turning all channels
    afterwards. Transforms and tracers, which stumble over it, get the images as they are.
    """
    if is_traced_or_transformed():
        return images
    return images.contiguous(memory_format=torch.channels_last)


def keep_valid(maps: Tensor, mask: Tensor | None) -> Tensor:
    """Set maps (B, C, H, W), finite everywhere, to zero where a mask (B, H, W) is False.

    By a product: with its gradient it takes a third of the time of a choice on CPUs.
    """
    return maps if mask is None else maps * mask.unsqueeze(1).to(maps.dtype)


def downsample_mask(mask: Tensor, stride: int) -> Tensor:
    """Mark the tokens (B, ceil(H/stride), ceil(W/stride)) with at least one valid position of ``mask`` (B, H, W)."""
    if stride == 1:
        return mask
    return F.max_pool2d(mask.unsqueeze(1).float(), stride, ceil_mode=True).squeeze(1) > 0


def _complete(features: Tensor, stride: int, edge: int) -> Tensor:
    divisible = not is_exporting() and all(size % stride == 0 for size in features.shape[-2:])
    return features if edge == 0 or divisible else F.pad(features, (0, edge, 0, edge))
