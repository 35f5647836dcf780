"""Looks for bytes in large files without reading them into memory."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

__all__ = ["holds"]


def holds(file: Path, pattern: re.Pattern[bytes]) -> bool:
    """Whether a file holds such bytes; no for one that cannot be read or is empty."""
    try:
        if not file.is_file():  # Opening a pipe would wait for a writer.
            return False
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return pattern.search(content) is not None
    except (OSError, ValueError):
        return False
