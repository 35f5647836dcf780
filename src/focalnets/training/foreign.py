"""Networks of any make in the trainer: what it needs to know of a network that is no plain FocalNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.training.config import TrainingConfig
from focalnets.weights.checkpoint import describe, describe_foreign

__all__ = ["ForeignNetwork", "describe_weights"]


class ForeignNetwork(nn.Module):
    """A network that the trainer takes like one of ours; the weights are under ``network.`` in its files.

    Args:
        name: As noted beside the weights.
        network: Takes images (B, 3, H, W) and gives logits (B, K).
        classes: Names of the K classes.
        preprocessing: How images must be prepared for it.

    Attributes:
        config: Holds the number of classes; what else it says of a FocalNet means nothing here.
        preprocessing, class_names, origin: As of :class:`focalnets.FocalNet`.
    """

    def __init__(self, name: str, network: nn.Module, classes: Sequence[str], preprocessing: Preprocessing) -> None:
        super().__init__()
        self.name = name
        self.network = network
        self.config = FocalNetConfig(num_classes=len(classes))
        self.preprocessing = preprocessing
        self.class_names: tuple[str, ...] | None = tuple(classes)
        self.origin = "random weights"

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, 3, H, W)."""
        return self.network(images)

    def set_recompute(self, level: str) -> None:
        """Accept ``none`` only."""
        if level != "none":
            raise ConfigError(f"recompute is for FocalNets; {self.name} is trained with none, got {level!r}.")

    @staticmethod
    def check(config: TrainingConfig) -> None:
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


def describe_weights(model: FocalNet | ForeignNetwork, notes: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a file of weights; a foreign network's do not claim to be a FocalNet's."""
    if isinstance(model, FocalNet):
        return describe(model, notes)
    return describe_foreign(model.name, model.class_names or (), notes)
