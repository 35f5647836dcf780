"""What networks have in common that find objects, whatever their head.

Axes: B batch, H W height and width [px], M objects, N detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import ConfigError
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.models.heads.network import DenseNetwork, valid_sizes
from focalnets.models.heads.query_config import QueryHeadConfig

__all__ = ["ObjectNetwork", "QueryNetwork", "each_judged_once", "with_area"]


class ObjectNetwork(DenseNetwork):
    """A backbone with a head that finds objects; subclasses make ``head`` and :meth:`find`.

    Args:
        backbone: With pyramid norms.
        head_config: What stands on it.
        class_names: One for each class of objects.

    Raises:
        ConfigError: If the backbone has no pyramid norms or not the stages, or there are not as many names as classes.
    """

    head_config: DetectorConfig | QueryHeadConfig

    def __init__(
        self, backbone: FocalNet, head_config: DetectorConfig | QueryHeadConfig, class_names: Sequence[str]
    ) -> None:
        super().__init__(backbone, head_config.stages, class_names)
        if len(self.class_names) != head_config.outputs:
            raise ConfigError(f"{len(self.class_names)} class names were given for {head_config.outputs} classes.")
        self.head_config = head_config

    @property
    def padding_masked(self) -> bool:
        """Whether batch padding is kept out of every image."""
        return True

    def describe_head(self) -> dict[str, Any]:
        """Describe the head for a checkpoint."""
        return self.head_config.to_dict()

    def set_options(self, **changes: Any) -> None:
        """Change what no weight depends on, such as ``score_threshold``.

        Args:
            **changes: Fields of the head's config.
        """
        self.head_config = self.head_config.replace(**changes)

    def forward(
        self, images: Tensor, mask: Tensor | None = None, targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Any]:
        """Detect objects, or compute what a training step learns from.

        Args:
            images: (B, 3, H, W), prepared as ``preprocessing`` says.
            mask: Booleans (B, H, W), True inside the images, which begin in the upper left corner; None where nothing
                was padded.
            targets: For losses: ``boxes`` (M, 4) float32 [px of the input], ``labels`` (M,) int64, ``crowd`` (M,) bool
                and, for masks, ``masks`` (M, h, w) bool, of each image. Needed in training.

        Returns:
            ``detections``: for each image ``boxes`` (N, 4) [px of the input], ``scores`` (N,), ``labels`` (N,), the
            best first, and with masks either ``masks`` (N, 28, 28), likelihoods within the box, or ``whole_masks``
            (N, h, w), those of all positions of the finest map; empty in training.
            ``losses``: by name the ``sum`` (B,) over what was judged and its ``count`` (B,), or one of each for the
            whole batch in training; empty without targets.
        """
        sizes = [(height, width) for height, width in valid_sizes(images, mask).tolist()]
        inside = mask if self.padding_masked else None
        masks = None if inside is None else self.masks(inside)
        return self.find(self.maps(images, inside), sizes, masks=masks, targets=targets)

    def find(
        self,
        maps: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        *,
        masks: Sequence[Tensor] | None = None,
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> dict[str, Any]:
        """Detect objects in the maps of the stages, finest first; see :meth:`forward`.

        Args:
            maps: (B, C, h, w) each.
            sizes: Height and width of each image [px].
            masks: Which positions of each map belong to an image, (B, h, w); None if all do.
            targets: For losses.
        """
        raise NotImplementedError


class QueryNetwork(ObjectNetwork):
    """A backbone with a head whose queries answer for an image; subclasses choose detections of that and judge it."""

    head_config: QueryHeadConfig

    def decide(
        self,
        singles: Sequence[tuple[Tensor, Tensor]],
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> dict[str, Any]:
        """Choose the detections of images, and judge what the queries say of them where targets are known.

        Args:
            singles: What the queries (Q) say of each image, float32: logits of classes, and boxes (Q, 4) or logits of
                masks (Q, h, w).
            sizes: Height and width of each image [px].
            targets: For losses.
        """
        detections = [self._detections(*said, size) for said, size in zip(singles, sizes, strict=True)]
        if targets is None:
            return {"detections": detections, "losses": {}}
        wrong = [self._wrong(*said, size, target) for said, size, target in zip(singles, sizes, targets, strict=True)]
        return {"detections": detections, "losses": each_judged_once(wrong)}

    def _detections(self, classes: Tensor, regions: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """Choose the detections of one image."""
        raise NotImplementedError

    def _wrong(
        self, classes: Tensor, regions: Tensor, size: tuple[int, int], target: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute what is wrong with the last layer's answers for one image."""
        raise NotImplementedError


def with_area(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave objects without area out, which no box can be held against."""
    boxes = target["boxes"]
    kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    names = ("boxes", "labels", "crowd", "masks")
    return {name: target[name][kept] for name in names if name in target}


def each_judged_once(losses: Sequence[Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Write losses by name, of each image or of the whole batch, as the ``sum`` and ``count`` of one judgement each."""
    sums = {name: torch.stack([each[name].reshape(()) for each in losses]) for name in losses[0]}
    return {name: {"sum": total, "count": torch.ones_like(total)} for name, total in sums.items()}
