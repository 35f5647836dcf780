"""What a user can get wrong: one exception class a kind of mistake, one sentence a message.

A message says what was expected, what was got and what to do next. The command line prints it after
``error:`` and exits with status 2; in Python the classes also derive from the built-in exception that
callers would expect, so ``except ValueError`` keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

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
    "UnknownNameError",
    "nearest",
    "quoted_list",
]


class FocalNetsError(Exception):
    """Base of everything that this package raises about what it was given."""


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


class InterruptedRunError(FocalNetsError, RuntimeError):
    """Work was stopped by the user; the message says how to go on."""


class MissingPackageError(FocalNetsError, ImportError):
    """An optional package is needed for what was asked."""


def quoted_list(names: Sequence[str], most: int = 8) -> str:
    """Names in quotes, abridged after ``most``."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
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
