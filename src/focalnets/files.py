"""Writing files whole or not at all: a reader finds the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["csv_text", "json_text", "replacing", "write_json", "write_text"]


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
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], content: Any, *, durable: bool = False) -> None:
    """Write ``content`` as JSON, see :func:`replacing`."""
    write_text(path, json_text(content), durable=durable)


def json_text(content: Any) -> str:
    """``content`` as JSON that every reader takes: indented, letters of all languages as they are, no NaN."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV: fractions with six digits, nothing for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    for row in rows:
        writer.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in row])
    return text.getvalue()


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
