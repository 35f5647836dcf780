"""The file in which a run says how its data was divided: where it lies, and what tasks of sequences read from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from focalnets.errors import DataError
from focalnets.files import read_json

__all__ = ["read_split_file", "split_file_of"]


def split_file_of(source: Path) -> Path:
    """Say where a run notes how its data was divided, whether it does or not.

    Args:
        source: The folder of the run, or weights in it.
    """
    return (source if source.is_dir() else source.parent) / "split.json"


def read_split_file(
    split: Path,
    file_format: str,
    fields: Mapping[str, type],
    what: str,
    check: Callable[[dict[str, Any]], object] = bool,
) -> dict[str, Any]:
    """Read what a task wrote about its data.

    Args:
        split: The file.
        file_format: What it calls itself, in its field ``format``.
        fields: Types of the fields that must be there; ``val_fraction`` is one of them.
        what: What it divides, for messages.
        check: Raises where fields have the right types and yet are wrong.

    Raises:
        DataError: If the file is missing or of another kind.
    """
    try:
        content: dict[str, Any] = read_json(split)
        if content["format"] != file_format:
            raise ValueError(content["format"])
        if not all(isinstance(content[name], kind) for name, kind in fields.items()):
            raise TypeError("a field")
        if not 0 < content["val_fraction"] < 1:
            raise ValueError("val_fraction")
        check(content)
        return content
    except FileNotFoundError:
        raise DataError(f"there is no split file '{split}'.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{split}' is no split of {what} ({type(error).__name__}); restore it.") from error
