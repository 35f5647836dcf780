"""Which tiles of the Triton kernels were fastest on a device: tables in the package, and what was found here.

A table is a JSON object from class of shapes to ``[rows, columns, channels, warps]``, or to a number where ways are
chosen between. Those of the package lie in ``winners/`` beside this file and are called after the device. What was
timed here is kept in the user's cache folder (``FOCALNETS_CACHE``, else ``XDG_CACHE_HOME`` or ``~/.cache``), for each
device, version of Triton and version of this package; it is a convenience only: whatever is wrong with such a file, its
entries are timed again. Imports no triton.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

from focalnets.files import write_text
from focalnets.version import __version__

__all__ = ["add", "read", "winners_file"]

_MOST_BYTES = 4_000_000


def winners_file(device: str) -> Path:
    """Name the file in which this user's winners for a device are kept.

    Raises:
        RuntimeError: If the system knows no home folder.
    """
    chosen = os.environ.get("FOCALNETS_CACHE")
    folder = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "focalnets"
    return folder / "tiles" / f"{_slug(device)}-triton-{_slug(_triton_version())}-focalnets-{_slug(__version__)}.json"


def read(device: str) -> dict[str, list[int] | int]:
    """Read the winners for a device, the package's first; where there are none, an empty table."""
    with contextlib.suppress(OSError, RuntimeError):
        return {**_packaged(device), **_checked(winners_file(device))}
    return _packaged(device)


def add(device: str, key: str, value: list[int] | int) -> None:
    """Keep one more winner of a device, unless the file cannot be written."""
    with contextlib.suppress(OSError, RuntimeError):
        file = winners_file(device)
        write_text(file, json.dumps({**_checked(file), key: value}, indent=0, sort_keys=True))


def _packaged(device: str) -> dict[str, list[int] | int]:
    return _checked(Path(str(resources.files(__package__))) / "winners" / f"{_slug(device)}.json")


def _checked(file: Path) -> dict[str, list[int] | int]:
    """Read a table, without entries that no tile of ours could have."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if _is_choice(value) or _is_tile(value)}


def _is_choice(value: Any) -> bool:
    return type(value) is int and 0 <= value < 8


def _is_tile(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(type(number) is int for number in value):
        return False
    rows, columns, channels, warps = value
    powers = all(number > 0 and number & (number - 1) == 0 for number in (columns, channels, warps))
    return powers and 1 <= rows <= 16 and columns <= 32 and warps <= 16 and channels < 32 * warps


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


@functools.cache
def _triton_version() -> str:
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
