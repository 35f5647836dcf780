"""A backbone of transformers that is none: it tells heads of transformers how many channels the maps have.

Our networks compute the maps themselves and hand them to the head, so any network with maps of several sizes may stand
below it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

from focalnets.errors import MissingPackageError

__all__ = ["MapShapes", "given_maps"]


class MapShapes(Protocol):
    """What heads ask of the config of a network: channels and strides [px] of the maps of its stages, finest first."""

    @property
    def dims(self) -> tuple[int, ...]: ...

    @property
    def strides(self) -> tuple[int, ...]: ...


def given_maps(channels: Sequence[int]) -> Any:
    """Make the ``backbone_config`` of a model of transformers whose head takes maps with these channels.

    Raises:
        MissingPackageError: If transformers is not installed.
    """
    return _registered()(channels=list(channels))


@functools.cache
def _registered() -> Any:
    try:
        from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
        from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
    except ImportError:
        raise MissingPackageError(
            "Heads of transformers need it in version 5 or later; run: pip install 'focalnets[dense]'"
        ) from None

    class GivenMapsConfig(BackboneConfigMixin, PreTrainedConfig):
        model_type = "focalnets_given_maps"

        def __init__(self, channels: list[int] | None = None, **options: Any) -> None:
            super().__init__(**options)
            self.map_channels = channels or [1]
            self.stage_names = ["stem", *(f"stage{number + 1}" for number in range(len(self.map_channels)))]
            self.set_output_features_output_indices(out_features=self.stage_names[1:], out_indices=None)

    class GivenMaps(BackboneMixin, PreTrainedModel):
        config_class = GivenMapsConfig
        base_model_prefix = "maps"

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.num_features = [1, *config.map_channels]
            self.post_init()

    AutoConfig.register(GivenMapsConfig.model_type, GivenMapsConfig)
    AutoBackbone.register(GivenMapsConfig, GivenMaps)
    return GivenMapsConfig
