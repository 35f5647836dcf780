"""Where objects may be: a network that judges anchors at every place of a pyramid and proposes boxes.

Axes: B batch, C channels, h w height and width of a map [tokens], A anchors at a place, N anchors of all maps, P
proposals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.models.heads.boxes import (
    IGNORED,
    Anchors,
    Differences,
    assign_objects,
    clip,
    sample_balanced,
    suppress_within,
)
from focalnets.models.heads.detector_config import DetectorConfig

__all__ = ["ProposalNetwork", "Summed"]

Summed = dict[str, dict[str, Tensor]]
"""Losses by name: the ``sum`` (B,) over what was judged in each image, and its ``count`` (B,)."""


class ProposalNetwork(nn.Module):
    """Judges anchors and proposes boxes.

    Args:
        config: The detector.
        strides: Pixels between the places of each map of the pyramid.

    Source: Ren et al., Faster R-CNN, NeurIPS 2015, with the constants of the published configs. Deviation: each object
    gets the anchors that fit it best, however badly, so that small objects are learnt too.
    """

    def __init__(self, config: DetectorConfig, strides: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.anchors = Anchors(config.anchor_sizes, config.anchor_ratios, strides)
        each = self.anchors.num_anchors_per_location()[0]
        channels = config.pyramid_channels
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, each, 1)
        self.differences = nn.Conv2d(channels, 4 * each, 1)
        for layer in (self.convolution, self.objectness, self.differences):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        self.coder = Differences()

    def forward(
        self,
        maps: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
        *,
        padding_counts: bool = False,
    ) -> tuple[list[Tensor], Summed]:
        """Propose boxes.

        Args:
            maps: (B, C, h, w), finest first, zero outside the images.
            sizes: Height and width of each image [px].
            targets: ``boxes`` (M, 4) and ``crowd`` (M,) of each image, for losses; None for none.
            padding_counts: Judge also places outside the images, as published detectors do.

        Returns:
            Boxes (P, 4) of each image, the likeliest first, and the losses.
        """
        judged = [self.judge(features) for features in maps]
        scores = [level[..., 0] for level in judged]
        differences = [level[..., 1:] for level in judged]
        anchors = self.anchors(maps)
        inside = [_inside(torch.cat(anchors), None if padding_counts else size) for size in sizes]
        proposals = [
            self._propose([level[index] for level in scores], [level[index] for level in differences], anchors,
                          inside[index].split([len(level) for level in anchors]), size)
            for index, size in enumerate(sizes)
        ]  # fmt: skip
        if targets is None:
            return proposals, {}
        losses = self.losses(torch.cat(scores, 1), torch.cat(differences, 1), torch.cat(anchors), inside, targets)
        return proposals, losses

    def judge(self, features: Tensor) -> Tensor:
        """Logit and differences of each anchor, (B, h w A, 5) float32: one product for both."""
        hidden = F.relu(self.convolution(features), inplace=True)
        each = self.objectness.out_channels
        weight = torch.cat([self.objectness.weight, self.differences.weight]).flatten(1)
        bias = torch.cat([self.objectness.bias, self.differences.bias])  # type: ignore[list-item]
        rows = F.linear(hidden.permute(0, 2, 3, 1).flatten(1, 2), weight, bias).float()
        logits, differences = rows.split([each, 4 * each], -1)
        return torch.cat([logits.unflatten(-1, (each, 1)), differences.unflatten(-1, (each, 4))], -1).flatten(1, 2)

    @torch.no_grad()
    def _propose(
        self,
        logits: Sequence[Tensor],
        differences: Sequence[Tensor],
        anchors: Sequence[Tensor],
        inside: Sequence[Tensor],
        size: tuple[int, int],
    ) -> Tensor:
        """Choose the likeliest boxes of one image, of each map and then of all."""
        config = self.config
        before = config.candidates[self.training]
        scores, boxes, levels = [], [], []
        for level, judged in enumerate(logits):
            likelihood = judged.sigmoid().masked_fill(~inside[level], -1.0)
            best, order = likelihood.sort(descending=True)
            best, order = best[:before], order[:before]
            best, order = best[best >= 0], order[best >= 0]
            scores.append(best)
            boxes.append(self.coder.decode_single(differences[level][order], anchors[level][order]))
            levels.append(torch.full_like(order, level))
        box = clip(torch.cat(boxes), size)
        return box[self.select(box, torch.cat(scores), torch.cat(levels))]

    def select(self, boxes: Tensor, scores: Tensor, levels: Tensor) -> Tensor:
        """Choose which candidates of an image become proposals.

        Args:
            boxes: (N, 4), within the image.
            scores: (N,).
            levels: Which map each comes from, (N,) whole numbers.

        Returns:
            Numbers of the proposals, the likeliest first.
        """
        has_area = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1).nonzero()[:, 0]
        kept = suppress_within(boxes[has_area], scores[has_area], levels[has_area], self.config.proposal_overlap)
        return has_area[kept[: self.config.proposals[self.training]]]

    def losses(
        self,
        logits: Tensor,
        differences: Tensor,
        anchors: Tensor,
        inside: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
    ) -> Summed:
        """Compare what was said of the anchors with the objects.

        Args:
            logits: (B, N).
            differences: (B, N, 4).
            anchors: (N, 4).
            inside: Which anchors stand on a place of each image, (N,) bool.
            targets: ``boxes`` (M, 4) and ``crowd`` (M,) of each image.
        """
        config = self.config
        losses, counts = [], []
        for index, target in enumerate(targets):
            boxes = target["boxes"]
            found = assign_objects(
                anchors, boxes, target["crowd"], least=0.7, most_background=0.3, match_all=True
            ).masked_fill(~inside[index], IGNORED)
            objects, background = sample_balanced(found, config.sampled_anchors, 0.5, at_random=self.training)
            chosen = torch.cat([objects, background])
            wanted = self.coder.encode_single(boxes[found[objects] - 1], anchors[objects])
            truth = (found[chosen] > 0).to(logits.dtype)
            losses.append(
                (F.binary_cross_entropy_with_logits(logits[index, chosen], truth, reduction="sum"),
                 F.l1_loss(differences[index, objects], wanted, reduction="sum"))
            )  # fmt: skip
            counts.append(len(chosen))
        count = logits.new_tensor(counts)
        names = ("proposal_objectness", "proposal_box")
        return {
            name: {"sum": torch.stack(list(values)), "count": count}
            for name, values in zip(names, zip(*losses, strict=True), strict=True)
        }


def _inside(anchors: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Tell which anchors (N, 4) stand on a place of an image of that height and width; None takes all."""
    if size is None:
        return torch.ones(len(anchors), dtype=torch.bool, device=anchors.device)
    middle = (0.5 * (anchors[:, :2] + anchors[:, 2:])).round()
    return (middle[:, 0] < size[1]) & (middle[:, 1] < size[0])
