"""What commands show and where their results go, alike for all of them.

Results go to standard output, as text for people or, where ``--json`` or ``--csv`` name no file, as nothing but JSON or
CSV. Progress and notes go to standard error, and ``--quiet`` leaves them out.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from focalnets.errors import ConfigError
from focalnets.files import file_in_the_way, json_text, user_path, write_text

__all__ = [
    "STANDARD_OUTPUT",
    "check_destinations",
    "deliver",
    "is_quiet",
    "note",
    "output_as_asked",
    "progress",
    "progress_line",
    "require_folder",
    "result_line",
    "write_output",
    "write_result",
]

STANDARD_OUTPUT = "-"

_PICTURES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".mp4", ".avi", ".mov", ".mkv", ".webm"}


@dataclasses.dataclass(frozen=True)
class _Asked:
    """How the command that runs was asked to show things.

    Attributes:
        quiet: Show no progress and no notes.
        results: The standard output that is kept for JSON or CSV; None if it is there for everything.
    """

    quiet: bool = False
    results: TextIO | None = None


_NOTHING = _Asked()
_asked: contextvars.ContextVar[_Asked] = contextvars.ContextVar("asked", default=_NOTHING)


@contextlib.contextmanager
def output_as_asked(arguments: Any) -> Iterator[None]:
    """Follow ``--quiet``, and keep standard output free where ``--json`` or ``--csv`` go there.

    Whatever is printed meanwhile, also by other packages, goes to standard error then, or nowhere with ``--quiet``.
    """
    quiet = bool(getattr(arguments, "quiet", False))
    if STANDARD_OUTPUT not in (getattr(arguments, "json", None), getattr(arguments, "csv", None)):
        token = _asked.set(_Asked(quiet))
        try:
            yield
        finally:
            _asked.reset(token)
        return
    token = _asked.set(_Asked(quiet, sys.stdout))
    try:
        with contextlib.redirect_stdout(io.StringIO() if quiet else sys.stderr):
            yield
    finally:
        _asked.reset(token)


def is_quiet() -> bool:
    """Whether progress and notes are left out."""
    return _asked.get().quiet


def note(text: str) -> None:
    """Print a note for people on standard error, unless the command is quiet."""
    if not is_quiet():
        print(text, file=sys.stderr, flush=True)


def progress_line(text: str) -> None:
    """Print what is being done, unless the command is quiet."""
    if not is_quiet():
        print(text, flush=True)


def result_line(text: str) -> None:
    """Print a part of the result as soon as it is there, unless standard output is kept for JSON or CSV."""
    if _asked.get().results is None:
        print(text, flush=True)


def deliver(
    arguments: Any,
    show: Callable[[], None],
    *,
    json: Callable[[], Any] | None = None,
    csv: Callable[[], str] | None = None,
) -> None:
    """Show a command's result, then write it as JSON and CSV where that was asked for.

    Args:
        arguments: Of the command.
        show: Prints the result for people; not called where standard output is kept for JSON or CSV.
        json: Makes the content of ``--json``.
        csv: Makes the text of ``--csv``.

    Raises:
        ConfigError: If a file cannot be written.
    """
    if _asked.get().results is None:
        show()
        sys.stdout.flush()
    if json is not None and arguments.json is not None:
        write_result(json(), arguments.json)
    if csv is not None and arguments.csv is not None:
        write_output(csv(), arguments.csv)


def write_result(content: Any, destination: str) -> None:
    """Write a command's result as JSON, see :func:`write_output`."""
    text = json_text(content)
    if destination == STANDARD_OUTPUT:
        try:
            text.encode(getattr(_results_stream(), "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            text = json_text(content, ascii_only=True)
    write_output(text, destination)


def write_output(text: str, destination: str) -> None:
    """Write to a file, whole or not at all, or to standard output for ``-``.

    Raises:
        ConfigError: If the file cannot be written.
    """
    if destination == STANDARD_OUTPUT:
        stream = _results_stream()
        stream.write(text)
        stream.flush()
        return
    try:
        write_text(user_path(destination), text)
    except OSError as error:
        raise ConfigError(
            f"'{destination}' could not be written ({error.strerror}); name a file in a folder that you may write to."
        ) from error


def _results_stream() -> TextIO:
    return _asked.get().results or sys.stdout


def check_destinations(arguments: Any) -> None:
    """Refuse files for results that cannot be written, before the work begins.

    Raises:
        ConfigError: If both JSON and CSV would go to standard output, or a file cannot be written.
    """
    destinations = {name: getattr(arguments, name, None) for name in ("json", "csv")}
    if destinations["json"] == destinations["csv"] == STANDARD_OUTPUT:
        raise ConfigError("--json and --csv cannot both go to standard output; name a file for one of them.")
    for name, destination in destinations.items():
        if destination not in (None, STANDARD_OUTPUT):
            _check_file(name, user_path(destination))


def _check_file(name: str, path: Path) -> None:
    if path.suffix.lower() in _PICTURES:
        raise ConfigError(
            f"--{name} writes {name.upper()}, but '{path}' is the name of a picture; name a file that ends in .{name}, "
            f"or give --{name} last."
        )
    try:
        is_folder = path.is_dir()
        path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"--{name} cannot write '{path}' ({reason}); name another file.") from error
    if is_folder:
        raise ConfigError(f"--{name} cannot write '{path}', which is a folder; name a file.")
    folder = next((parent for parent in path.parents if parent.exists()), None)
    if folder is not None and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ConfigError(
            f"--{name} cannot write '{path}', because '{folder}' is no folder that you may write to; name another file."
        )


def require_folder(path: str | os.PathLike[str]) -> Path:
    """Return the path of an output folder, which may be missing.

    Raises:
        ConfigError: If it, or a folder above it, is a file.
    """
    folder = user_path(path)
    file = file_in_the_way(folder)
    if file is not None:
        place = f"'{path}' is" if file == folder else f"'{path}' would lie below '{file}', which is"
        raise ConfigError(f"The output {place} a file; name a folder.")
    return folder


@contextlib.contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a bar with the time left on standard error, if that is a terminal and the command is not quiet.

    Yields:
        What takes the number of items done and, where it changes, what is being done.
    """
    if is_quiet() or not sys.stderr.isatty() or total < 2:
        yield lambda done, description=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done, description=None: bar.update(task, completed=done, description=description)
