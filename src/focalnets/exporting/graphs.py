"""What is exported of a network: a graph from tensors to tensors, and how its answers become those of the network.

Axes: B batch, H W height and width [px], h w [tokens], C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.errors import ConfigError

__all__ = [
    "ClassifyGraph",
    "Graph",
    "SemanticGraph",
    "finest",
    "full_sizes",
    "join_detections",
    "largest_difference",
    "stacked",
]

_EXAMPLE = (2, 96, 131)
"""Batch, and least height and width, that a program is made from; others will do afterwards. A 1 would fix an axis."""

_LARGEST_COMPARED_PX = 224
_SMALL_PX = 20

Size = tuple[int, int]
"""Height and width [px]."""


class Graph(nn.Module):
    """A network without anything that is no tensor.

    What a graph gives for images is taken apart again by :meth:`answer`, which also serves files: there the network is
    one without weights, and the outputs come from another program.

    Attributes:
        inputs, outputs: Names of the tensors, in their order.
        input_axes: Names of the axes of each input that may be of any size.
        layout: What stands in the inputs, in words.
        whole: Names of the outputs that are whole numbers (int64); the others are float32.
        axes: Names of the axes of each output that are as large as the batch, or follow from the size of the images.
        by_older_exporter: Whether PyTorch's older exporter of ONNX can follow it.
        on_small_devices: Whether it is written for ExecuTorch.
    """

    inputs: ClassVar[tuple[str, ...]] = ("images",)
    outputs: ClassVar[tuple[str, ...]]
    input_axes: ClassVar[dict[str, dict[int, str]]] = {"images": {0: "batch", 2: "height", 3: "width"}}
    layout: ClassVar[str] = "images (batch, channels, height, width) float32, RGB, (pixels / 255 - mean) / std"
    whole: ClassVar[tuple[str, ...]] = ()
    axes: ClassVar[dict[str, dict[int, str]]]
    by_older_exporter: ClassVar[bool] = True
    on_small_devices: ClassVar[bool] = True

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.check(network)
        self.network = network

    @classmethod
    def suits(cls, network: Any) -> bool:
        """Whether this is the graph of a network, among those of its task."""
        return True

    @classmethod
    def check(cls, network: Any) -> None:
        """Refuse networks that cannot be exported.

        Raises:
            ConfigError: With what can be exported instead.
        """

    @classmethod
    def smallest_px(cls, network: Any) -> int:
        """Return the height and width from which on images may be."""
        return 1

    @classmethod
    def example_shape(cls, network: Any) -> tuple[int, ...]:
        """Return the shape of the images that a program is made from."""
        batch, height, width = _EXAMPLE
        smallest = cls.smallest_px(network)
        return batch, network.config.in_chans, max(height, smallest), max(width, smallest + width - height)

    @classmethod
    def compared_shapes(cls, network: Any, smallest_px: int) -> list[tuple[int, ...]]:
        """Return the shapes of the images for which a file is compared with PyTorch."""
        side = max(min(network.preprocessing.input_size_px, _LARGEST_COMPARED_PX), smallest_px)
        smaller, smallest = max(3 * side // 4, smallest_px), max(_SMALL_PX, smallest_px)
        shapes = [(1, side, side), (2, side + 7, smaller | 1), (3, smallest, 2 * smallest + 1)]
        return [(batch, network.config.in_chans, *size) for batch, *size in shapes]

    @classmethod
    def draw(cls, network: Any, shape: Sequence[int], seed: int = 0) -> tuple[Tensor, ...]:
        """Draw inputs at random, the same at each call: images (B, C, H, W) without padding."""
        images = random_images(shape, seed)
        return cls.feed(images, full_sizes(images))

    @classmethod
    def feed(cls, images: Tensor, sizes: Sequence[Size]) -> tuple[Tensor, ...]:
        """Return the inputs of the graph for images (B, C, H, W) of which parts of these sizes are no padding."""
        return (images,)

    @classmethod
    def expected(cls, network: Any, images: Tensor) -> tuple[tuple[int, ...], ...]:
        """Return the shape that each output has for images (B, C, H, W)."""
        raise NotImplementedError

    @classmethod
    def answer(
        cls, network: Any, outputs: Sequence[Tensor], images: Tensor, sizes: Sequence[Size], targets: Any
    ) -> Any:
        """Return what the network returns for images, from the outputs of the graph.

        Args:
            network: The network, which needs no weights.
            outputs: As :attr:`outputs` names them.
            images: (B, C, H, W).
            sizes: Of the part of each image that is no padding.
            targets: For losses, where the network takes them; None for none.
        """
        raise NotImplementedError

    @classmethod
    def join(cls, answers: Sequence[Any]) -> Any:
        """Put answers for single images, of different sizes, together as the network does for a padded batch."""
        raise NotImplementedError

    @classmethod
    def compare(cls, outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
        """Return the largest difference, as a fraction of the largest value of that output."""
        return max(largest_difference(*pair) for pair in zip(outputs, expected, strict=True))


class ClassifyGraph(Graph):
    """Images to logits (B, K)."""

    outputs = ("logits",)
    axes: ClassVar[dict[str, dict[int, str]]] = {"logits": {0: "batch"}}

    @classmethod
    def check(cls, network: Any) -> None:
        """Refuse backbones, which have no classifier."""
        if network.norm is None or not network.config.num_classes:
            raise ConfigError("The network has no classifier (num_classes is 0); export one that has.")

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Classify images (B, C, H, W)."""
        return (self.network(images),)

    @classmethod
    def expected(cls, network: Any, images: Tensor) -> tuple[tuple[int, ...], ...]:
        """One number a class."""
        return ((len(images), network.config.num_classes),)

    @classmethod
    def answer(
        cls, network: Any, outputs: Sequence[Tensor], images: Tensor, sizes: Sequence[Size], targets: Any
    ) -> Any:
        """Return the logits."""
        return outputs[0]

    @classmethod
    def join(cls, answers: Sequence[Tensor]) -> Tensor:
        """Put rows below each other."""
        return torch.cat(list(answers))


class SemanticGraph(Graph):
    """Images to logits of each position of the finest map, (B, K, h, w)."""

    outputs = ("logits",)
    axes: ClassVar[dict[str, dict[int, str]]] = {"logits": {0: "batch", 2: "rows", 3: "columns"}}

    @classmethod
    def suits(cls, network: Any) -> bool:
        """Whether the head is not Mask2Former."""
        return network.queries is None

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Judge images (B, C, H, W)."""
        return (self.network(images)["logits"],)

    @classmethod
    def expected(cls, network: Any, images: Tensor) -> tuple[tuple[int, ...], ...]:
        """One number for each class and position."""
        return ((len(images), len(network.class_names), *finest(network, images)),)

    @classmethod
    def answer(
        cls, network: Any, outputs: Sequence[Tensor], images: Tensor, sizes: Sequence[Size], targets: Any
    ) -> Any:
        """Return the logits by their name."""
        return {"logits": outputs[0]}

    @classmethod
    def join(cls, answers: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Fill up with zeros at the right and lower edge."""
        return {"logits": stacked([each["logits"] for each in answers])}


def full_sizes(images: Tensor) -> list[Size]:
    """Height and width of each of the images (B, C, H, W), none of which is padded."""
    return [(images.shape[2], images.shape[3])] * len(images)


def random_images(shape: Sequence[int], seed: int = 0) -> Tensor:
    """Draw images (B, C, H, W) float32 that are noise, the same at each call; neighbouring pixels are alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(*shape[:2], -(-shape[2] // 8), -(-shape[3] // 8), generator=generator)
    smooth = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, : shape[2], : shape[3]]
    return (smooth + 0.3 * torch.randn(*shape, generator=generator)).contiguous()


def largest_difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of two tensors as a fraction of the largest value of the second; inf for NaN."""
    if one.shape != other.shape or not one.isfinite().all():
        return float("inf")
    if not one.numel():
        return 0.0
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-12))


def finest(network: Any, images: Tensor) -> Size:
    """Return the rows and columns of the finest map that a head reads of images (B, C, H, W)."""
    stride = network.config.strides[network.stages[0]]
    return -(-images.shape[2] // stride), -(-images.shape[3] // stride)


def stacked(maps: Sequence[Tensor]) -> Tensor:
    """Put maps (1, K, h, w) of different sizes into the upper left corners of a batch of zeros."""
    height, width = (max(each.shape[axis] for each in maps) for axis in (2, 3))
    return torch.cat([F.pad(each, (0, width - each.shape[3], 0, height - each.shape[2])) for each in maps])


def join_detections(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """List the detections of single images, and put their losses behind each other."""
    losses = {
        name: {key: torch.cat([each["losses"][name][key] for each in answers]) for key in values}
        for name, values in answers[0]["losses"].items()
    }
    return {"detections": [found for each in answers for found in each["detections"]], "losses": losses}
