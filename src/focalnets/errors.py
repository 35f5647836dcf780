"""What a user can get wrong: one exception class a kind of mistake, one sentence a message.

A message says what was expected, what was got and what to do next. The command line prints it after
``error:`` and exits with status 2; in Python the classes also derive from the built-in exception that
callers would expect, so ``except ValueError`` keeps working.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "BackendUnavailableError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "FocalNetsError",
    "ImageError",
    "InterruptedRunError",
    "MissingPackageError",
    "ShapeError",
    "TrainingError",
    "UnfinishedRunError",
    "UnknownNameError",
    "abridged",
    "kind_of_value",
    "nearest",
    "one_line",
    "quoted_list",
]

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Ends of lines, commands to terminals, what turns the order of letters round, and bytes that are no text."""

_LONGEST_NAME = 200
_LONGEST_MESSAGE, _LONGEST_END = 3000, 1000


def one_line(text: str) -> str:
    """Write a text that may hold names from files so that it stays on one line and changes nothing around it.

    Ends of lines, escapes and the like are written as Python writes them in texts.
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class FocalNetsError(Exception):
    """Base of everything that this package raises about what it was given; its message is one line."""

    def __str__(self) -> str:
        """Return the message, whatever names it holds, as one line that can be read."""
        text = super().__str__()
        if len(text) > _LONGEST_MESSAGE:  # A name in it is absurdly long; the advice stands at the end.
            text = f"{text[: _LONGEST_MESSAGE - _LONGEST_END]} ... {text[-_LONGEST_END:]}"
        return one_line(text)


class ShapeError(FocalNetsError, ValueError):
    """A tensor has the wrong shape, dtype or device."""


class ConfigError(FocalNetsError, ValueError):
    """A setting is unknown, out of range or contradicts another one."""


class UnknownNameError(FocalNetsError, LookupError):
    """A model, class, layout or command of that name does not exist."""


class BackendUnavailableError(FocalNetsError, RuntimeError):
    """The backend asked for by name cannot run here or not on these tensors."""


class ImageError(FocalNetsError, ValueError):
    """A file is no image, or one that cannot or should not be decoded."""


class DataError(FocalNetsError, ValueError):
    """A folder of data is missing, empty or not laid out as expected."""


class CheckpointError(FocalNetsError, ValueError):
    """Weights are missing, damaged, hostile, incomplete or made for another model."""


class TrainingError(FocalNetsError, RuntimeError):
    """Training cannot start or cannot go on."""


class UnfinishedRunError(TrainingError):
    """Something outside ended a training early.

    Attributes:
        reason: What it was.
    """

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(f"{reason} {advice}".rstrip())
        self.reason = reason


class InterruptedRunError(FocalNetsError, RuntimeError):
    """Work was stopped by the user; the message says how to go on."""


class MissingPackageError(FocalNetsError, ImportError):
    """An optional package is needed for what was asked."""


class _Abridged(reprlib.Repr):
    """Writes values of any depth, also such as hold themselves, in a few words."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxstring = self.maxother = self.maxlong = 120

    def repr_int(self, value: int, level: int) -> str:
        """Write a whole number; Python refuses to write those of very many digits."""
        try:
            return super().repr_int(value, level)  # type: ignore[misc]
        except ValueError:
            return "a whole number of thousands of digits"


_abridged = _Abridged()


def kind_of_value(value: Any) -> str:
    """Name the kind of a value that was read from a file, e.g. ``a list``."""
    return _KINDS.get(type(value)) or f"of type {type(value).__name__}"


_KINDS = {
    type(None): "empty (null)", bool: "true or false", int: "a number", float: "a number", str: "a text",
    list: "a list", tuple: "a list", dict: "an object of names and values",
}  # fmt: skip


def abridged(value: Any) -> str:
    """Write a value that somebody gave, or that stands in a file, for a message: on one line, and not at length."""
    text = one_line(_abridged.repr(value))
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."


def quoted_list(names: Sequence[str], most: int = 8) -> str:
    """Names in quotes, abridged after ``most``; very long ones are cut."""
    shown = ", ".join(
        f"'{name if len(name) <= _LONGEST_NAME else f'{name[: _LONGEST_NAME - 3]}...'}'" for name in names[:most]
    )
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def nearest(name: str, names: Iterable[str], listing: str | None = None) -> str:
    """Ask for the names that are spelled most like an unknown one, and say which there are.

    Args:
        name: What was given.
        names: What would be right.
        listing: What is said about all names; None lists them.

    Returns:
        The end of a message, e.g. ``did you mean train? Choose one of train, predict.``, or without the question where
        no name is alike.
    """
    known = {each.lower(): each for each in names}
    close = [known[each] for each in difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.6)]
    listing = listing or f"choose one of {', '.join(known.values())}."
    return f"did you mean {' or '.join(close)}? {listing[0].upper()}{listing[1:]}" if close else listing
