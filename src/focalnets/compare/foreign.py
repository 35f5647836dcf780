"""Networks of any make in the trainer: plain modules, with what it needs to know of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import nn

from focalnets.errors import ConfigError
from focalnets.models.config import Preprocessing
from focalnets.training.config import TrainingConfig
from focalnets.training.network import NetworkToTrain
from focalnets.weights.checkpoint import describe_foreign

__all__ = ["FOCALNETS_ALONE", "foreign_network", "require_shared_settings"]

FOCALNETS_ALONE: dict[str, Any] = {
    "optimizer": "adamw", "layer_decay": 1.0, "freeze_epochs": 0, "freeze_norms": False, "recompute": "none",
    "pretrained": None,
}  # fmt: skip
"""Settings that know the layers of a FocalNet, with the values that suit any network."""


def foreign_network(
    name: str,
    module: nn.Module,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    *,
    origin: str = "random weights",
) -> NetworkToTrain:
    """Tell the trainer of a network that is no FocalNet; its files of weights do not claim to be a FocalNet's.

    Args:
        name: As noted beside the weights.
        module: Takes images (B, 3, H, W) and answers what the task expects, a classifier with logits (B, K).
        labels: Names of the K classes.
        preprocessing: How images must be prepared for it.
        origin: Where its weights came from, in words.
    """
    return NetworkToTrain(
        module=module,
        spec=preprocessing,
        origin=origin,
        describe=functools.partial(describe_foreign, name, tuple(labels)),
        name=name,
    )


def require_shared_settings(config: TrainingConfig) -> None:
    """Refuse settings that know the layers of a FocalNet.

    Raises:
        ConfigError: With their names.
    """
    unfit = [name for name, value in FOCALNETS_ALONE.items() if getattr(config, name) != value]
    if getattr(config.settings, "frozen_stages", 0):
        unfit.append("frozen_stages")
    if config.strategy == "fsdp":
        unfit.append("strategy")
    if unfit:
        raise ConfigError(
            f"{', '.join(unfit)} can be chosen for FocalNets only, not where other networks take part; leave out."
        )
