"""From what a user gives to a training that begins, or goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError
from focalnets.training.config import TrainingConfig
from focalnets.training.launch import is_first_process
from focalnets.training.resolve import default_output, resolve_config
from focalnets.training.result import TrainingResult
from focalnets.training.run_folder import RunFolder
from focalnets.training.trainer import open_data, resume, train

__all__ = ["continue_training", "start_training"]

Data = str | os.PathLike[str] | TrainingData | None


def start_training(
    data: Data,
    *,
    output: str | os.PathLike[str] | None = None,
    recipe: str | None = None,
    config: TrainingConfig | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> TrainingResult:
    """Put the settings together, open the data and train; see :func:`focalnets.train` for the arguments.

    Raises:
        ConfigError: If no data is given, or as :func:`focalnets.training.resolve.resolve_config`.
        FocalNetsError: As :func:`focalnets.training.trainer.train`.
    """
    place = data if isinstance(data, (str, os.PathLike)) else None

    def tell(sentence: str) -> None:
        if not quiet:
            print(sentence, file=sys.stderr, flush=True)

    resolved = resolve_config(recipe, config, settings, data=place, on_recognised=tell)
    if data is None:
        raise ConfigError(
            "expected a folder of images, or a text, to train on, got none; name one, or a run to resume."
        )
    folder = default_output(resolved) if output is None else Path(output)
    if is_first_process(resolved):
        RunFolder(folder).check_free(overwrite)  # Before the images are looked at, which may take a while.
    opened = (
        data
        if isinstance(data, TrainingData)
        else open_data(Path(data) if not isinstance(data, str) else data, resolved)
    )
    for text in (*opened.notes, *(f"left out {file}: {reason}" for file, reason in opened.left_out)):
        tell(text)
    return train(resolved, opened, output=folder, overwrite=overwrite, quiet=quiet)


def continue_training(
    run: str | os.PathLike[str], data: Data = None, *, quiet: bool = False, **given: Any
) -> TrainingResult:
    """Continue a run that was stopped, with its own settings.

    Args:
        run: The run's folder.
        data: Where the data has moved, or the data of a run that was not trained from a folder; None for neither.
        quiet: Show nothing.
        **given: What does not fit a run that goes on, and must be None.

    Raises:
        ConfigError: If something does not fit.
        FocalNetsError: As :func:`focalnets.training.trainer.resume`.
    """
    unfitting = [name for name, value in given.items() if value is not None]
    if unfitting:
        raise ConfigError(
            f"resume continues a run with its own settings, without {', '.join(unfitting)}; leave that out, or start a "
            "new run with pretrained."
        )
    if isinstance(data, TrainingData):
        return resume(Path(run), data=data, quiet=quiet)
    return resume(Path(run), root=None if data is None else os.fspath(data), quiet=quiet)
