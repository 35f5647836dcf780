"""What a network listens to in a text, token by token, as plain figures.

Axes: T tokens, L levels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from focalnets.visualize.text.listening import Listening

__all__ = ["Guess", "TextFigures"]


@dataclasses.dataclass(frozen=True)
class Guess:
    """The likeliest token in the place of one.

    Attributes:
        piece: The token, written down.
        probability: From 0 to 1.
    """

    piece: str
    probability: float


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TextFigures:
    """What a network listens to in a text, token by token.

    Attributes:
        name: What the text is called.
        model: What the network is called.
        unit: What tokens are: characters, bytes or tokens.
        tokens: Their numbers.
        pieces: The tokens written down.
        left_out: Tokens at the end that were not read.
        depth: Blocks of the network.
        levels: Names of the levels, from the narrowest to the widest.
        blocks: What each block with focal modulation took in.
        surprise: Negative logarithm of each token's probability after those before it [nats], (T,), NaN for the first;
            None for a classifier.
        guesses: What was likeliest in the place of each token; None for the first.
        classes: Names of a classifier's classes with their probabilities, the likeliest first.
    """

    name: str
    model: str
    unit: str
    tokens: tuple[int, ...]
    pieces: tuple[str, ...]
    left_out: int
    depth: int
    levels: tuple[str, ...]
    blocks: tuple[Listening, ...]
    surprise: np.ndarray | None = None
    guesses: tuple[Guess | None, ...] = ()
    classes: tuple[tuple[str, float], ...] = ()

    @property
    def between(self) -> str:
        """What stands between tokens in the text: a space between words, nothing else."""
        return " " if self.unit == "words" else ""

    @property
    def nats(self) -> float | None:
        """Mean surprise over all tokens but the first [nats]; None for a classifier, or where there is one token."""
        if self.surprise is None or len(self.tokens) < 2:
            return None
        return float(np.nanmean(self.surprise))

    @property
    def shares(self) -> np.ndarray:
        """How much of each level a token takes in, from 0 to 1, (T, L): the mean over the blocks."""
        return np.mean([block.shares for block in self.blocks], 0)

    @property
    def modulator(self) -> np.ndarray:
        """Length of the modulator at each token (T,): the mean over the blocks."""
        return np.mean([block.modulator for block in self.blocks], 0)

    def in_words(self) -> str:
        """Say in a line what the network makes of the text."""
        words = [f"{len(self.tokens):,} {self.unit}"]
        if self.nats is not None:
            unit = self.unit.removesuffix("s")
            words.append(f"{self.nats:.2f} nats a {unit}, perplexity {math.exp(min(self.nats, 700)):.1f}")
        if self.classes:
            words.append(f"{self.classes[0][0]} {self.classes[0][1]:.1%}")
        if self.blocks:
            widest = self.shares.mean(0)
            words.append(f"most from {self.levels[int(widest.argmax())]} ({widest.max():.0%})")
        if self.left_out:
            words.append(f"the last {self.left_out:,} left out")
        return f"{self.name}: {', '.join(words)}"

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the figures of each token as a table.

        ``share.B.L`` is what token takes of level L in block B, from 0 to 1, ``gate.B.L`` the signed gate itself;
        levels count from 0, the narrowest first. ``modulator.B`` is the length of the modulator.
        """
        heading = ["position", "token", "text"]
        table: list[Sequence[Any]] = [range(len(self.tokens)), self.tokens, self.pieces]
        if self.surprise is not None:
            heading += ["surprise_nats", "likeliest", "likeliest_probability"]
            table.append([None if math.isnan(nats) else nats for nats in self.surprise.tolist()])
            table.append([None if guess is None else guess.piece for guess in self.guesses])
            table.append([None if guess is None else guess.probability for guess in self.guesses])
        for block in self.blocks:
            heading.append(f"modulator.{block.block}")
            table.append(block.modulator.tolist())
            for kind, values in (("share", block.shares), ("gate", block.gates)):
                for level in range(len(self.levels)):
                    heading.append(f"{kind}.{block.block}.{level}")
                    table.append(values[:, level].tolist())
        return heading, [list(row) for row in zip(*table, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the figures of the whole, the names of the levels, and an entry a token."""
        heading, rows = self.table()
        return {
            "input": self.name,
            "model": self.model,
            "unit": self.unit,
            "left_out": self.left_out,
            "nats": self.nats,
            "levels": list(self.levels),
            "blocks": self.depth,
            "classes": [{"name": name, "confidence": confidence} for name, confidence in self.classes],
            "tokens": [dict(zip(heading, row, strict=True)) for row in rows],
        }
