"""Texts of pages: plain words, some of them marked, and counts in words. Imports nothing."""

from __future__ import annotations

import dataclasses
from typing import Literal

__all__ = ["Mark", "MarkKind", "Words", "count_in_words", "marks_of", "plain_text"]

MarkKind = Literal["", "strong", "soft", "good", "bad", "code", "below"]
"""How marked words look: bold, of less weight, in the colour of right or of wrong, as code, small on a line of their
own; without a name they look as ever. Whatever is marked is set apart from its surroundings, so that a name that is
written from right to left does not turn them round."""


@dataclasses.dataclass(frozen=True)
class Mark:
    """Words that are told apart from those around them.

    Attributes:
        text: The words.
        kind: How they look.
    """

    text: str
    kind: MarkKind = ""


Words = str | Mark | tuple[str | Mark, ...]
"""A text of a page: words, marked words, or both in a row. Everything in it is text, never markup."""


def marks_of(words: Words) -> tuple[str | Mark, ...]:
    """Take a text apart into its pieces."""
    return words if isinstance(words, tuple) else (words,)


def plain_text(words: Words) -> str:
    """Write a text without its marks."""
    return "".join(piece.text if isinstance(piece, Mark) else piece for piece in marks_of(words))


_COUNTS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


def count_in_words(count: int) -> str:
    """Write a count as a word where it is small, else in figures."""
    return _COUNTS[count] if count < len(_COUNTS) else f"{count:,}"
