"""The head of RT-DETRv2: an encoder of three maps, and queries that begin with its likeliest places.

Source: Lv et al., RT-DETRv2: Improved Baseline with Bag-of-Freebies for Real-Time Detection Transformer, 2024, as
transformers has it.
"""

from __future__ import annotations

from typing import Any

from focalnets.models.heads.given_maps import MapShapes
from focalnets.models.heads.query_boxes import BoxQueries, common_settings, quiet_transformers
from focalnets.models.heads.query_config import QueryHeadConfig

__all__ = ["RtDetrHead"]


class RtDetrHead(BoxQueries):
    """RT-DETRv2's encoder and decoder.

    Args:
        backbone: Config of the network.
        config: What the head is made of.

    Raises:
        MissingPackageError: If transformers or scipy is not installed.
    """

    def __init__(self, backbone: MapShapes, config: QueryHeadConfig) -> None:
        settings = common_settings(backbone, config)
        from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection

        with quiet_transformers():
            super().__init__(RTDetrV2ForObjectDetection(RTDetrV2Config(**settings)))

    def all_losses(self, *arguments: Any, **options: Any) -> tuple[Any, ...]:
        """Compute RT-DETR's losses."""
        from transformers.loss.loss_rt_detr import RTDetrForObjectDetectionLoss

        return RTDetrForObjectDetectionLoss(*arguments, **options)
