"""What commands show and where their results go, alike for all of them.

Results go to standard output, as text for people or, where ``--json`` or ``--csv`` name no file, as nothing but JSON or
CSV. Progress and notes go to standard error, and ``--quiet`` leaves them out.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, TypeVar

from focalnets.errors import ConfigError
from focalnets.files import json_text, user_path, write_text

__all__ = [
    "STANDARD_OUTPUT",
    "deliver",
    "is_quiet",
    "keep",
    "note",
    "output_as_asked",
    "prints_progress",
    "prints_results",
    "progress",
    "progress_line",
    "result_line",
    "write_all",
    "write_output",
    "write_result",
]

STANDARD_OUTPUT = "-"
_SHOWN = "standard output"

T = TypeVar("T")


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


def prints_results() -> bool:
    """Whether standard output is kept for JSON or CSV."""
    return _asked.get().results is not None


@contextlib.contextmanager
def prints_progress() -> Iterator[None]:
    """Surround work that prints its progress by itself: nothing comes to standard output if the command is quiet."""
    with contextlib.redirect_stdout(io.StringIO()) if is_quiet() else contextlib.nullcontext():
        yield


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
    files: Callable[[], Sequence[str]] | None = None,
    output: str | None = None,
) -> None:
    """Show a command's result, then write it; where a file cannot be written, the others are all the same.

    Args:
        arguments: Of the command.
        show: Prints the result for people; not called where standard output is kept for JSON or CSV.
        json: Makes the content of ``--json``.
        csv: Makes the text of ``--csv``.
        files: Writes what goes to ``output``; returns the names of the files, which are shown.
        output: Where they go; None writes none.

    Raises:
        ConfigError: If a file cannot be written, after everything else.
    """
    with write_all() as write:
        if _asked.get().results is None:
            write(lambda: _shown(show), _SHOWN)
        if json is not None and arguments.json is not None:
            write(lambda: write_result(json(), arguments.json), _in_words(arguments.json))
        if csv is not None and arguments.csv is not None:
            write(lambda: write_output(csv(), arguments.csv), _in_words(arguments.csv))
        if files is not None and output is not None:
            written = write(files, output)
            if written:
                result_line(f"written: {', '.join(written)} in {output}")


@contextlib.contextmanager
def write_all() -> Iterator[Callable[[Callable[[], T], str], T | None]]:
    """Let the block write all that it has, and complain afterwards about what could not be written.

    Yields:
        What takes something that writes, and the place in words; it gives back what that returns, or None if it failed.

    Raises:
        ConfigError: If something could not be written.
        BrokenPipeError: If the reader of standard output went away, and nothing else failed.
    """
    failed: dict[str, str] = {}
    gone: list[BrokenPipeError] = []

    def write(begin: Callable[[], T], place: str) -> T | None:
        try:
            return begin()
        except BrokenPipeError as error:
            gone.append(error)
        except OSError as error:
            if error.errno is None:
                raise
            failed[str(error.filename or place)] = str(error.strerror)
        return None

    yield write
    if failed:
        places = " and ".join(f"'{place}' ({reason})" for place, reason in failed.items())
        shown = "" if _SHOWN in failed else " The results are shown above."
        raise ConfigError(f"{places} could not be written; free some space, or name another place.{shown}")
    if gone:
        raise gone[0]


def keep(write: Callable[[], None], place: str) -> None:
    """Write what is there so far while work goes on; a note says where that fails, since it is not the last try."""
    try:
        write()
    except OSError as error:
        note(f"'{error.filename or place}' could not be written yet ({error.strerror}); the work goes on")


def _in_words(destination: str) -> str:
    return _SHOWN if destination == STANDARD_OUTPUT else destination


def _shown(show: Callable[[], None]) -> None:
    show()
    sys.stdout.flush()


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
        OSError: If the file cannot be written.
    """
    if destination == STANDARD_OUTPUT:
        stream = _results_stream()
        stream.write(text)
        stream.flush()
    else:
        write_text(user_path(destination), text)


def _results_stream() -> TextIO:
    return _asked.get().results or sys.stdout


@contextlib.contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Show a bar with the time left on standard error, if that is a terminal and the command is not quiet.

    Yields:
        What takes the number of items done and, where they change, what is being done and the number of all.
    """
    if is_quiet() or not sys.stderr.isatty() or (total is not None and total < 2):
        yield lambda done, description=None, total=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done, description=None, total=None: bar.update(
            task, completed=done, description=description, total=total
        )
