"""What is in the boxes that were proposed: their class, a better box and, in a Mask R-CNN, which pixels belong to it.

Axes: B batch, N boxes, S bins along a side, C channels, K classes. The class behind the last one is background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from focalnets.models.heads.align import align_regions
from focalnets.models.heads.boxes import Differences, assign_objects, clip, sample_balanced, suppress_within
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.models.heads.proposals import Summed
from focalnets.models.heads.pyramid import MapNorm

__all__ = ["MASK_SIDE", "BoxHead", "MaskHead", "RegionHeads"]

_BOX_BINS, _MASK_BINS = 7, 14

MASK_SIDE = 2 * _MASK_BINS
"""Height and width of the mask of a detection [places], whatever the size of its box."""

Detections = list[dict[str, Tensor]]
"""For each image ``boxes`` (N, 4), ``scores`` (N,), ``labels`` (N,) and, with masks, ``masks`` (N, 28, 28)."""


class BoxHead(nn.Module):
    """Names what is in boxes and moves their edges, from (N, 7, 7, C)."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        width = config.box_channels
        self.first = nn.Linear(_BOX_BINS * _BOX_BINS * config.pyramid_channels, width)
        self.second = nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2) if config.normalised)
        self.classes = nn.Linear(width, config.outputs + 1)
        self.differences = nn.Linear(width, 4 * config.outputs)
        for layer in (self.first, self.second):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.differences.weight, std=0.001)
        for layer in (self.first, self.second, self.classes, self.differences):
            nn.init.zeros_(layer.bias)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, K + 1) and differences (N, 4 K), float32."""
        hidden = regions.flatten(1)
        for index, layer in enumerate((self.first, self.second)):
            hidden = layer(hidden)
            hidden = F.relu(self.norms[index](hidden) if len(self.norms) else hidden)
        return self.classes(hidden).float(), self.differences(hidden).float()


class MaskHead(nn.Module):
    """Draws the mask of what is in boxes, from (N, 14, 14, C)."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        width = config.mask_channels
        before = [config.pyramid_channels] + [width] * (config.mask_layers - 1)
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, width, 3, padding=1) for channels in before)
        self.norms = nn.ModuleList(MapNorm(width) for _ in before if config.normalised)
        self.larger = nn.ConvTranspose2d(width, width, 2, 2)
        self.classes = nn.Conv2d(width, config.outputs, 1)
        for layer in (*self.convolutions, self.larger, self.classes):
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, regions: Tensor, labels: Tensor) -> Tensor:
        """Return logits (N, 28, 28) float32 for the class of each box; those of the others are not computed."""
        hidden = regions.permute(0, 3, 1, 2)
        for index, convolution in enumerate(self.convolutions):
            hidden = convolution(hidden)
            hidden = F.relu(self.norms[index](hidden) if len(self.norms) else hidden)
        hidden = F.relu(self.larger(hidden)).permute(0, 2, 3, 1).flatten(1, 2)
        weight, bias = self.classes.weight[labels].flatten(2), self.classes.bias[labels]  # type: ignore[index]
        logits = (hidden @ weight.to(hidden.dtype))[..., 0] + bias[:, None]
        return logits.float().unflatten(1, (MASK_SIDE, MASK_SIDE))


class RegionHeads(nn.Module):
    """Looks into proposals.

    Args:
        config: The detector.
        first_stride: Pixels between the places of the finest map.

    Source: He et al., Mask R-CNN, ICCV 2017, with the constants of the published configs.
    """

    def __init__(self, config: DetectorConfig, first_stride: int) -> None:
        super().__init__()
        self.config, self.first_stride = config, first_stride
        self.coder = Differences(config.box_deviations)
        self.box = BoxHead(config)
        self.mask = MaskHead(config) if config.masks else None

    def forward(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
        *,
        padding_counts: bool = False,
    ) -> tuple[Detections, Summed]:
        """Detect objects; in training only the losses are computed.

        Args:
            maps: (B, C, h, w), finest first, those that are looked into.
            proposals: (P, 4) for each image.
            sizes: Height and width of each image [px].
            targets: ``boxes`` (M, 4), ``labels`` (M,), ``crowd`` (M,) and, for masks, ``masks`` (M, H, W) of each
                image; None for no losses.
            padding_counts: Look also at places outside the images, as published detectors do.
        """
        limits = None if padding_counts else sizes
        if self.training:
            assert targets is not None, "a detector learns from targets"
            return [], self._learn(maps, proposals, limits, targets)
        logits, differences = self.box(self._look(maps, proposals, limits, _BOX_BINS))
        counts = [len(each) for each in proposals]
        judged = list(zip(logits.split(counts), differences.split(counts), strict=True))
        found, losses = self.decide(judged, proposals, sizes, targets)
        if self.mask is None:
            return found, losses
        drawn = self._draw(maps, found, limits)
        if targets is not None:
            losses |= self._mask_loss_of_detections(drawn, found, targets)
        for detected, masks in zip(found, drawn, strict=True):
            detected["masks"] = masks.sigmoid()
        return found, losses

    def decide(
        self,
        judged: Sequence[tuple[Tensor, Tensor]],
        proposals: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> tuple[Detections, Summed]:
        """Choose the detections, without masks.

        Args:
            judged: For each image what the head said of its proposals: logits (P, K + 1) and differences (P, 4 K).
            proposals: (P, 4) for each image.
            sizes: Height and width of each image [px].
            targets: For losses; None for none.
        """
        with torch.no_grad():
            detections = [
                self._detect(*each, boxes, size) for each, boxes, size in zip(judged, proposals, sizes, strict=True)
            ]
        if targets is None:
            return detections, {}
        found = [self._found(boxes, target) for boxes, target in zip(proposals, targets, strict=True)]
        return detections, self._box_losses(judged, proposals, found, targets)

    def _look(
        self,
        maps: Sequence[Tensor],
        boxes: Sequence[Tensor],
        limits: Sequence[tuple[int, int]] | None,
        bins: int,
    ) -> Tensor:
        return align_regions(maps, boxes, limits, bins=bins, first_stride=self.first_stride)

    def _found(self, boxes: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        return assign_objects(
            boxes, target["boxes"], target["crowd"], least=0.5, most_background=0.5, match_all=False
        )  # fmt: skip

    def _learn(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        limits: Sequence[tuple[int, int]] | None,
        targets: Sequence[Mapping[str, Tensor]],
    ) -> Summed:
        boxes, found = [], []
        for proposed, target in zip(proposals, targets, strict=True):
            known = torch.cat([proposed, target["boxes"][~target["crowd"]].to(proposed)])
            stands_for = self._found(known, target)
            chosen = torch.cat(sample_balanced(stands_for, self.config.sampled_boxes, 0.25, at_random=True))
            boxes.append(known[chosen])
            found.append(stands_for[chosen])
        counts = [len(each) for each in boxes]
        logits, differences = self.box(self._look(maps, boxes, limits, _BOX_BINS))
        judged = list(zip(logits.split(counts), differences.split(counts), strict=True))
        losses = self._box_losses(judged, boxes, found, targets)
        if self.mask is None:
            return losses
        objects = [stands_for > 0 for stands_for in found]
        places = [each[chosen] for each, chosen in zip(boxes, objects, strict=True)]
        numbers = [each[chosen] - 1 for each, chosen in zip(found, objects, strict=True)]
        labels = [target["labels"][number] for target, number in zip(targets, numbers, strict=True)]
        drawn = self.mask(self._look(maps, places, limits, _MASK_BINS), torch.cat(labels))
        return losses | _mask_loss(drawn.split([len(each) for each in places]), places, numbers, targets)

    def _box_losses(
        self,
        judged: Sequence[tuple[Tensor, Tensor]],
        boxes: Sequence[Tensor],
        found: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
    ) -> Summed:
        """Losses of class and box. In training what is given was sampled already."""
        by_class, by_box, counts = [], [], []
        for (logits, differences), box, stands_for, target in zip(judged, boxes, found, targets, strict=True):
            objects, background = sample_balanced(stands_for, self.config.sampled_boxes, 0.25, at_random=False)
            chosen = torch.cat([objects, background])
            number = stands_for[objects] - 1
            truth = torch.full_like(chosen, self.config.outputs)
            truth[: len(objects)] = target["labels"][number]
            wanted = self.coder.encode_single(target["boxes"][number], box[objects])
            moved = differences[objects].unflatten(-1, (-1, 4))
            own = moved[torch.arange(len(objects), device=moved.device), truth[: len(objects)]]
            by_class.append(F.cross_entropy(logits[chosen], truth, reduction="sum"))
            by_box.append(F.l1_loss(own, wanted, reduction="sum"))
            counts.append(len(chosen))
        count = judged[0][0].new_tensor(counts)
        return {
            "class": {"sum": torch.stack(by_class), "count": count},
            "box": {"sum": torch.stack(by_box), "count": count},
        }

    def _detect(
        self, logits: Tensor, differences: Tensor, proposals: Tensor, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Choose the detections of one image."""
        config = self.config
        scores = logits.softmax(-1)[:, :-1]
        place, label = (scores > config.score_threshold).nonzero(as_tuple=True)
        score = scores[place, label]
        own = differences.unflatten(-1, (-1, 4))[place, label]
        boxes = clip(self.coder.decode_single(own, proposals[place]), size)
        kept = suppress_within(boxes, score, label, config.overlap)[: config.detections]
        return {"boxes": boxes[kept], "scores": score[kept], "labels": label[kept]}

    def _draw(
        self, maps: Sequence[Tensor], detections: Detections, limits: Sequence[tuple[int, int]] | None
    ) -> list[Tensor]:
        """Logits of masks of the detections, (N, 28, 28) for each image."""
        assert self.mask is not None
        boxes = [detected["boxes"] for detected in detections]
        labels = torch.cat([detected["labels"] for detected in detections])
        drawn = self.mask(self._look(maps, boxes, limits, _MASK_BINS), labels)
        return list(drawn.split([len(each) for each in boxes]))

    def _mask_loss_of_detections(
        self, drawn: Sequence[Tensor], detections: Detections, targets: Sequence[Mapping[str, Tensor]]
    ) -> Summed:
        """Loss of the masks of those detections that are right, where nothing is learnt."""
        logits, places, numbers = [], [], []
        for masks, detected, target in zip(drawn, detections, targets, strict=True):
            stands_for = self._found(detected["boxes"], target)
            # What stands for no object is compared with a label that there is not.
            right = detected["labels"] == F.pad(target["labels"], (1, 0), value=-1)[stands_for.clamp(min=0)]
            logits.append(masks[right])
            places.append(detected["boxes"][right])
            numbers.append(stands_for[right] - 1)
        return _mask_loss(logits, places, numbers, targets)


def _mask_loss(
    drawn: Sequence[Tensor],
    boxes: Sequence[Tensor],
    numbers: Sequence[Tensor],
    targets: Sequence[Mapping[str, Tensor]],
) -> Summed:
    """Compare logits (N, 28, 28) with what the masks of the objects show in the boxes."""
    sums = []
    for logits, box, number, target in zip(drawn, boxes, numbers, targets, strict=True):
        if not len(number):
            sums.append(logits.sum())
            continue
        needed, place = number.unique(return_inverse=True)
        regions = torch.cat([place[:, None].to(box), box.detach()], 1)
        masks = target["masks"][needed][:, None].to(logits.dtype)
        truth = roi_align(masks, regions, MASK_SIDE, 1.0, 0, True)[:, 0] >= 0.5
        loss = F.binary_cross_entropy_with_logits(logits, truth.to(logits.dtype), reduction="none")
        sums.append(loss.mean((1, 2)).sum())
    count = sums[0].new_tensor([len(number) for number in numbers])
    return {"mask": {"sum": torch.stack(sums), "count": count}}
