"""What a head of queries is made of, which finds the objects of an image without proposals. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from focalnets.errors import ConfigError, nearest
from focalnets.models.fields import checked_keys, is_finite, is_number, shortened

__all__ = ["QUERY_HEADS", "QueryHeadConfig"]

QUERY_HEADS: dict[str, str] = {
    "rtdetr": "RT-DETRv2: queries that each name an object and its box",
    "dfine": "D-FINE: as RT-DETR, with a distribution for each edge of a box",
    "mask2former": "Mask2Former: queries that each name an object and draw its mask",
}
"""Kinds of such heads, in words."""

_MOST = {"outputs": 100_000, "channels": 4096, "queries": 10_000, "layers": 100, "detections": 100_000}
_NEIGHBOURS = 8
"""Heads of attention, which share the channels out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueryHeadConfig:
    """The complete description of a head of queries; defaults are the published ones.

    Attributes:
        kind: See :data:`QUERY_HEADS`.
        outputs: Classes of objects.
        stages: Stages of the backbone whose maps are used, one after the other; four for Mask2Former.
        channels: Hidden channels: a multiple of 16, for Mask2Former of 32 from 64 up.
        queries: Most objects that an image may have.
        layers: Of the decoder, at least two.
        score_threshold: Lowest score of a detection.
        detections: Detections of an image at most.
        class_ids: Number of each class in the data, which results are written with; None counts from 1.
    """

    kind: str
    outputs: int
    stages: tuple[int, ...] = (1, 2, 3)
    channels: int = 256
    queries: int = 300
    layers: int = 6
    score_threshold: float = 0.001
    detections: int = 100
    class_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in QUERY_HEADS:
            raise ConfigError(f"There is no head {shortened(self.kind)}; {nearest(str(self.kind), QUERY_HEADS)}")
        for name, most in _MOST.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ConfigError(f"{name} must be a whole number from 1 to {most:,}, got {shortened(value)}.")
        if self.layers < 2:
            raise ConfigError(f"layers of a decoder must be at least 2, got {self.layers}.")
        threshold = self.score_threshold
        if not is_number(threshold) or not is_finite(threshold):
            raise ConfigError(f"score_threshold must be a number, got {shortened(threshold)}.")
        if not 0 <= threshold <= 1:
            raise ConfigError(f"score_threshold must be from 0 to 1, got {shortened(threshold)}.")
        self._check_channels()
        self._check_stages()
        if self.class_ids is not None:
            self._check_class_ids(self.class_ids)

    def _check_channels(self) -> None:
        if self.kind == "mask2former":
            if self.channels % 32 or self.channels < 64:  # 32 groups are normalised, and one number cannot be
                raise ConfigError(f"channels of Mask2Former must be a multiple of 32 from 64 up, got {self.channels}.")
        elif self.channels % (2 * _NEIGHBOURS):
            raise ConfigError(f"channels of the head {self.kind} must be a multiple of 16, got {self.channels}.")

    def _check_stages(self) -> None:
        stages = self.stages
        if not isinstance(stages, list | tuple) or not 2 <= len(stages) <= 8:
            raise ConfigError(f"stages must be a list of at least two numbers, got {shortened(stages)}.")
        first = stages[0]
        if type(first) is not int or first < 0 or list(stages) != list(range(first, first + len(stages))):
            raise ConfigError(f"stages must be whole numbers one after the other, got {shortened(stages)}.")
        if self.kind == "mask2former" and tuple(stages) != (0, 1, 2, 3):
            raise ConfigError(f"Mask2Former stands on the stages 0 to 3, got {shortened(stages)}.")
        object.__setattr__(self, "stages", tuple(stages))

    def _check_class_ids(self, numbers: Any) -> None:
        fits = isinstance(numbers, list | tuple) and len(numbers) == self.outputs
        if not fits or not all(type(number) is int and 0 <= number < 2**53 for number in numbers):
            raise ConfigError(f"class_ids must be a whole number for each class, got {shortened(numbers)}.")
        object.__setattr__(self, "class_ids", tuple(numbers))

    @property
    def masks(self) -> bool:
        """Whether objects get masks."""
        return self.kind == "mask2former"

    @property
    def numbers(self) -> tuple[int, ...]:
        """Number of each class in the data."""
        return tuple(range(1, self.outputs + 1)) if self.class_ids is None else self.class_ids

    def replace(self, **changes: Any) -> QueryHeadConfig:
        """Copy the config with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Write plain values that survive JSON."""
        values = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> QueryHeadConfig:
        """Build from plain values.

        Raises:
            ConfigError: If a key is missing or unknown, or a value out of range.
        """
        fields = checked_keys(cls, values)
        missing = [name for name in ("kind", "outputs") if name not in fields]
        if missing:
            raise ConfigError(f"the head of a detector lacks {' and '.join(missing)}.")
        return cls(**fields)
