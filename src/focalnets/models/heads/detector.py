"""A detector: backbone, feature pyramid, proposals, and heads that look into them.

Axes: B batch, H W height and width [px], M objects, N detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.models.heads.objects import ObjectNetwork, with_area
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


class Detector(ObjectNetwork):
    """A Faster or Mask R-CNN on a FocalNet; see :class:`focalnets.models.heads.objects.ObjectNetwork`."""

    head_config: DetectorConfig

    def __init__(self, backbone: FocalNet, head_config: DetectorConfig, class_names: Sequence[str]) -> None:
        super().__init__(backbone, head_config, class_names)
        strides = [self.config.strides[stage] for stage in self.stages]
        self.head = DetectorHead(head_config, self.channels, strides)

    @property
    def padding_masked(self) -> bool:
        """Whether batch padding is kept out of every image; published detectors let it in."""
        return self.head_config.padding_masked

    def set_options(self, **changes: Any) -> None:
        """Change what no weight depends on, such as ``score_threshold``.

        Args:
            **changes: Fields of :class:`DetectorConfig`.
        """
        super().set_options(**changes)
        self.head.proposals.config = self.head.regions.config = self.head_config

    def find(
        self,
        maps: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        *,
        masks: Sequence[Tensor] | None = None,
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> dict[str, Any]:
        """Detect objects in the maps of the stages, finest first."""
        counts = not self.padding_masked
        pyramid = self.head.pyramid(maps, masks)
        known = None if targets is None else [with_area(target) for target in targets]
        proposals, losses = self.head.proposals(pyramid, sizes, known, padding_counts=counts)
        looked_into = pyramid[: len(maps)]
        detections, more = self.head.regions(looked_into, proposals, sizes, known, padding_counts=counts)
        return {"detections": detections, "losses": losses | more}
