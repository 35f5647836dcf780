"""What an audit says in one sentence each, the most harmful first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

__all__ = ["SECTIONS", "Section", "Verdict", "in_order"]

Section = Literal["data", "groups", "backgrounds", "parts", "amplification", "slices", "against"]
SECTIONS: dict[Section, str] = {
    "groups": "Groups",
    "backgrounds": "Does the background decide?",
    "slices": "Groups that nobody named",
    "against": "Against the earlier network",
    "data": "What tells the class besides the thing itself",
    "parts": "What the network needs of a picture",
    "amplification": "Does the network amplify what the data holds?",
}
"""Sections of an audit, with their headings."""

Kind = Literal["found", "note", "nothing", "too few"]
_ORDER = ("found", "note", "too few", "nothing")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """One sentence of an audit.

    Attributes:
        section: Where its figures are.
        kind: ``found`` is proven and large enough to matter; ``note`` is worth knowing and proves nothing; ``nothing``
            was looked for and not found; ``too few`` images to tell.
        harm: Share of the images that it concerns, from 0 to 1.
        sentence: What it says.
    """

    section: Section
    kind: Kind
    harm: float
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def in_order(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Put what was found first, and of it what concerns the most images."""
    return tuple(sorted(verdicts, key=lambda verdict: (_ORDER.index(verdict.kind), -verdict.harm)))
