"""Writing files whole or not at all: a reader finds the old file or the new one, never half of one.

Names of files may hold bytes that are no UTF-8. Python keeps these as lone surrogates, which no UTF-8 file can hold.
They are written as escapes, which JSON reads back as they were.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from focalnets.errors import ConfigError

__all__ = [
    "csv_text",
    "file_in_the_way",
    "folder_for_now",
    "is_there",
    "json_text",
    "list_of",
    "listed",
    "parse_json",
    "read_json",
    "replacing",
    "try_file",
    "try_folder",
    "user_path",
    "without_surrogates",
    "write_json",
    "write_text",
]

_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_NAME_BYTES = 200
_LONG_NUMBER = re.compile("[0-9]{19}")
_LARGEST_WHOLE = 2**63 - 1


def listed(given: Any) -> list[Any]:
    """List what was given; a single path, name or number counts as one thing, not as its letters."""
    return [given] if isinstance(given, (str, os.PathLike, int)) else list(given)


def user_path(text: str | os.PathLike[str]) -> Path:
    """The path that a user means: ``~`` and ``~/...`` lie in the home folder, unless a file of that very name is there.

    Other names that begin with ``~`` are names, as of temporary files of office programs, not somebody's home.

    Raises:
        ConfigError: If the text is empty: most often a variable of a shell that was never set.
    """
    if text == "":
        raise ConfigError("The name of a file or folder is empty; name one, or . for the folder that you are in.")
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


def try_file(path: str | os.PathLike[str]) -> None:
    """Do what writing a file begins with, and undo it: what would fail after the work fails before it.

    The folder is made if needed, and a temporary file in it; both are removed again. What is there but is no file, such
    as a pipe or ``/dev/null``, is left alone.

    Raises:
        OSError: If the file cannot be written; ``filename`` is what is in the way.
    """
    path = Path(path)
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except ValueError as error:  # a name with a zero byte
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from error
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not path.exists() or path.is_file():
        with folder_for_now(path.parent):
            temporary = _temporary(path)
            temporary.touch()
            temporary.unlink()


def try_folder(path: str | os.PathLike[str], names: Iterable[str] = ()) -> None:
    """Do what writing files into a folder begins with, and undo it, see :func:`try_file`.

    Args:
        path: The folder, which may be missing.
        names: Of files to be written there, relative to it.

    Raises:
        OSError: If the folder cannot be made or nothing be written there, or a folder has the name of a file;
            ``filename`` is what is in the way.
    """
    folder = Path(path)
    try_file(folder / ".writable")
    for name in names:
        file = folder / name
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(file))
        if file.parent != folder:
            try_file(file)


@contextlib.contextmanager
def folder_for_now(folder: Path) -> Iterator[None]:
    """Make a folder with those above it, and remove afterwards those that were missing and are empty."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()


def _temporary(path: Path) -> Path:
    """Name the temporary file beside a file; a name as long as the system allows leaves no room for more."""
    name = os.fsdecode(os.fsencode(path.name)[:_MOST_NAME_BYTES])
    return path.with_name(f".{name}.{os.getpid()}.tmp")


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
        OSError: If the folder cannot be made, or the file not be written, flushed or renamed; ``filename`` is the file
            to write. Also where a package that writes reports the disk's error as one of its own.
    """
    path = Path(path)
    try:
        with _replacing(path, durable) as temporary:
            yield temporary
    except OSError as error:
        try:
            _name_file(error, path)
        except AttributeError:  # Errors of PyAV keep the name that they began with.
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    except (RuntimeError, ValueError) as error:
        # Archives that were left unfinished complain about that alone.
        if type(error) in (RuntimeError, ValueError) and isinstance(error.__context__, OSError):
            _name_file(error.__context__, path)
            raise error.__context__ from None
        raise


@contextlib.contextmanager
def _replacing(path: Path, durable: bool) -> Iterator[Path]:
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
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


def _name_file(error: OSError, path: Path) -> None:
    """Let an error name the file that was to be written, not the temporary one or none."""
    named = error.filename
    if error.errno is not None and (named is None or _temporary(path).name in str(named)):
        error.filename, error.filename2 = os.fspath(path), None


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


def parse_json(text: str | bytes) -> Any:
    """Read JSON of unknown origin: no NaN, no number beyond the range of floats, no whole number beyond 64 bits.

    Raises:
        ValueError: With what is wrong with it, also where it is nested too deeply or not in UTF-8.
    """
    plain = text if isinstance(text, str) else text.decode("utf-8-sig")
    whole: dict[str, Any] = {"parse_int": _whole_number} if _LONG_NUMBER.search(plain) else {}
    try:
        return json.loads(plain, parse_constant=_refuse_constant, parse_float=_finite_number, **whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file, see :func:`parse_json`.

    Raises:
        OSError: If it cannot be read.
        ValueError: As :func:`parse_json`.
    """
    return parse_json(Path(path).read_bytes())


def list_of(kind: type, value: Any) -> list[Any]:
    """Return a value from JSON that must be a list of such values; a text is no list of its letters.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    for entry in value:
        if type(entry) is not kind:
            raise TypeError(f"expected a list of {kind.__name__}, got {type(entry).__name__} in it")
    return value


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _finite_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is beyond the range of numbers")
    return value


def _whole_number(text: str) -> int:
    value = int(text) if len(text) <= 20 else _LARGEST_WHOLE + 1
    if not -_LARGEST_WHOLE <= value <= _LARGEST_WHOLE:
        raise ValueError(f"{text[:20]}{'...' * (len(text) > 20)} is beyond the range of whole numbers")
    return value


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
