"""The table of networks that classify sequences. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.errors import UnknownNameError, nearest
from focalnets.models.fields import shortened
from focalnets.models.sequence_config import TextClassifierConfig

__all__ = ["SEQUENCE_VARIANTS", "SequenceVariant", "sequence_variant"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceVariant:
    """A network that classifies sequences, with a name.

    Attributes:
        name: What it is called.
        task: What its sequences are: ``text`` or ``series``.
        summary: What it is, for people.
        config: What it is made of; vocabulary, channels and classes are those of the data.
    """

    name: str
    task: str
    summary: str
    config: TextClassifierConfig


_TEXT: dict[str, Any] = {"dim": 128, "depth": 2, "dropout": 0.3}
_SERIES: dict[str, Any] = {"vocabulary_size": 0, "channels": 1, "dim": 128, "depth": 2, "dropout": 0.1}

SEQUENCE_VARIANTS: dict[str, SequenceVariant] = {
    row.name: row
    for row in (
        SequenceVariant(
            name="focal_text_small", task="text", summary="focal modulation, 0.4 M parameters beside the embedding",
            config=TextClassifierConfig(**_TEXT),
        ),
        SequenceVariant(
            name="attention_text_small", task="text", summary="attention in its place, to compare with",
            config=TextClassifierConfig(**_TEXT, mixer="attention"),
        ),
        SequenceVariant(
            name="focal_series_small", task="series", summary="focal modulation of patches, 0.4 M parameters",
            config=TextClassifierConfig(**_SERIES),
        ),
        SequenceVariant(
            name="attention_series_small", task="series", summary="attention in its place, to compare with",
            config=TextClassifierConfig(**_SERIES, mixer="attention"),
        ),
    )
}  # fmt: skip
"""Networks that classify sequences by name."""


def sequence_variant(name: str, task: str) -> SequenceVariant:
    """Look up the row of that name.

    Raises:
        UnknownNameError: If there is none for this task; the message names the closest ones.
    """
    row = SEQUENCE_VARIANTS.get(name)
    if row is None or row.task != task:
        known = [each.name for each in SEQUENCE_VARIANTS.values() if each.task == task]
        raise UnknownNameError(
            f"There is no network called {shortened(name)} for the task {task}; {nearest(str(name), known)}"
        )
    return row
