"""A trained network of any task, from the file that says which."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from focalnets.errors import CheckpointError
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.table import TASKS, build_task, task_class
from focalnets.tasks.task import Task
from focalnets.weights.assembly import assemble_into
from focalnets.weights.loading import build_classifier, open_trained

__all__ = ["load_trained"]


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
    task = build_task(found.task, **{name: value for name, value in options.items() if name in known})
    if found.task == "classify":
        return task, build_classifier(opened)
    assert isinstance(found.input, Preprocessing)
    backbone = FocalNet(found.config, preprocessing=found.input)
    module: Any = task.build(backbone, found.labels or (), pretrained=False)
    assemble_into(module, opened.tensors, opened.place)
    module.origin = opened.origin
    return task, module
