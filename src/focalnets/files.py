"""Writing files whole or not at all: a reader finds the old file or the new one, never half of one.

Names of files may hold bytes that are no UTF-8. Python keeps these as lone surrogates, which no UTF-8 file can hold.
They are written as escapes, which JSON reads back as they were.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "csv_text",
    "file_in_the_way",
    "is_there",
    "json_text",
    "replacing",
    "user_path",
    "without_surrogates",
    "write_json",
    "write_text",
]

_SURROGATE = re.compile("[\ud800-\udfff]")


def user_path(text: str | os.PathLike[str]) -> Path:
    """The path that a user means: ``~`` and ``~/...`` lie in the home folder, unless a file of that very name is there.

    Other names that begin with ``~`` are names, as of temporary files of office programs, not somebody's home.
    """
    path = Path(text)
    if path.parts[:1] != ("~",) or os.path.lexists(path):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # Nobody's home is known.
        return path


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file or folder; no for names that the system cannot have, such as ones that are too long."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def file_in_the_way(folder: str | os.PathLike[str]) -> Path | None:
    """What keeps a folder from being made: a file of its name or of one of the folders above it; None if nothing."""
    folder = Path(folder)
    found = next((place for place in (folder, *folder.parents) if is_there(place)), None)
    return None if found is None or found.is_dir() else found


def without_surrogates(text: str) -> str:
    """Text that UTF-8 can hold: bytes of file names that were no UTF-8 become escapes as in JSON."""
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, and rename it to ``path`` if the block ends well.

    Whatever ends the block otherwise, also Ctrl-C and a full disk, removes the temporary file and leaves an older file
    as it was. The folder is made if needed. What is there but is no file, such as a pipe or ``/dev/null``, is written
    to directly.

    Args:
        path: The file to write.
        durable: Return only when the bytes are on the disk, so that not even a power failure leaves an empty file
            where a good one was. For what took long to compute.

    Raises:
        OSError: If the folder cannot be made, or the file not be flushed or renamed.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            _flush(temporary, os.O_RDWR)
        temporary.replace(path)
        if durable and hasattr(os, "O_DIRECTORY"):
            # The new file is in place; some file systems cannot flush folders.
            with contextlib.suppress(OSError):
                _flush(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike[str], text: str, *, durable: bool = False) -> None:
    """Write ``text`` in UTF-8, see :func:`replacing`."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_text(without_surrogates(text), encoding="utf-8")


def write_json(path: str | os.PathLike[str], content: Any, *, durable: bool = False) -> None:
    """Write ``content`` as JSON, see :func:`replacing`."""
    write_text(path, json_text(content), durable=durable)


def json_text(content: Any, *, ascii_only: bool = False) -> str:
    """``content`` as JSON that every reader takes: indented, no NaN, letters of all languages as they are.

    Args:
        content: Plain values.
        ascii_only: Write other letters as escapes, for places that cannot hold them.
    """
    return without_surrogates(json.dumps(content, indent=1, ensure_ascii=ascii_only, allow_nan=False)) + "\n"


def csv_text(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV: fractions with six digits, nothing for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    for row in rows:
        writer.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in row])
    return without_surrogates(text.getvalue())


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
