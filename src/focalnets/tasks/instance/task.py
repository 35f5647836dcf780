"""Finding objects and the pixels of each: as finding objects, with a mask in each box."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from focalnets.tasks.detect.task import Detect
from focalnets.tasks.instance.settings import InstanceSettings
from focalnets.tasks.metric import Metric, Watch

__all__ = ["Instance"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instance(Detect):
    """The task of finding objects with their pixels.

    Attributes:
        settings: The section ``instance`` of a training config.
    """

    name: ClassVar[str] = "instance"
    watch: ClassVar[Watch] = Watch("mask_map")
    metric_labels: ClassVar[dict[str, Metric]] = {
        "mask_map": Metric("mask AP", hub_type="mean_average_precision", hub_name="Mask AP"),
        "mask_map50": Metric("mask AP50", hub_type="mean_average_precision", hub_name="Mask AP at overlap 0.5"),
        "map": Metric("box AP", hub_type="mean_average_precision", hub_name="Box AP"),
        "map50": Metric("box AP50", hub_type="mean_average_precision", hub_name="Box AP at overlap 0.5"),
    }
    pipeline_tag: ClassVar[str | None] = "image-segmentation"
    wants_masks: ClassVar[bool] = True

    settings: InstanceSettings = dataclasses.field(default_factory=InstanceSettings)
