"""A detector: backbone, feature pyramid, proposals, and heads that look into them.

Axes: B batch, H W height and width [px], N boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from focalnets.errors import ConfigError
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.models.heads.proposals import ProposalNetwork
from focalnets.models.heads.pyramid import FeaturePyramid, masks_of_maps
from focalnets.models.heads.regions import RegionHeads

__all__ = ["Detector", "DetectorHead"]


class DetectorHead(nn.Module):
    """Everything of a detector that stands on its backbone."""

    def __init__(self, config: DetectorConfig, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.pyramid = FeaturePyramid(
            channels, config.pyramid_channels, coarser=config.coarser, normalised=config.normalised
        )
        all_strides = [*strides, *(strides[-1] * 2 ** (step + 1) for step in range(config.coarser))]
        self.proposals = ProposalNetwork(config, all_strides)
        self.regions = RegionHeads(config, strides[0])


class Detector(nn.Module):
    """A Faster or Mask R-CNN on a FocalNet.

    Args:
        backbone: With pyramid norms; those of stages that are not used are taken away.
        config: What stands on it.
        class_names: One for each class of objects, or None.

    Attributes:
        config: The config of the backbone, as checkpoints keep it.
        head_config: What stands on the backbone.
        preprocessing, class_names, origin: As those of a FocalNet.

    Raises:
        ConfigError: If the backbone has no pyramid norms or not the stages.
    """

    def __init__(self, backbone: FocalNet, config: DetectorConfig, *, class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        stages = len(backbone.config.depths)
        if backbone.pyramid_norms is None:
            raise ConfigError("A detector stands on a backbone with pyramid norms; this one has a classifier.")
        if config.stages[-1] >= stages:
            raise ConfigError(f"stages {config.stages} were asked for, but the backbone has {stages}.")
        if class_names is not None and len(class_names) != config.outputs:
            raise ConfigError(f"{len(class_names)} class names were given for {config.outputs} classes.")
        # A norm whose map nobody uses gets no gradient, on which training on several devices waits forever.
        for stage in set(range(stages)) - set(config.stages):
            backbone.pyramid_norms[stage] = nn.Identity()
        self.config, self.head_config = backbone.config, config
        self.preprocessing, self.origin = backbone.preprocessing, backbone.origin
        self.class_names = None if class_names is None else tuple(class_names)
        self.backbone = backbone
        channels, strides = backbone.config.dims, backbone.config.strides
        used = config.stages
        self.head = DetectorHead(config, [channels[stage] for stage in used], [strides[stage] for stage in used])

    def train(self, mode: bool = True) -> Detector:
        """Switch to training or back; frozen batch norms of the backbone stay as in use."""
        super().train(mode)
        if self.head_config.batch_norm_frozen:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def set_recompute(self, level: Any) -> None:
        """Choose what training computes twice to save memory, see :meth:`FocalNet.set_recompute`."""
        self.backbone.set_recompute(level)

    def with_options(self, **changes: Any) -> Detector:
        """Change what has no weights, e.g. ``score_threshold``, in place.

        Args:
            **changes: Fields of :class:`DetectorConfig`.
        """
        self.head_config = self.head_config.replace(**changes)
        self.head.proposals.config = self.head.regions.config = self.head_config
        return self

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
        config = self.head_config
        sizes = _sizes_of(images, mask)
        masked = mask if config.padding_masked else None
        stages = self.backbone.forward_pyramid(images, masked)
        maps = [stages[stage] for stage in config.stages]
        masks = None
        if masked is not None:
            masks = masks_of_maps(masked, self.config.strides[config.stages[0]], len(config.stages))
        pyramid = self.head.pyramid(maps, masks)
        known = None if targets is None else [_with_area(target) for target in targets]
        outside = not config.padding_masked
        proposals, losses = self.head.proposals(pyramid, sizes, known, padding_counts=outside)
        looked_into = pyramid[: len(config.stages)]
        detections, more = self.head.regions(looked_into, proposals, sizes, known, padding_counts=outside)
        return {"detections": detections, "losses": losses | more}


def _sizes_of(images: Tensor, mask: Tensor | None) -> list[tuple[int, int]]:
    """Height and width of each image within its batch [px]."""
    if mask is None:
        return [(images.shape[2], images.shape[3])] * len(images)
    heights, widths = mask[:, :, 0].sum(1).tolist(), mask[:, 0].sum(1).tolist()
    return list(zip(heights, widths, strict=True))


def _with_area(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave objects without area out, which no box can be held against."""
    boxes = target["boxes"]
    kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    names = ("boxes", "labels", "crowd", "masks")
    return {name: target[name][kept] for name in names if name in target}
