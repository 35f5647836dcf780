"""What the reports of all demonstrations say alike."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping

import torch

from focalnets.training.console import short_duration
from focalnets.version import __version__

__all__ = ["command_line", "duration_in_words", "made_where"]


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
