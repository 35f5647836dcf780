"""The embeddings of a network for some rows of their result, from no more rows of the map than these need.

Axes: h w height and width of the map, C channels, n rows of the result, D its channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.models.embedding import ConvolutionalEmbedding, PatchEmbedding

__all__ = ["ReadRows", "convolutions", "embed_rows", "embedded_size", "embedding_bytes", "rows_at_once"]

_COPIES = 3
"""Copies of a map that a convolution, a norm and an activation make of it."""

_FEWEST_ROWS = 16
_BYTES_AT_ONCE = 8 * 2**20

ReadRows = Callable[[int, int], Tensor]
"""Takes the first row and the last, which is excluded, and returns these rows of a map: (1, C, rows, w)."""


@dataclasses.dataclass(frozen=True)
class _Layer:
    """A convolution, and what follows it position by position."""

    convolution: nn.Conv2d
    after: Callable[[Tensor], Tensor]

    @property
    def kernel(self) -> tuple[int, int, int]:
        """Kernel size, stride and padding, the same in both directions."""
        convolution = self.convolution
        return convolution.kernel_size[0], convolution.stride[0], int(convolution.padding[0])

    def rows_needed(self, first: int, last: int) -> tuple[int, int]:
        """The rows under the kernel for rows of the result; some may lie outside the map."""
        size, stride, padding = self.kernel
        return first * stride - padding, (last - 1) * stride - padding + size


def convolutions(embedding: nn.Module) -> list[nn.Conv2d]:
    """List the convolutions of an embedding."""
    return [layer.convolution for layer in _layers(embedding)]


def embedded_size(embedding: nn.Module, height: int, width: int) -> tuple[int, int]:
    """Compute height and width of the tokens of a map."""
    for layer in _layers(embedding):
        stride = layer.kernel[1]
        height, width = -(-height // stride), -(-width // stride)
    return height, width


def embedding_bytes(embedding: nn.Module, width: int) -> int:
    """Estimate the memory that computing one row of tokens takes, from a map of that width."""
    layers = _layers(embedding)
    scale, of_position = 1, float(_COPIES * 4 * layers[0].convolution.in_channels)
    for layer in layers:
        scale *= layer.kernel[1]
        of_position += _COPIES * 4 * layer.convolution.out_channels / scale**2
    return int(scale * width * of_position)


def rows_at_once(embedding: nn.Module, width: int) -> int:
    """Choose how many rows of tokens to compute at once; too few would compute the rows around them again too often."""
    return max(_FEWEST_ROWS, _BYTES_AT_ONCE // embedding_bytes(embedding, width))


def embed_rows(embedding: nn.Module, read: ReadRows, height: int, first: int, last: int) -> Tensor:
    """Compute rows of what an embedding makes of a map.

    Args:
        embedding: A :class:`PatchEmbedding` or a :class:`ConvolutionalEmbedding` in evaluation mode.
        read: Reads rows of the map.
        height: Rows of the map.
        first: First row of the result.
        last: Its last row, excluded.

    Returns:
        Tokens (1, n, w, D), up to the order of sums those of the whole map.
    """
    layers = _layers(embedding)
    heights = [height]
    for layer in layers:
        heights.append(-(-heights[-1] // layer.kernel[1]))
    wanted = [(first, last)]
    for layer, above in zip(reversed(layers), reversed(heights[:-1]), strict=True):
        top, bottom = layer.rows_needed(*wanted[-1])
        wanted.append((max(0, top), min(above, bottom)))
    wanted.reverse()
    features = read(*wanted[0])
    for layer, given, result in zip(layers, wanted, wanted[1:], strict=False):
        top, bottom = layer.rows_needed(*result)
        features = layer.after(_convolve(layer, features, given[0] - top, bottom - given[1]))
    return features.permute(0, 2, 3, 1)


def _convolve(layer: _Layer, features: Tensor, above: int, below: int) -> Tensor:
    """Convolve rows; ``above`` and ``below`` are the rows of zeros that the kernel sees outside the map."""
    size, stride, padding = layer.kernel
    width = features.shape[-1]
    columns = -(-width // stride)
    convolution = layer.convolution
    fits = (width + 2 * padding - size) // stride + 1 == columns  # the convolution's own padding is enough
    left, right = (0, 0) if fits else (padding, max(0, (columns - 1) * stride - padding + size - width))
    if above or below or left or right:
        features = F.pad(features, (left, right, above, below))
    return F.conv2d(features, convolution.weight, convolution.bias, stride, (0, padding if fits else 0))


def _layers(embedding: nn.Module) -> list[_Layer]:
    if isinstance(embedding, PatchEmbedding):
        return [_Layer(embedding.projection, lambda features: _normalize(embedding.norm, features))]
    assert isinstance(embedding, ConvolutionalEmbedding)
    layers: list[_Layer] = []
    for convolution, batch_norm in zip(embedding.convolutions, embedding.batch_norms, strict=True):
        assert isinstance(convolution, nn.Conv2d)
        is_last = len(layers) == len(embedding.convolutions) - 1

        def after(features: Tensor, batch_norm: nn.Module = batch_norm, is_last: bool = is_last) -> Tensor:
            features = batch_norm(features)
            if not is_last:
                return F.gelu(features)
            return features if embedding.norm is None else _normalize(embedding.norm, features)

        layers.append(_Layer(convolution, after))
    return layers


def _normalize(norm: nn.Module, features: Tensor) -> Tensor:
    return norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
