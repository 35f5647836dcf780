"""What all demonstrations say alike."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
from collections.abc import Iterator, Mapping

import torch

from focalnets.errors import InterruptedRunError, TrainingError, UnfinishedRunError
from focalnets.training.console import short_duration
from focalnets.version import __version__

__all__ = ["command_line", "duration_in_words", "ends_early", "made_where", "starts_again"]

_AGAIN = "`focalnets demo` starts again from the beginning."


def command_line(*words: str) -> str:
    """Write a command of the program, to copy."""
    return shlex.join(["focalnets", *words])


def duration_in_words(seconds: float, *, short: bool = False) -> str:
    """Write a duration, in seconds up to a hundred, else in minutes."""
    if seconds < 100:
        return f"{round(seconds)} {'s' if short else 'second' if round(seconds) == 1 else 'seconds'}"
    return f"{seconds / 60:.1f} {'min' if short else 'minutes'}"


def made_where(seconds: Mapping[str, float], seed: int) -> str:
    """Say with what a demonstration was made, and how long each of its parts took."""
    times = ", ".join(f"{name} {short_duration(duration)}" for name, duration in seconds.items())
    return (
        f"focalnets {__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads. Seed {seed}. Times: {times}."
    )


@contextlib.contextmanager
def ends_early(then: str) -> Iterator[None]:
    """Say how to go on where a training ends early; ``then`` is a sentence."""
    try:
        yield
    except InterruptedRunError:
        raise InterruptedRunError(f"Stopped; {then}") from None
    except UnfinishedRunError as error:
        raise TrainingError(f"{error.reason} {then}") from error


def starts_again() -> contextlib.AbstractContextManager[None]:
    """Say so where a training ends early whose pictures are this process's own: no such run can be resumed."""
    return ends_early(_AGAIN)
