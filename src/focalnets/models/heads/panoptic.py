"""Networks that find every object and every kind of ground in an image, each pixel in one of them.

Axes: B batch, H W height and width [px], h w [tokens], D hidden channels, Q queries, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.errors import ConfigError
from focalnets.models.fields import shortened
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.mask2former import Mask2FormerHead
from focalnets.models.heads.network import DenseNetwork, checked_class_ids, cut_out, extend_edges

__all__ = ["PanopticNetwork", "build_panoptic"]

_MOST = {"channels": 4096, "queries": 1000, "layers": 100}


class PanopticNetwork(DenseNetwork):
    """A backbone of four stages with Mask2Former's head.

    Args:
        backbone: Built with pyramid norms.
        class_names: Names of the K classes.
        stuff: Numbers of those that are kinds of ground, without single objects.
        channels: Hidden channels D.
        queries: Q, more than an image may have objects and kinds of ground.
        layers: Of the decoder.
        reduce_zero_label: Whether class 0 of the data that it learnt from is no class, see there.
        class_ids: Number of each class in the data; None counts from 0.

    Raises:
        ConfigError: If a number is out of range, or a name is none of the classes.
        MissingPackageError: If transformers is not installed.
    """

    def __init__(
        self,
        backbone: FocalNet,
        class_names: Sequence[str],
        *,
        stuff: Sequence[int] = (),
        channels: int = 256,
        queries: int = 100,
        layers: int = 10,
        reduce_zero_label: bool = False,
        class_ids: Sequence[int] | None = None,
    ) -> None:
        super().__init__(backbone, range(len(backbone.config.depths)), class_names)
        for name, value in (("channels", channels), ("queries", queries), ("layers", layers)):
            if type(value) is not int or not 1 <= value <= _MOST[name]:
                raise ConfigError(f"{name} must be a whole number from 1 to {_MOST[name]:,}, got {shortened(value)}.")
        if not all(type(label) is int and 0 <= label < len(class_names) for label in stuff):
            raise ConfigError(
                f"stuff must be numbers of classes from 0 to {len(class_names) - 1}, got {shortened(stuff)}."
            )
        self.stuff = tuple(stuff)
        self.reduce_zero_label = reduce_zero_label
        self.class_ids = checked_class_ids(class_ids, len(self.class_names))
        self.hidden, self.queries, self.layers = channels, queries, layers
        self.head = Mask2FormerHead(
            backbone.config, hidden=channels, classes=len(class_names), queries=queries, layers=layers
        )

    def forward(self, images: Tensor, mask: Tensor | None = None) -> dict[str, Any]:
        """Compute what the queries say, see :class:`focalnets.models.heads.mask2former.Mask2FormerHead`.

        Args:
            images: (B, 3, H, W), prepared as ``preprocessing`` says.
            mask: Booleans (B, H, W), True for pixels that belong to an image. Each image then gets what it gets alone;
                in training the edges of images are repeated over what was padded.
        """
        maps = self.maps(images, mask)
        if mask is None:
            return self.head(maps)
        masks = self.masks(mask)
        if self.training:
            return self.head([extend_edges(features, valid) for features, valid in zip(maps, masks, strict=True)])
        height, width = maps[0].shape[-2:]
        singles = [self.head(cut_out(maps, masks, number)) for number in range(len(images))]
        padded = [
            F.pad(each["masks"], (0, width - each["masks"].shape[-1], 0, height - each["masks"].shape[-2]))
            for each in singles
        ]
        return {"classes": torch.cat([each["classes"] for each in singles]), "masks": torch.cat(padded)}

    def describe_head(self) -> dict[str, Any]:
        """Describe the head for a checkpoint; :func:`build_panoptic` reads it."""
        return {
            "kind": "mask2former",
            "outputs": len(self.class_names),
            "stuff": list(self.stuff),
            "channels": self.hidden,
            "queries": self.queries,
            "layers": self.layers,
            "reduce_zero_label": self.reduce_zero_label,
            **({} if self.class_ids is None else {"class_ids": list(self.class_ids)}),
        }


def build_panoptic(backbone: FocalNet, class_names: Sequence[str], head: Mapping[str, Any]) -> PanopticNetwork:
    """Build the network whose head a checkpoint describes, see :meth:`PanopticNetwork.describe_head`.

    Raises:
        ConfigError: If the description is not complete, or contradicts the labels.
    """
    wanted = {"kind", "outputs", "stuff", "channels", "queries", "layers"}
    reduced = head.get("reduce_zero_label", False)  # Older files do not say it.
    if set(head) - {"reduce_zero_label", "class_ids"} != wanted or head["kind"] != "mask2former":
        raise ConfigError(
            f"a panoptic head is of kind mask2former, described by {', '.join(sorted(wanted))}, got {shortened(*head)}."
        )
    if head["outputs"] != len(class_names):
        raise ConfigError(f"the head has {head['outputs']} outputs but {len(class_names)} labels.")
    if not isinstance(head["stuff"], list):
        raise ConfigError(f"stuff must be a list of numbers, got {shortened(head['stuff'])}.")
    if not isinstance(reduced, bool):
        raise ConfigError(f"reduce_zero_label must be true or false, got {shortened(reduced)}.")
    options = {name: head[name] for name in ("stuff", "channels", "queries", "layers")}
    return PanopticNetwork(backbone, class_names, **options, reduce_zero_label=reduced, class_ids=head.get("class_ids"))
