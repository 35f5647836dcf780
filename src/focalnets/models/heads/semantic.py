"""Networks that name the class of each pixel, and the light head.

Axes: B batch, H W height and width [px], h w [tokens], C channels of a map, D hidden channels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.errors import ConfigError, nearest
from focalnets.models.fields import shortened
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.mask2former import Mask2FormerHead, class_scores
from focalnets.models.heads.network import DenseNetwork, checked_class_ids, each_alone, extend_edges
from focalnets.models.heads.uper import FcnHead, UperHead
from focalnets.models.layers import NORM_EPSILON, project

__all__ = ["SEMANTIC_HEADS", "MlpHead", "SemanticNetwork", "build_semantic"]

SEMANTIC_HEADS: dict[str, int] = {"mlp": 128, "uper": 512, "mask2former": 256}
"""Kinds of heads by name, with the usual number of their hidden channels."""

LARGEST_CLASS_ID = 65_535
"""Largest number of a class that maps can be written with."""

_MOST_CHANNELS, _MOST_QUERIES = 4096, 1000
_QUERIES = (100, 10)


class SemanticNetwork(DenseNetwork):
    """A backbone with a head that gives each position of its finest map a number for each class.

    Args:
        backbone: Built with pyramid norms.
        kind: Of the head, see :data:`SEMANTIC_HEADS`.
        class_names: Names of the K classes.
        stages: Which maps the head reads.
        channels: Hidden channels D of the head; None takes the usual number of its kind.
        dropout: Probability of dropping a channel in front of the last layer.
        auxiliary: Whether a second head on the last stage but one helps in training; not for kind ``mask2former``.
        queries, layers: Of kind ``mask2former``; None takes the published numbers.
        reduce_zero_label: Whether class 0 of the data that it learnt from is no class, see there.
        class_ids: Number of each class in the data; None counts from 0.

    Raises:
        ConfigError: If there is no such head, or a number is out of range.
    """

    def __init__(
        self,
        backbone: FocalNet,
        class_names: Sequence[str],
        *,
        kind: str = "mlp",
        stages: Sequence[int] | None = None,
        channels: int | None = None,
        dropout: float = 0.1,
        auxiliary: bool = False,
        queries: int | None = None,
        layers: int | None = None,
        reduce_zero_label: bool = False,
        class_ids: Sequence[int] | None = None,
    ) -> None:
        if kind not in SEMANTIC_HEADS:
            raise ConfigError(f"There is no semantic head {shortened(kind)}; {nearest(str(kind), SEMANTIC_HEADS)}")
        super().__init__(backbone, range(len(backbone.config.depths)) if stages is None else stages, class_names)
        hidden = SEMANTIC_HEADS[kind] if channels is None else channels
        if type(hidden) is not int or not 1 <= hidden <= _MOST_CHANNELS:
            raise ConfigError(f"channels must be a whole number from 1 to {_MOST_CHANNELS:,}, got {shortened(hidden)}.")
        if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ConfigError(f"dropout is a probability from 0 to below 1, got {shortened(dropout)}.")
        if auxiliary and (len(self.stages) < 2 or kind == "mask2former"):
            raise ConfigError("An auxiliary head stands on the last stage but one, beside a head of kind mlp or uper.")
        self.kind, self.hidden, self.dropout = kind, hidden, float(dropout)
        self.reduce_zero_label = reduce_zero_label
        self.class_ids = checked_class_ids(class_ids, len(self.class_names), most=LARGEST_CLASS_ID)
        self.queries: tuple[int, int] | None = None
        self.head: nn.Module
        if kind == "mask2former":
            self.queries = (queries or _QUERIES[0], layers or _QUERIES[1])
            self.head = Mask2FormerHead(
                backbone.config, hidden=hidden, classes=len(class_names), queries=self.queries[0],
                layers=self.queries[1],
            )  # fmt: skip
        else:
            self.head = (MlpHead if kind == "mlp" else UperHead)(self.channels, hidden, len(class_names), dropout)
        middle = max(1, hidden // 2)
        self.auxiliary = FcnHead(self.channels[-2], middle, len(class_names), dropout) if auxiliary else None

    def forward(self, images: Tensor, mask: Tensor | None = None) -> dict[str, Any]:
        """Compute what is said of each position.

        Args:
            images: (B, 3, H, W), prepared as ``preprocessing`` says.
            mask: Booleans (B, H, W), True for pixels that belong to an image. Each image then gets what it gets alone;
                in training, where batch norms mix images anyway, the edges of images are repeated over what was padded.

        Returns:
            ``logits`` (B, K, h, w) at the resolution of the finest map, zero where only padding is, and in training
            ``auxiliary`` (B, K, h', w') where there is such a head. In training kind ``mask2former`` returns what its
            queries say in their place, see :class:`Mask2FormerHead`.
        """
        maps = self.maps(images, mask)
        if mask is not None:
            masks = self.masks(mask)
            if not self.training:
                return {"logits": each_alone(self.logits, maps, masks)}
            maps = [extend_edges(features, valid) for features, valid in zip(maps, masks, strict=True)]
        if self.training and self.queries is not None:
            return self.head(maps)
        output = {"logits": self.logits(maps)}
        if self.auxiliary is not None and self.training:
            output["auxiliary"] = self.auxiliary(maps[-2])
        return output

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Compute what is said of each position of the finest map, (B, K, h, w), from the maps of the stages."""
        answer = self.head(maps)
        return answer if self.queries is None else class_scores(answer["classes"], answer["masks"])

    def describe_head(self) -> dict[str, Any]:
        """Describe the head for a checkpoint; :func:`build_semantic` reads it."""
        return {
            "kind": self.kind,
            "outputs": len(self.class_names),
            "stages": list(self.stages),
            "channels": self.hidden,
            "dropout": self.dropout,
            "auxiliary": self.auxiliary is not None,
            "reduce_zero_label": self.reduce_zero_label,
            **({} if self.queries is None else {"queries": self.queries[0], "layers": self.queries[1]}),
            **({} if self.class_ids is None else {"class_ids": list(self.class_ids)}),
        }


class MlpHead(nn.Module):
    """Bring the maps of all stages to a common number of channels, add them up from coarse to fine, and classify.

    Each map is projected at its own resolution and the sum so far is enlarged to the next finer map, which costs a
    small part of joining all maps at the finest resolution: a layer on each position and enlarging change places
    without changing the result.

    Source: Xie et al., SegFormer, NeurIPS 2021, section 3.2. Deviations: the two linear layers of each stage are one;
    LayerNorm and GELU in place of batch norm and ReLU, so that small batches and single images are no special case.
    """

    def __init__(self, channels: Sequence[int], hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(count, hidden, bias=False) for count in channels)
        self.norm = nn.LayerNorm(hidden, eps=NORM_EPSILON)
        self.mix = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Classify each position of the finest map: maps (B, C, h, w), finest first, to (B, K, h, w)."""
        projected = [
            project(layer, features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for layer, features in zip(self.projections, maps, strict=True)
        ]
        total = projected[-1]
        for finer in projected[-2::-1]:
            total = finer + F.interpolate(total, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        tokens = F.gelu(self.norm(total.permute(0, 2, 3, 1)))
        tokens = F.gelu(project(self.mix, tokens))
        if self.training and self.dropout.p:
            tokens = self.dropout(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return project(self.classifier, tokens).permute(0, 3, 1, 2)


def build_semantic(backbone: FocalNet, class_names: Sequence[str], head: Mapping[str, Any]) -> SemanticNetwork:
    """Build the network whose head a checkpoint describes, see :meth:`SemanticNetwork.describe_head`.

    Raises:
        ConfigError: If the description is not complete, or contradicts the labels.
    """
    wanted = {"kind", "outputs", "stages", "channels", "dropout", "auxiliary", "reduce_zero_label"}
    numbers = {"queries", "layers"} if head.get("kind") == "mask2former" else set()
    if set(head) - {"class_ids"} != wanted | numbers:
        raise ConfigError(f"a semantic head is described by {', '.join(sorted(wanted))}, got {shortened(*head)}.")
    if head["outputs"] != len(class_names):
        raise ConfigError(f"the head has {head['outputs']} outputs but {len(class_names)} labels.")
    if not isinstance(head["stages"], list):
        raise ConfigError(f"stages must be a list, got {shortened(head['stages'])}.")
    for name in ("auxiliary", "reduce_zero_label"):
        if not isinstance(head[name], bool):
            raise ConfigError(f"{name} must be true or false, got {shortened(head[name])}.")
    if not all(type(head[name]) is int and 1 <= head[name] <= _MOST_QUERIES for name in numbers):
        raise ConfigError(f"queries and layers must be whole numbers from 1 to {_MOST_QUERIES:,}.")
    options = {name: head[name] for name in (wanted | numbers) - {"outputs"}}
    return SemanticNetwork(backbone, class_names, **options, class_ids=head.get("class_ids"))
