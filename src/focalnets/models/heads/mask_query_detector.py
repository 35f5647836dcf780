"""Networks whose queries each name an object and draw its mask, by Mask2Former's head.

Axes: B batch, C channels, h w [tokens], H W [px of the input], Q queries, K classes, M objects, N detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.errors import ConfigError
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.mask2former import Mask2FormerHead, query_losses
from focalnets.models.heads.network import cut_out, extend_edges
from focalnets.models.heads.objects import QueryNetwork, each_judged_once, with_area
from focalnets.models.heads.query_config import QueryHeadConfig

__all__ = ["MaskQueryDetector"]


class MaskQueryDetector(QueryNetwork):
    """A backbone of four stages with Mask2Former's head, whose queries are single objects.

    Args:
        backbone: With pyramid norms.
        head_config: Of kind ``mask2former``.
        class_names: One for each class of objects.

    Raises:
        ConfigError: See :class:`focalnets.models.heads.objects.ObjectNetwork`.
        MissingPackageError: If transformers is not installed.
    """

    def __init__(self, backbone: FocalNet, head_config: QueryHeadConfig, class_names: Sequence[str]) -> None:
        if head_config.kind != "mask2former":
            raise ConfigError(f"a head of kind {head_config.kind} draws no masks.")
        super().__init__(backbone, head_config, class_names)
        self.head = Mask2FormerHead(
            backbone.config,
            hidden=head_config.channels,
            classes=head_config.outputs,
            queries=head_config.queries,
            layers=head_config.layers,
        )

    def find(
        self,
        maps: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        *,
        masks: Sequence[Tensor] | None = None,
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> dict[str, Any]:
        """Detect objects in the maps of the stages, finest first."""
        if self.training:
            assert targets is not None, "a detector learns from targets"
            seen = list(maps)
            if masks is not None:
                seen = [extend_edges(features, valid) for features, valid in zip(maps, masks, strict=True)]
            stride = self.config.strides[0]
            size = (seen[0].shape[-2] * stride, seen[0].shape[-1] * stride)
            losses = query_losses(self.head(seen), [_objects(target, size) for target in targets])
            return {"detections": [], "losses": each_judged_once([losses])}
        return self.decide(self._each(maps, masks), sizes, targets)

    def _each(self, maps: Sequence[Tensor], masks: Sequence[Tensor] | None) -> list[tuple[Tensor, Tensor]]:
        """Class numbers (Q, K + 1) and masks (Q, h, w) of each image, as it gets them alone."""
        if masks is None or all(bool(mask.all()) for mask in masks):
            answers = self.head(list(maps))
            return list(zip(answers["classes"].float(), answers["masks"].float(), strict=True))
        singles = [self.head(cut_out(maps, masks, number)) for number in range(len(maps[0]))]
        return [(each["classes"][0].float(), each["masks"][0].float()) for each in singles]

    def _wrong(
        self, classes: Tensor, regions: Tensor, size: tuple[int, int], target: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Judge masks always at the same places."""
        stride = self.config.strides[0]
        known = _objects(target, (regions.shape[-2] * stride, regions.shape[-1] * stride))
        output = {"classes": classes[None], "masks": regions[None], "layers": []}
        with torch.random.fork_rng([regions.device] if regions.is_cuda else []):
            torch.manual_seed(0)
            return query_losses(output, [known])

    @torch.no_grad()
    def _detections(self, classes: Tensor, regions: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """Choose the detections of one image.

        Source: instance inference of Mask2Former: the likeliest classes of all queries, times how sure the pixels of
        the mask are.
        """
        likelihoods = classes.softmax(-1)[:, :-1]
        scores, places = likelihoods.flatten().topk(min(self.head_config.detections, likelihoods.numel()))
        queries = places // likelihoods.shape[1]
        inside = regions > 0
        sure = (regions.sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
        scores = scores * sure[queries]
        order = scores.argsort(descending=True)
        order = order[(scores[order] >= self.head_config.score_threshold) & (scores[order] > 0)]
        queries, masks = queries[order], regions[queries[order]].sigmoid()
        boxes = _boxes_around(masks, self.config.strides[0], size)
        labels = places[order] % likelihoods.shape[1]
        return {"boxes": boxes, "scores": scores[order], "labels": labels, "whole_masks": masks}


def _objects(target: Mapping[str, Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Labels (M,) and masks (M, H, W) float32 of the objects of an image, padded with nothing; no regions of many."""
    kept = with_area(target)
    single = ~kept["crowd"]
    masks = kept["masks"][single].float()
    return kept["labels"][single], F.pad(masks, (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1]))


def _boxes_around(masks: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Box around each mask (N, h, w) of likelihoods as it is drawn, bilinearly enlarged: (N, 4) [px of the input]."""
    height, width = size
    boxes = masks.new_zeros(len(masks), 4)
    for number, mask in enumerate(masks):
        # What is likely enough after enlarging lies within a token of one that is.
        rows, columns = ((mask >= 0.5).any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
        if not rows or not columns:
            continue
        top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
        part = mask[top : rows[-1] + 2, left : columns[-1] + 2]
        enlarged = F.interpolate(part[None, None], scale_factor=stride, mode="bilinear", align_corners=False)[0, 0]
        inside = enlarged[: height - top * stride, : width - left * stride] >= 0.5
        down, across = (inside.any(axis).nonzero()[:, 0] for axis in (1, 0))
        if len(down):
            boxes[number] = boxes.new_tensor([
                left * stride + int(across[0]), top * stride + int(down[0]),
                left * stride + int(across[-1]) + 1, top * stride + int(down[-1]) + 1,
            ])  # fmt: skip
    return boxes
