"""The head of D-FINE: as RT-DETR's, but each edge of a box is a distribution that the layers refine.

Source: Peng et al., D-FINE: Redefine Regression Task in DETRs as Fine-grained Distribution Refinement, ICLR 2025, as
transformers has it.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from focalnets.models.heads.given_maps import MapShapes
from focalnets.models.heads.query_boxes import BoxQueries, common_settings, quiet_transformers
from focalnets.models.heads.query_config import QueryHeadConfig

__all__ = ["DFineHead"]


class DFineHead(BoxQueries):
    """D-FINE's encoder and decoder.

    Args:
        backbone: Config of the network.
        config: What the head is made of.

    Raises:
        MissingPackageError: If transformers or scipy is not installed.
    """

    def __init__(self, backbone: MapShapes, config: QueryHeadConfig) -> None:
        settings = common_settings(backbone, config)
        from transformers import DFineConfig, DFineForObjectDetection

        with quiet_transformers():
            super().__init__(DFineForObjectDetection(DFineConfig(**settings)))
        decoder = self.model.decoder
        for layer in (decoder.pre_bbox_head.layers[-1], *(each.reg_conf.layers[-1] for each in decoder.lqe_layers)):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in decoder.layers:  # Its two inputs weigh the same at first.
            nn.init.zeros_(layer.gateway.gate.weight)
            nn.init.zeros_(layer.gateway.gate.bias)

    def all_losses(self, *arguments: Any, **options: Any) -> tuple[Any, ...]:
        """Compute D-FINE's losses."""
        from transformers.loss.loss_d_fine import DFineForObjectDetectionLoss

        return DFineForObjectDetectionLoss(*arguments, **options)
