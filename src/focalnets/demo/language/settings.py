"""What the demonstration of texts learns from and how long. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

__all__ = ["LanguageDemoSettings", "full", "quick"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageDemoSettings:
    """Everything that decides the demonstration.

    Attributes:
        characters: Of the text, from its beginning; the last tenth of them is held out.
        networks: Names of our network, and of the one beside it.
        overrides: Fields in which both differ from the table of networks.
        context_length: Characters that both read at once in training.
        passages, epochs: Passages that an epoch takes from the text, and epochs, after each of which a sample is kept.
        batch_size: Passages a step.
        learning_rate: Highest rate, of both networks; that of the recipe ``language``.
        sample_prompt, sample_length: What samples begin with, and their characters.
        looked_at: Characters of what is held out, about, whose gates are shown.
        seed: Decides initial weights and order.
    """

    characters: int = 320_000
    networks: tuple[str, str] = ("focal_language_small", "attention_language_small")
    overrides: Mapping[str, Any]
    context_length: int = 256
    passages: int = 400
    epochs: int = 12
    batch_size: int = 8
    learning_rate: float = 3e-3
    sample_prompt: str = "GLOUCESTER:\n"
    sample_length: int = 300
    looked_at: int = 500
    seed: int = 0


def full() -> LanguageDemoSettings:
    """Choose what takes about three minutes on two cores, for both networks together."""
    return LanguageDemoSettings(overrides={"dim": 128, "depth": 3})


def quick() -> LanguageDemoSettings:
    """Choose what takes seconds: it shows that everything runs and learns next to nothing."""
    return LanguageDemoSettings(
        characters=40_000, overrides={"dim": 32, "depth": 2}, context_length=64, passages=64, epochs=3,
        sample_length=80, looked_at=200,
    )  # fmt: skip
