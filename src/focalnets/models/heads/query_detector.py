"""Detectors without proposals: RT-DETRv2 and D-FINE on a FocalNet.

Axes: B batch, C channels, h w of a map [tokens], Q queries, K classes, N detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import ConfigError
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.boxes import clip
from focalnets.models.heads.dfine import DFineHead
from focalnets.models.heads.network import framed
from focalnets.models.heads.objects import QueryNetwork, each_judged_once, with_area
from focalnets.models.heads.query_config import QueryHeadConfig
from focalnets.models.heads.rtdetr import RtDetrHead

__all__ = ["QueryDetector"]

_HEADS = {"rtdetr": RtDetrHead, "dfine": DFineHead}


class QueryDetector(QueryNetwork):
    """A backbone with a head whose queries each name an object and its box.

    The head sees maps that the coarsest stride divides, so that all levels show the same; the edge of an image is
    repeated over what is missing.

    Args:
        backbone: With pyramid norms.
        head_config: Of kind ``rtdetr`` or ``dfine``.
        class_names: One for each class of objects.

    Raises:
        ConfigError: See :class:`focalnets.models.heads.objects.ObjectNetwork`.
        MissingPackageError: If transformers is not installed.
    """

    def __init__(self, backbone: FocalNet, head_config: QueryHeadConfig, class_names: Sequence[str]) -> None:
        if head_config.kind not in _HEADS:
            raise ConfigError(f"a head of kind {head_config.kind} does not find boxes.")
        super().__init__(backbone, head_config, class_names)
        self.head = _HEADS[head_config.kind](backbone.config, head_config)

    def find(
        self,
        maps: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        *,
        masks: Sequence[Tensor] | None = None,
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> dict[str, Any]:
        """Detect objects in the maps of the stages, finest first."""
        extents = [self._extent(size) for size in sizes]
        if self.training:
            assert targets is not None, "a detector learns from targets"
            extent = (max(rows for rows, _ in extents), max(columns for _, columns in extents))
            known = [self._known(target, extent) for target in targets]
            losses = self.head(framed(maps, masks, extent), known)["losses"]
            return {"detections": [], "losses": each_judged_once([losses])}
        if len(set(extents)) == 1:
            answers = self.head(framed(maps, masks, extents[0]))
            singles = list(zip(answers["logits"], answers["boxes"], strict=True))
        else:
            singles = []
            for number, extent in enumerate(extents):
                one = slice(number, number + 1)
                inside = None if masks is None else [each[one] for each in masks]
                answers = self.head(framed([each[one] for each in maps], inside, extent))
                singles.append((answers["logits"][0], answers["boxes"][0]))
        return self.decide(singles, sizes, targets)

    @property
    def stride(self) -> int:
        """Stride of the coarsest map [px]."""
        return self.config.strides[self.stages[-1]]

    @property
    def smallest_px(self) -> int:
        """Height and width from which on images have as many places as there are queries."""
        side = 1
        while side * side * self._places < self.head_config.queries:
            side += 1
        return (side - 1) * self.stride + 1

    @property
    def _places(self) -> int:
        """Places on all maps for each of the coarsest one."""
        return sum(4**level for level in range(len(self.stages)))

    def _extent(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the coarsest map that an image needs, and as many more as there are queries."""
        rows, columns = (-(-side // self.stride) for side in size)
        while rows * columns * self._places < self.head_config.queries:
            rows, columns = (rows + 1, columns) if rows <= columns else (rows, columns + 1)
        return rows, columns

    def _sides(self, extent: tuple[int, int], like: Tensor) -> Tensor:
        rows, columns = extent
        return like.new_tensor([columns, rows, columns, rows]) * self.stride

    def _known(self, target: Mapping[str, Tensor], extent: tuple[int, int]) -> dict[str, Tensor]:
        """The objects of an image as heads take them: fractions of what the maps show; no regions of many."""
        kept = with_area(target)
        single = ~kept["crowd"]
        boxes = kept["boxes"][single].float()
        middles = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
        return {"class_labels": kept["labels"][single], "boxes": middles / self._sides(extent, middles)}

    def _wrong(
        self, classes: Tensor, regions: Tensor, size: tuple[int, int], target: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return self.head.losses_of_answers(classes, regions, self._known(target, self._extent(size)))

    @torch.no_grad()
    def _detections(self, classes: Tensor, regions: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """Choose the detections of one image: the likeliest classes of all queries, (Q, K) and (Q, 4)."""
        likelihoods = classes.sigmoid()
        scores, places = likelihoods.flatten().topk(min(self.head_config.detections, likelihoods.numel()))
        kept = scores >= self.head_config.score_threshold
        scores, places = scores[kept], places[kept]
        names = likelihoods.shape[1]
        middles = regions[places // names]
        corners = torch.cat([middles[:, :2] - middles[:, 2:] / 2, middles[:, :2] + middles[:, 2:] / 2], 1)
        found = clip(corners * self._sides(self._extent(size), corners), size)
        return {"boxes": found, "scores": scores, "labels": places % names}
