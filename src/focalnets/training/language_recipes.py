"""Recipes for continuing texts. Imports no torch."""

from __future__ import annotations

from focalnets.tasks.language.settings import USUAL_NETWORK, LanguageSettings
from focalnets.training.config import TrainingConfig

__all__ = ["language", "language_base"]


def language() -> TrainingConfig:
    """Set up a language model of 0.8 M parameters from scratch on a text of a megabyte or so, on a laptop.

    800 steps of 8 passages of 256 tokens, measured eight times on all that is held out, the last tenth of the text.

    Command: ``focalnets train corpus.txt`` on Tiny Shakespeare. Hardware: one thread of an AMD EPYC (Zen 4) beside
    other work. Duration: 5 minutes. Score: 1.581 nats a character (one seed). A rate of 1e-2 learns as much (1.588 with
    the same seed, 1.580 as the mean of three), and of attention much less.
    """
    return TrainingConfig(
        task="language",
        model=USUAL_NETWORK,
        epochs=8,
        batch_size=8,
        learning_rate=3e-3,
        final_learning_rate=0.1,
        warmup_epochs=0.4,
        weight_decay=0.1,
        beta2=0.99,
        gradient_clip=1.0,
        val_fraction=0.1,
        workers=0,
        settings=LanguageSettings(passages=800),
    )


def language_base() -> TrainingConfig:
    """Set up a language model of 10.7 M parameters, the size and schedule of nanoGPT's for characters, on a GPU.

    5,000 steps of 64 passages of 256 tokens, with dropout.

    Command: ``focalnets train corpus.txt --recipe language_base``. Hardware: meant for a GPU.

    Source: nanoGPT's settings for Shakespeare's characters: rate 1e-3 down to 1e-4, 100 steps of warm-up, decay 0.1,
    beta2 0.99, dropout 0.2.
    """
    return language().replace(
        model="focal_language_base",
        epochs=20,
        batch_size=64,
        learning_rate=1e-3,
        warmup_epochs=0.4,
        precision="auto",
        passages=16_000,
    )
