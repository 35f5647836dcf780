"""What is wrong in annotations: the first mistake stops, or all of them are collected."""

from __future__ import annotations

import dataclasses

from focalnets.errors import DataError
from focalnets.errors import abridged as abridge

__all__ = ["Problem", "Problems", "abridge"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        kind: A short stable name.
        name: Image, file or class that it concerns.
        sentence: What was expected, what was got and what to do.
    """

    kind: str
    name: str
    sentence: str


class Problems:
    """Takes mistakes in annotations that concern a part of them only.

    Args:
        collect: Keep them in ``found`` and go on without what is wrong; otherwise the first one is raised.
    """

    def __init__(self, *, collect: bool = False) -> None:
        self.collect = collect
        self.found: list[Problem] = []

    def add(self, kind: str, name: object, sentence: str) -> None:
        """Report a mistake.

        Raises:
            DataError: With this sentence, unless mistakes are collected.
        """
        if not self.collect:
            raise DataError(sentence)
        self.found.append(Problem(kind, str(name), sentence))

    def note(self, kind: str, name: object, sentence: str) -> None:
        """Report what is odd but no mistake: kept where these are collected, never raised."""
        if self.collect:
            self.found.append(Problem(kind, str(name), sentence))
