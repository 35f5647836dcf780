"""What a training config says about naming the class of each pixel. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from focalnets.errors import ConfigError
from focalnets.tasks.dense.settings import DenseSettings
from focalnets.tasks.settings import check_choices, check_ranges, check_whole_numbers

__all__ = ["SemanticHead", "SemanticSettings"]

SemanticHead = Literal["mlp", "uper", "mask2former"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemanticSettings(DenseSettings):
    """The section ``semantic`` of a training config.

    Attributes:
        head: What names the classes: mlp, light; uper, UPerNet; or mask2former, through transformers. None takes that
            of the model.
        channels: Hidden channels of the head; None takes the usual number.
        dropout: Probability of dropping a channel in front of the head's last layer.
        auxiliary_weight: Weight of the loss of a second head that helps UPerNet to learn; 0 leaves it out.
        class_weights: Weight of each class in the loss, e.g. "1,1,2.5"; or balanced, which takes them from how many
            pixels each class has; None weighs all pixels alike.
        queries: Queries of mask2former; None takes 100.
        decoder_layers: Layers of mask2former's decoder; None takes 10.
        reduce_zero_label: The first class of the data is no class: its pixels count nowhere, as in ADE20K.
    """

    head: SemanticHead | None = None
    channels: int | None = None
    dropout: float = 0.1
    auxiliary_weight: float = 0.4
    class_weights: str | None = None
    queries: int | None = None
    decoder_layers: int | None = None
    reduce_zero_label: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head is not None:
            check_choices(self, {"head": get_args(SemanticHead)})
        check_whole_numbers(self, {"channels": 1, "queries": 1, "decoder_layers": 2}, optional=True)
        check_ranges(self, {"dropout": (0.0, 1.0, "from 0 to below 1"), "auxiliary_weight": (0.0, None, "0 or more")})
        if self.class_weights != "balanced":
            self.weights()

    def weights(self) -> tuple[float, ...] | None:
        """Return the weight of each class; None if all are alike.

        Raises:
            ConfigError: If they are no numbers above 0.
        """
        if self.class_weights is None:
            return None
        try:
            numbers = tuple(float(part) for part in self.class_weights.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number < float("inf") for number in numbers):
            raise ConfigError(
                f"class_weights must be balanced, or a number above 0 for each class such as 1,1,2.5, got "
                f"{self.class_weights!r:.80}."
            )
        return numbers
