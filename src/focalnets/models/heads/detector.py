"""A detector: backbone, feature pyramid, proposals, and heads that look into them.

Axes: B batch, H W height and width [px], M objects, N detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from focalnets.errors import ConfigError
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.models.heads.network import DenseNetwork, valid_sizes
from focalnets.models.heads.proposals import ProposalNetwork
from focalnets.models.heads.pyramid import FeaturePyramid
from focalnets.models.heads.regions import RegionHeads

__all__ = ["Detector", "DetectorHead", "with_area"]


class DetectorHead(nn.Module):
    """Everything of a detector that stands on its backbone.

    Args:
        config: What it is made of.
        channels, strides: Of the maps of the stages, finest first.
    """

    def __init__(self, config: DetectorConfig, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.pyramid = FeaturePyramid(
            channels, config.pyramid_channels, coarser=config.coarser, normalised=config.normalised
        )
        all_strides = [*strides, *(strides[-1] * 2 ** (step + 1) for step in range(config.coarser))]
        self.proposals = ProposalNetwork(config, all_strides)
        self.regions = RegionHeads(config, strides[0])


class Detector(DenseNetwork):
    """A Faster or Mask R-CNN on a FocalNet.

    Args:
        backbone: With pyramid norms.
        head_config: What stands on it.
        class_names: One for each class of objects.

    Raises:
        ConfigError: If the backbone has no pyramid norms or not the stages, or there are not as many names as classes.
    """

    def __init__(self, backbone: FocalNet, head_config: DetectorConfig, class_names: Sequence[str]) -> None:
        super().__init__(backbone, head_config.stages, class_names)
        if len(self.class_names) != head_config.outputs:
            raise ConfigError(f"{len(self.class_names)} class names were given for {head_config.outputs} classes.")
        strides = [self.config.strides[stage] for stage in self.stages]
        self.head = DetectorHead(head_config, self.channels, strides)
        self.head_config = head_config

    def describe_head(self) -> dict[str, Any]:
        """Describe the head for a checkpoint."""
        return self.head_config.to_dict()

    def set_options(self, **changes: Any) -> None:
        """Change what no weight depends on, such as ``score_threshold``.

        Args:
            **changes: Fields of :class:`DetectorConfig`.
        """
        self.head_config = self.head_config.replace(**changes)
        self.head.proposals.config = self.head.regions.config = self.head_config

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
            best first, and with masks ``masks`` (N, 28, 28), likelihoods within the box; empty in training.
            ``losses``: by name the ``sum`` (B,) over what was judged and its ``count`` (B,); empty without targets.
        """
        sizes = [(height, width) for height, width in valid_sizes(images, mask).tolist()]
        inside = mask if self.head_config.padding_masked else None
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
        counts = not self.head_config.padding_masked
        pyramid = self.head.pyramid(maps, masks)
        known = None if targets is None else [with_area(target) for target in targets]
        proposals, losses = self.head.proposals(pyramid, sizes, known, padding_counts=counts)
        looked_into = pyramid[: len(maps)]
        detections, more = self.head.regions(looked_into, proposals, sizes, known, padding_counts=counts)
        return {"detections": detections, "losses": losses | more}


def with_area(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave objects without area out, which no box can be held against."""
    boxes = target["boxes"]
    kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    names = ("boxes", "labels", "crowd", "masks")
    return {name: target[name][kept] for name in names if name in target}
