"""The settings of a training that classifies series. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.errors import ConfigError
from focalnets.models.input_specs import LARGEST_CONTEXT
from focalnets.models.sequence_variants import SEQUENCE_VARIANTS
from focalnets.tasks.settings import Range, check_ranges, check_types, check_whole_numbers, refuse_image_sizes

__all__ = ["USUAL_NETWORK", "SeriesSettings"]

USUAL_NETWORK = "focal_series_small"
"""The network of a training that names none."""

_RANGES: dict[str, Range] = {
    "noise": (0.0, None, "0 or more"),
    "label_smoothing": (0.0, 1.0, "from 0 to below 1"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesSettings:
    """The section ``series`` of a training config.

    Attributes:
        series_length: Positions of a series that the network reads; what follows them is not seen. 0 takes the longest
            series of the training.
        noise: Standard deviation of random numbers that are added to each normalised one in training.
        label_smoothing: How much of the label is spread over all classes in training.
    """

    series_length: int = 0
    noise: float = 0.03
    label_smoothing: float = 0.05

    def __post_init__(self) -> None:
        check_types(self)
        check_whole_numbers(self, {"series_length": 0})
        if self.series_length > LARGEST_CONTEXT:
            raise ConfigError(f"series_length may be at most {LARGEST_CONTEXT:,}, got {self.series_length:,}.")
        check_ranges(self, _RANGES)

    def check_with(self, config: Any) -> None:
        """Refuse settings of a training that are about images.

        Raises:
            ConfigError: With what to give instead.
        """
        refuse_image_sizes(config, "how much of a series is read is --series_length")

    def miniature(self, model: str) -> dict[str, Any]:
        """Choose settings of a training that takes seconds; ``model`` is the network named."""
        return {
            "model": model if model in SEQUENCE_VARIANTS else USUAL_NETWORK,
            "model_overrides": {"dim": 16, "depth": 2},
        }
