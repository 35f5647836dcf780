"""The text inside the package: Coriolanus and Richard III by William Shakespeare, see ``NOTICE`` of the package.

It lies in ``plays.txt.xz`` beside this file. Imports no torch.
"""

from __future__ import annotations

import lzma
from importlib import resources

__all__ = ["PLAYS", "passage_of", "read_plays"]

PLAYS = "Coriolanus and Richard III"
"""What the text is, for people."""


def read_plays() -> str:
    """Read the two plays, 317,026 characters."""
    packed = (resources.files("focalnets") / "demo" / "language" / "plays.txt.xz").read_bytes()
    return lzma.decompress(packed).decode("ascii")


def passage_of(text: str, characters: int) -> str:
    """Take whole speeches from the beginning of a text, as many as begin within so many characters of the first."""
    first = text.index("\n\n") + 2
    end = text.rfind("\n\n", first, first + characters)
    return text[first : end if end > first else first + characters].strip("\n") + "\n"
