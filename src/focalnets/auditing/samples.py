"""How audited images are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["name_of"]


def name_of(file: Any) -> str:
    """Name an image by its file and the folder that it is in."""
    return "/".join(file.parts[-2:]) if isinstance(file, Path) else str(file)
