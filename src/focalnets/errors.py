"""What a user can get wrong: one exception class a kind of mistake, one sentence a message.

A message says what was expected, what was got and what to do next. The command line prints it after
``error:`` and exits with status 2; in Python the classes also derive from the built-in exception that
callers would expect, so ``except ValueError`` keeps working.
"""

from __future__ import annotations

from collections.abc import Sequence

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
