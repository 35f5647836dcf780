"""The tasks by name; what belongs to one is imported when it is first needed. Imports no torch."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from focalnets.errors import UnknownNameError, nearest

if TYPE_CHECKING:
    from focalnets.tasks.task import Task

__all__ = ["TASKS", "TaskRow", "build_task", "settings_of", "task_class"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskRow:
    """Where a task is written.

    Attributes:
        summary: What it does, for people.
        settings: Module and class of its settings, which import no torch, e.g. ``package.module:Class``.
        task: Module and class of the task.
        recipe: Recipe of a training that names none; empty takes ``small``, or ``finetune`` with pretrained weights.
        of_images: Whether its networks see images, and so can be compared with those of other makes.
        of_sequences: Whether its networks classify whole sequences, such as texts.
    """

    summary: str
    settings: str
    task: str
    recipe: str = ""
    of_images: bool = True
    of_sequences: bool = False


TASKS: dict[str, TaskRow] = {
    "classify": TaskRow(
        summary="name the class of an image",
        settings="focalnets.tasks.classify.settings:ClassifySettings",
        task="focalnets.tasks.classify.task:Classify",
    ),
    "detect": TaskRow(
        summary="find objects: a box, a class and a score for each",
        settings="focalnets.tasks.detect.settings:DetectSettings",
        task="focalnets.tasks.detect.task:Detect",
        recipe="detect",
    ),
    "instance": TaskRow(
        summary="find objects and the pixels of each",
        settings="focalnets.tasks.instance.settings:InstanceSettings",
        task="focalnets.tasks.instance.task:Instance",
        recipe="instance",
    ),
    "semantic": TaskRow(
        summary="name the class of each pixel of an image",
        settings="focalnets.tasks.semantic.settings:SemanticSettings",
        task="focalnets.tasks.semantic.task:Semantic",
        recipe="segment",
    ),
    "panoptic": TaskRow(
        summary="find every object and every kind of ground, each pixel in one of them",
        settings="focalnets.tasks.panoptic.settings:PanopticSettings",
        task="focalnets.tasks.panoptic.task:PanopticTask",
        recipe="panoptic",
    ),
    "language": TaskRow(
        summary="continue texts: a probability for every token that may come next",
        settings="focalnets.tasks.language.settings:LanguageSettings",
        task="focalnets.tasks.language.task:Language",
        recipe="language",
        of_images=False,
    ),
    "text": TaskRow(
        summary="name the class of a text",
        settings="focalnets.tasks.text.settings:TextSettings",
        task="focalnets.tasks.text.task:Text",
        recipe="text",
        of_images=False,
        of_sequences=True,
    ),
    "series": TaskRow(
        summary="name the class of a series of numbers",
        settings="focalnets.tasks.series.settings:SeriesSettings",
        task="focalnets.tasks.series.task:SeriesTask",
        recipe="series",
        of_images=False,
        of_sequences=True,
    ),
}


def settings_of(name: str) -> type:
    """Find the class of a task's settings.

    Raises:
        UnknownNameError: If there is no task of that name.
    """
    return _load(_row(name).settings)


def build_task(name: str, **options: Any) -> Task:
    """Make the task of that name.

    Args:
        name: A key of :data:`TASKS`.
        **options: Fields of the task, e.g. ``settings`` or ``top_k``.

    Raises:
        UnknownNameError: If there is no task of that name.
    """
    return task_class(name)(**options)


def task_class(name: str) -> type[Task]:
    """Find the class of a task.

    Raises:
        UnknownNameError: If there is no task of that name.
    """
    return _load(_row(name).task)


def _row(name: str) -> TaskRow:
    if name not in TASKS:
        raise UnknownNameError(f"There is no task {name!r}; {nearest(name, TASKS)}")
    return TASKS[name]


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
