"""Looks into files of any size and kind without reading them into memory, and without waiting."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

__all__ = ["first_bytes", "holds"]


def holds(file: Path, pattern: re.Pattern[bytes]) -> bool:
    """Whether a file holds such bytes; no for one that cannot be read or is empty."""
    try:
        if not file.is_file():  # Opening a pipe would wait for a writer.
            return False
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return pattern.search(content) is not None
    except (OSError, ValueError):
        return False


def first_bytes(file: Path, count: int) -> bytes:
    """Read the beginning of a file; nothing of what is no regular file or cannot be read."""
    try:
        if not file.is_file():  # Opening a pipe would wait for a writer, and devices have no end.
            return b""
        with file.open("rb") as opened:
            return opened.read(count)
    except (OSError, ValueError):
        return b""
