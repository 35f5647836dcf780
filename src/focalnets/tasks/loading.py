"""A trained network of any task, from the file that says which."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from torch import nn

from focalnets.data.labelled import LabelledData
from focalnets.errors import CheckpointError, ConfigError, DataError
from focalnets.files import is_there, read_json, user_path
from focalnets.tasks.split_files import split_file_of
from focalnets.tasks.table import TASKS, build_task, task_class
from focalnets.tasks.task import Task
from focalnets.weights.assembly import assemble_into
from focalnets.weights.loading import build_classifier, open_trained

__all__ = ["OpenedData", "load_trained", "open_for_evaluation", "split_of_run"]


@dataclasses.dataclass(frozen=True, eq=False)
class OpenedData:
    """Labelled data that a network can be measured on.

    Attributes:
        place: Where it comes from, in words.
        data: The data.
        split: File of the run whose held-out part it is; None if it is all of it.
    """

    place: str
    data: LabelledData
    split: Path | None = None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the data is not used, a line each."""
        return tuple(getattr(self.data, "notes", ()))


def load_trained(source: str | os.PathLike[str], **options: Any) -> tuple[Task, nn.Module]:
    """Load a network with the task that it was trained for.

    Args:
        source: As for :func:`focalnets.load_model`: a run's folder, a file, or the name of published weights.
        **options: Fields of the task, e.g. ``top_k``; what its task does not know is left out.

    Returns:
        The task, and the network on the CPU in float32, in evaluation mode.

    Raises:
        CheckpointError: If the source is missing, damaged, hostile or of a task that this version does not know.
    """
    opened = open_trained(source)
    found = opened.recognition
    if found.task not in TASKS:
        raise CheckpointError(
            f"{opened.place} holds a network for the task {found.task!r}, which this version does not know; its tasks "
            f"are {', '.join(TASKS)}."
        )
    known = set(getattr(task_class(found.task), "__dataclass_fields__", ()))
    if is_there(user_path(source)):
        options = {"run": user_path(source), **options}
    task = build_task(found.task, **{name: value for name, value in options.items() if name in known})
    if found.task == "classify":
        return task, build_classifier(opened)
    for what, given, expected in (("network", found.config, task.config_type), ("input", found.input, task.input_type)):
        if not isinstance(given, expected):
            raise CheckpointError(
                f"{opened.place} says that its task is {found.task}, whose {what} is described by a "
                f"{expected.__name__}, but holds a {type(given).__name__}; it is damaged."
            )
    try:
        module: Any = task.rebuild(found.config, found.input, found.labels or (), found.head)
    except ConfigError as error:
        raise CheckpointError(f"{opened.place} describes a head that this version cannot build: {error}") from error
    assemble_into(module, opened.tensors, opened.place)
    module.origin = opened.origin
    return task.suited_to(module), module


def open_for_evaluation(
    task: Task,
    network: nn.Module,
    place: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] = "",
    split: str | os.PathLike[str] | None = None,
) -> OpenedData:
    """Find what a network is measured on.

    Args:
        task: What it is for.
        network: The network.
        place: Folder, file or address of the data.
        source: What the network was loaded from; empty if from nothing.
        split: File ``split.json`` of a run whose held-out part is meant; None takes :func:`split_of_run`.

    Raises:
        DataError: If the data is missing, not laid out as expected or does not fit the network.
    """
    used = split_of_run(source, place) if split is None else user_path(split)
    return OpenedData(os.fspath(place), task.open_evaluation_of(network, os.fspath(place), split=used), used)


def split_of_run(source: str | os.PathLike[str], data: str | os.PathLike[str]) -> Path | None:
    """Find the split of the run that trained a network, if it split this very data.

    Args:
        source: What the network was loaded from.
        data: Folder, file or address of the data.

    Returns:
        The file ``split.json`` of the run, or None.

    Raises:
        DataError: If the run's file cannot be read.
    """
    if not os.fspath(source):
        return None  # built in this process
    given, place = user_path(source), os.fspath(data)
    if not is_there(given):
        return None  # a name of published weights
    split_file = split_file_of(given)
    try:
        root = read_json(split_file)["root"]
        same = root == place or Path(root).resolve() == user_path(place).resolve()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:  # also loops of links
        if not is_there(split_file.with_name("config.yaml")):
            return None  # not of a run
        raise DataError(
            f"'{split_file}' cannot be read ({type(error).__name__}), so that nobody knows which images the run held "
            "out; restore it, or remove it to measure on all."
        ) from error
    return split_file if same else None
