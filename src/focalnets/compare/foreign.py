"""Networks of any make in the trainer: plain modules, with what it needs to know of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import nn

from focalnets.errors import ConfigError
from focalnets.models.config import Preprocessing
from focalnets.training.config import TrainingConfig
from focalnets.training.network import NetworkToTrain
from focalnets.weights.checkpoint import describe_foreign

__all__ = ["foreign_network", "require_shared_settings"]


def foreign_network(
    name: str, module: nn.Module, labels: Sequence[str], preprocessing: Preprocessing
) -> NetworkToTrain:
    """Tell the trainer of a network that is no FocalNet; its files of weights do not claim to be a FocalNet's.

    Args:
        name: As noted beside the weights.
        module: Takes images (B, 3, H, W) and gives logits (B, K).
        labels: Names of the K classes.
        preprocessing: How images must be prepared for it.
    """
    return NetworkToTrain(
        module=module,
        spec=preprocessing,
        origin="random weights",
        describe=functools.partial(describe_foreign, name, tuple(labels)),
        name=name,
    )


def require_shared_settings(config: TrainingConfig) -> None:
    """Refuse settings that know the layers of a FocalNet.

    Raises:
        ConfigError: With their names.
    """
    plain = {"optimizer": "adamw", "layer_decay": 1.0, "freeze_epochs": 0, "recompute": "none", "pretrained": None}
    unfit = [name for name, value in plain.items() if getattr(config, name) != value]
    if config.strategy == "fsdp":
        unfit.append("strategy")
    if unfit:
        raise ConfigError(
            f"{', '.join(unfit)} can be chosen for FocalNets only, not where other networks take part; leave out."
        )
