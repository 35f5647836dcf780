"""What a training config says about finding every object and every kind of ground. Imports no torch."""

from __future__ import annotations

import dataclasses

from focalnets.errors import ConfigError
from focalnets.tasks.dense.settings import DenseSettings
from focalnets.tasks.settings import check_whole_numbers

__all__ = ["PanopticSettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PanopticSettings(DenseSettings):
    """The section ``panoptic`` of a training config; the head is Mask2Former's, through transformers.

    Attributes:
        channels: Hidden channels of the head, a multiple of 32 from 64 up; None takes what suits the backbone.
        queries: Queries, more than an image has objects and kinds of ground; None takes what suits the backbone.
        decoder_layers: Layers of the decoder; None takes what suits the backbone.
        stuff: Numbers of the classes that are kinds of ground, counted from 0, e.g. "7,8"; None takes them from the
            data.
        reduce_zero_label: The first class of the data is no class: its pixels count nowhere.
    """

    channels: int | None = None
    queries: int | None = None
    decoder_layers: int | None = None
    stuff: str | None = None
    reduce_zero_label: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_numbers(self, {"channels": 64, "queries": 1, "decoder_layers": 2}, optional=True)

        self.stuff_labels()

    def stuff_labels(self) -> tuple[int, ...]:
        """Return the numbers of the kinds of ground.

        Raises:
            ConfigError: If they are no numbers.
        """
        parts = [part.strip() for part in (self.stuff or "").split(",") if part.strip()]
        if not all(part.isascii() and part.isdecimal() for part in parts):
            raise ConfigError(f"stuff must be numbers of classes from 0 such as 7,8, got {self.stuff!r:.80}.")
        return tuple(int(part) for part in parts)
