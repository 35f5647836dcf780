"""Graphs of heads of queries: what the queries say goes out, and what is made of it is decided behind the graph.

Axes: B batch, H W height and width [px], h w of the finest map [tokens], Q queries, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from focalnets.exporting.graphs import Graph, Size, finest, join_detections, stacked
from focalnets.exporting.traceable import traceable
from focalnets.models.heads.mask2former import class_scores
from focalnets.models.heads.mask_query_detector import MaskQueryDetector
from focalnets.models.heads.query_detector import QueryDetector

__all__ = ["BoxQueriesGraph", "InstanceQueriesGraph", "PanopticGraph", "SemanticQueriesGraph"]


class QueriesGraph(Graph):
    """Images to what is said by the queries of a head of transformers; subclasses say by which."""

    by_older_exporter = False
    on_small_devices = False


class ObjectQueriesGraph(QueriesGraph):
    """Queries that find single objects, of which detections are chosen."""

    @classmethod
    def answer(
        cls, network: Any, outputs: Sequence[Tensor], images: Tensor, sizes: Sequence[Size], targets: Any
    ) -> Any:
        """Choose detections."""
        return network.decide(list(zip(*outputs, strict=True)), sizes, targets)

    @classmethod
    def join(cls, answers: Sequence[Any]) -> Any:
        """List the detections, and put the losses behind each other."""
        return join_detections(answers)


class BoxQueriesGraph(ObjectQueriesGraph):
    """Images to ``logits`` (B, Q, K) and ``boxes`` (B, Q, 4) of RT-DETRv2 or D-FINE.

    Boxes are middle x, middle y, width and height in fractions of the image, completed at the right and lower edge to
    a multiple of the coarsest stride. Queries come in no order.
    """

    outputs = ("logits", "boxes")
    axes: ClassVar[dict[str, dict[int, str]]] = {"logits": {0: "batch"}, "boxes": {0: "batch"}}

    @classmethod
    def suits(cls, network: Any) -> bool:
        """Whether the head is one of queries that name boxes."""
        return isinstance(network, QueryDetector)

    @classmethod
    def smallest_px(cls, network: Any) -> int:
        """Images with as many places as there are queries."""
        return int(network.smallest_px)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Ask the queries about images (B, C, H, W)."""
        network: Any = self.network
        with traceable(network.head):
            answers = network.head(_completed(network.maps(images), images, network.stride))
        return answers["logits"], answers["boxes"]

    @classmethod
    def expected(cls, network: Any, images: Tensor) -> tuple[tuple[int, ...], ...]:
        """Rows for all queries."""
        config = network.head_config
        rows = (len(images), config.queries)
        return (*rows, config.outputs), (*rows, 4)

    @classmethod
    def compare(cls, outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
        """Compare each query with the one that says nearly the same: their order may hang on a rounding."""
        if [each.shape for each in outputs] != [each.shape for each in expected]:
            return float("inf")
        scales = [each.abs().max().clamp(min=1e-12) for each in expected]
        found, wanted = (
            torch.cat([each / scale for each, scale in zip(answers, scales, strict=True)], 2)
            for answers in (outputs, expected)
        )
        if not found.isfinite().all():
            return float("inf")
        far = torch.stack([torch.cdist(*pair, p=float("inf")) for pair in zip(wanted, found, strict=True)])
        return _most_queries(torch.maximum(far.amin(1), far.amin(2)))


class MaskQueriesGraph(QueriesGraph):
    """Images to what Mask2Former says, both logits.

    ``classes`` (B, Q, K + 1), the last for nothing; ``masks`` (B, Q, h, w).
    """

    outputs = ("classes", "masks")
    axes: ClassVar[dict[str, dict[int, str]]] = {
        "classes": {0: "batch"}, "masks": {0: "batch", 2: "rows", 3: "columns"},
    }  # fmt: skip

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Ask the queries about images (B, C, H, W)."""
        network: Any = self.network
        with traceable(network.head):
            answers = network.head(network.maps(images))
        return answers["classes"], answers["masks"]

    @classmethod
    def expected(cls, network: Any, images: Tensor) -> tuple[tuple[int, ...], ...]:
        """Rows and masks for all queries."""
        queries = (len(images), network.head.queries)
        return (*queries, len(network.class_names) + 1), (*queries, *finest(network, images))

    @classmethod
    def compare(cls, outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
        """Compare the queries: one whose mask is likely by half within a rounding may look elsewhere afterwards."""
        if [each.shape for each in outputs] != [each.shape for each in expected]:
            return float("inf")
        if not all(each.isfinite().all() for each in outputs):
            return float("inf")
        far = [
            (one - other).flatten(2).abs().amax(2) / other.abs().max().clamp(min=1e-12)
            for one, other in zip(outputs, expected, strict=True)
        ]
        return _most_queries(torch.maximum(*far))


class SemanticQueriesGraph(MaskQueriesGraph):
    """Mask2Former for semantic segmentation."""

    @classmethod
    def suits(cls, network: Any) -> bool:
        """Whether the head is Mask2Former."""
        return network.queries is not None

    @classmethod
    def answer(
        cls, network: Any, outputs: Sequence[Tensor], images: Tensor, sizes: Sequence[Size], targets: Any
    ) -> Any:
        """Join the queries to a number of each class for each position."""
        return {"logits": class_scores(*outputs)}

    @classmethod
    def join(cls, answers: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Fill up with zeros at the right and lower edge."""
        return {"logits": stacked([each["logits"] for each in answers])}


class PanopticGraph(MaskQueriesGraph):
    """Mask2Former for objects and ground."""

    @classmethod
    def answer(
        cls, network: Any, outputs: Sequence[Tensor], images: Tensor, sizes: Sequence[Size], targets: Any
    ) -> Any:
        """Return what the queries say by its name."""
        return dict(zip(cls.outputs, outputs, strict=True))

    @classmethod
    def join(cls, answers: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Fill masks up with zeros at the right and lower edge."""
        classes = torch.cat([each["classes"] for each in answers])
        return {"classes": classes, "masks": stacked([each["masks"] for each in answers])}


class InstanceQueriesGraph(ObjectQueriesGraph, MaskQueriesGraph):
    """Mask2Former for objects with masks."""

    @classmethod
    def suits(cls, network: Any) -> bool:
        """Whether the head is Mask2Former."""
        return isinstance(network, MaskQueryDetector)


_SHARE = 0.99
"""Of the queries so many are compared, those that differ least."""


def _most_queries(differences: Tensor) -> float:
    """Return the largest of the differences (B, Q), but for the hundredth part of the queries that differ most."""
    ordered = differences.flatten().sort().values
    return float(ordered[math.ceil(_SHARE * len(ordered)) - 1])


def _completed(maps: Sequence[Tensor], images: Tensor, stride: int) -> list[Tensor]:
    """Repeat the last row and column of maps (B, C, h, w), finest first, so that the coarsest stride divides them."""
    # Not -(-side // stride): ONNX and OpenVINO divide whole numbers towards zero.
    rows, columns = ((side + stride - 1) // stride for side in images.shape[2:])
    found = []
    for level, features in enumerate(maps):
        factor = 2 ** (len(maps) - 1 - level)
        row = torch.arange(rows * factor, device=features.device).clamp(max=features.shape[2] - 1)
        column = torch.arange(columns * factor, device=features.device).clamp(max=features.shape[3] - 1)
        found.append(features.index_select(2, row).index_select(3, column))
    return found
