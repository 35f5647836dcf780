"""What commands share: where their results go, and progress on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from focalnets.errors import ConfigError
from focalnets.files import json_text, write_text

__all__ = ["STANDARD_OUTPUT", "add_json_argument", "progress", "write_output", "write_result"]

STANDARD_OUTPUT = "-"


def add_json_argument(parser: Any, content: str) -> None:
    """Add ``--json [FILE]``; alone or with ``-`` it prints to standard output."""
    parser.add_argument(
        "--json",
        type=str,
        nargs="?",
        const=STANDARD_OUTPUT,
        metavar="FILE",
        help=f"write {content} as JSON to FILE, or to standard output if no FILE or - is given",
    )


def write_result(content: Any, destination: str) -> None:
    """Write a command's result as JSON, see :func:`write_output`."""
    write_output(json_text(content), destination)


def write_output(text: str, destination: str) -> None:
    """Write to a file, whole or not at all, or to standard output for ``-``.

    Raises:
        ConfigError: If the file cannot be written.
    """
    if destination == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    try:
        write_text(destination, text)
    except OSError as error:
        raise ConfigError(
            f"'{destination}' could not be written ({error.strerror}); name a file in a folder that you may write to."
        ) from error


@contextlib.contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar with the time left on standard error if that is a terminal.

    Yields:
        What takes the number of items done and, where it changes, what is being done.
    """
    if not sys.stderr.isatty() or total < 2:
        yield lambda done, description=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done, description=None: bar.update(task, completed=done, description=description)
