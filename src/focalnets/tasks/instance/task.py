"""Finding objects and the pixels of each: as finding objects, with a mask in each box."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from focalnets.tasks.detect.task import Detect
from focalnets.tasks.instance.settings import InstanceSettings
from focalnets.tasks.metric import Metric, Watch

__all__ = ["Instance"]

_SMALL = {"mask_channels": 96, "mask_layers": 2}
_PUBLISHED = {"mask_channels": 256, "mask_layers": 4}


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
    usual_network: ClassVar[str] = "maskrcnn_focalnet_pico"

    settings: InstanceSettings = dataclasses.field(default_factory=InstanceSettings)

    def mask_fields(self, settings: Mapping[str, Any], *, small: bool) -> dict[str, Any]:
        """Choose the fields of the detector's config that belong to masks."""
        usual = _SMALL if small else _PUBLISHED
        chosen = {name: usual[name] if settings[name] is None else settings[name] for name in usual}
        return {"masks": True, **chosen}
