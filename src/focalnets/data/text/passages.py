"""A long row of tokens, cut into passages of the length that a network reads at once.

Axes: T tokens.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from focalnets.data.text.tokenizers import Tokenizer

__all__ = ["Passage", "Passages"]


@dataclasses.dataclass(frozen=True, eq=False)
class Passage:
    """A place in a row of tokens.

    Attributes:
        tokens: The whole row (T,).
        first: Where the passage begins.
        spread: Of how many places from ``first`` on it may begin at any one in training.
    """

    tokens: np.ndarray
    first: int
    spread: int

    def cut(self, length: int, shift: int = 0) -> np.ndarray:
        """Return up to ``length`` tokens and the one that follows, as int64; fewer at the end of the row."""
        return self.tokens[self.first + shift : self.first + shift + length + 1].astype(np.int64)


class Passages:
    """Passages of a row of tokens; see :class:`focalnets.data.labelled.LabelledData`.

    Those to measure on lie side by side: every token but the first is predicted once. Those to learn from
    (``count``) begin anywhere, each in its own part of the row.

    Args:
        tokens: (T,), at least 2; at least one more than ``context_length`` to learn from.
        tokenizer: What made them.
        context_length: Tokens that a network reads at once.
        count: How many to learn from; 0 takes as many as lie side by side, None is for measuring.
    """

    def __init__(
        self, tokens: np.ndarray, tokenizer: Tokenizer, context_length: int, *, count: int | None = None
    ) -> None:
        self.tokens, self.tokenizer, self.context_length = tokens, tokenizer, context_length
        self._starts = max(1, len(tokens) - context_length)
        self._learns = count is not None
        self._count = count or max(1, -(-(len(tokens) - 1) // context_length))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Passage, None]:
        if not 0 <= index < self._count:
            raise IndexError(index)
        if not self._learns:
            return Passage(self.tokens, index * self.context_length, 1), None
        first, end = (place * self._starts // self._count for place in (index, index + 1))
        return Passage(self.tokens, first, max(1, end - first)), None

    def at_length(self, context_length: int) -> Passages:
        """Return the same tokens in passages of another length, to measure on."""
        return self if context_length == self.context_length else Passages(self.tokens, self.tokenizer, context_length)

    def text(self, index: int) -> str:
        """Return the text of a passage to measure on."""
        return self.tokenizer.decode(self[index][0].cut(self.context_length))
