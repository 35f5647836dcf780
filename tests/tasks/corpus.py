"""A small text that has an order to learn: made of few words, the same at every call."""

from __future__ import annotations

import random

WORDS = ("the", "king", "of", "rain", "and", "a", "crown", "came", "home", "to", "see", "his", "daughter")


def corpus(words=3000, seed=0):
    """Return sentences of these words, one a line."""
    choose = random.Random(seed)
    text = ""
    for number in range(words):
        text += choose.choice(WORDS) + (".\n" if number % 9 == 8 else " ")
    return text


def write_corpus(file, words=3000, seed=0):
    """Write such a text; returns the file."""
    file.write_text(corpus(words, seed), encoding="utf-8")
    return file
