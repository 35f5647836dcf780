"""What a training config says about finding objects with their pixels. Imports no torch."""

from __future__ import annotations

import dataclasses

from focalnets.tasks.detect.settings import DetectSettings
from focalnets.tasks.settings import check_whole_numbers

__all__ = ["InstanceSettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstanceSettings(DetectSettings):
    """The section ``instance`` of a training config: that of ``detect``, and what draws masks.

    Attributes:
        head: What finds the objects: rcnn, boxes that are proposed and looked into; or mask2former, queries that each
            name one and draw its mask, through transformers. None takes that of the model, or rcnn.
        mask_channels: Channels of the layers that draw masks.
        mask_layers: Convolutions before a mask is made larger.
    """

    mask_channels: int | None = None
    mask_layers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_numbers(self, {"mask_channels": 1, "mask_layers": 1}, optional=True)

    @staticmethod
    def heads() -> tuple[str, ...]:
        """Return the names of the heads that there are."""
        return ("rcnn", "mask2former")
