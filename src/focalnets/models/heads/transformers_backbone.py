"""FocalNets as a backbone of Hugging Face transformers: Mask2Former, RT-DETRv2, D-FINE and others run on them.

Axes: B batch, H W height and width [px], h w [tokens], C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from focalnets.errors import MissingPackageError
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet

__all__ = ["MODEL_TYPE", "backbone_config", "register_transformers", "transformers_backbone"]

MODEL_TYPE = "focalnets"
"""What configs of transformers call the backbone."""


@functools.cache
def register_transformers() -> tuple[Any, Any]:
    """Make ``AutoConfig`` and ``AutoBackbone`` of transformers know FocalNets; returns the two classes.

    Afterwards their ``save_pretrained`` and ``from_pretrained`` work for every model with such a backbone.

    Raises:
        MissingPackageError: If transformers is not installed.
    """
    try:
        from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
        from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
        from transformers.modeling_outputs import BackboneOutput
    except ImportError:
        raise MissingPackageError(
            "Heads of transformers need it in version 5 or later; run: pip install 'focalnets[dense]'"
        ) from None

    class FocalNetsConfig(BackboneConfigMixin, PreTrainedConfig):
        model_type = MODEL_TYPE

        def __init__(
            self,
            network: dict[str, Any] | None = None,
            out_features: list[str] | None = None,
            out_indices: list[int] | None = None,
            **options: Any,
        ) -> None:
            super().__init__(**options)
            self.network = FocalNetConfig.from_dict(network or {"pyramid_norms": True, "num_classes": 0}).to_dict()
            self.stage_names = ["stem", *(f"stage{number + 1}" for number in range(len(self.network["depths"])))]
            self.set_output_features_output_indices(out_features=out_features, out_indices=out_indices)

    class FocalNetsBackbone(BackboneMixin, PreTrainedModel):
        config_class = FocalNetsConfig
        base_model_prefix = "network"
        main_input_name = "pixel_values"
        has_attentions = False

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.network = FocalNet(FocalNetConfig.from_dict(config.network))
            self.num_features = [self.network.config.dims[0], *self.network.config.dims]
            self.post_init()

        def _init_weights(self, module: Any) -> None:
            """Leave the weights as the network has drawn them."""

        def forward(self, pixel_values: Tensor, **_: Any) -> Any:  # type: ignore[override]
            maps = dict(zip(self.stage_names[1:], self.network.forward_pyramid(pixel_values), strict=True))
            return BackboneOutput(feature_maps=tuple(maps[name] for name in self.out_features))

    AutoConfig.register(MODEL_TYPE, FocalNetsConfig)
    AutoBackbone.register(FocalNetsConfig, FocalNetsBackbone)
    return FocalNetsConfig, FocalNetsBackbone


def backbone_config(config: FocalNetConfig, stages: Sequence[int] | None = None) -> Any:
    """Make the ``backbone_config`` that a config of transformers takes.

    Args:
        config: The network, with pyramid norms.
        stages: Which maps the head gets, counted from 0; None gives it all.

    Raises:
        MissingPackageError: If transformers is not installed.
    """
    config_class, _ = register_transformers()
    chosen = range(len(config.depths)) if stages is None else stages
    return config_class(network=config.to_dict(), out_features=[f"stage{stage + 1}" for stage in chosen])


def transformers_backbone(network: FocalNet, stages: Sequence[int] | None = None) -> Any:
    """Give a network, with its weights, the form of a backbone of transformers; the two share their weights.

    Args:
        network: With pyramid norms, e.g. ``focalnets.load_model(source, pyramid_norms=True)``.
        stages: As in :func:`backbone_config`.

    Raises:
        MissingPackageError: If transformers is not installed.
    """
    import torch

    _, backbone_class = register_transformers()
    with torch.device("meta"):
        backbone = backbone_class(backbone_config(network.config, stages))
    backbone.network = network
    return backbone
