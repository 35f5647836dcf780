"""What a classifier answers to labelled images, with what the pictures themselves are like: read once for everything.

Axes: N images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from focalnets.data.checks.properties import Properties, read_and_measure
from focalnets.data.labelled import LabelledData
from focalnets.data.samples import ImageFile
from focalnets.engine.forms import InferenceForm
from focalnets.errors import ConfigError
from focalnets.tasks.batch import Batch
from focalnets.tasks.classify.task import Classify
from focalnets.tasks.evaluation import Failure, Measured
from focalnets.tasks.picture_transform import Alter
from focalnets.tasks.running import evaluate
from focalnets.tasks.task import Task

__all__ = ["Answers", "Chosen", "LookedAt", "Relabelled", "ask", "require_classifier"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """What a classifier answers to images, those that cannot be read left out.

    Attributes:
        classes: Names of its classes.
        indices: Number of each image in its data, (N,).
        labels, predicted: Class of each image, and the one it is taken for, (N,).
        confidences: Probability of the class it is taken for, (N,).
        left_out: Images that could not be read.
        embeddings: What the network's classifier sees of each image, (N, C) float32; None where that was not asked for
            or the network has no such place.
    """

    classes: tuple[str, ...]
    indices: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidences: np.ndarray
    left_out: tuple[Failure, ...] = ()
    embeddings: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def right(self) -> np.ndarray:
        """Whether each image is taken for what it is, (N,) bool."""
        return self.labels == self.predicted


class LookedAt:
    """Labelled images that remember what each picture was like when it was read.

    Args:
        data: The images, with ``samples``.

    Attributes:
        properties: Of each image that has been read, by its number.
    """

    def __init__(self, data: LabelledData) -> None:
        if getattr(data, "samples", None) is None:
            raise ConfigError("an audit needs images in files: a folder of classes, a CSV file or shards.")
        self.data = data
        self.properties: dict[int, Properties] = {}

    @property
    def samples(self) -> Sequence[tuple[ImageFile, int]]:
        """Each image's file and class."""
        return self.data.samples  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Read the picture of a number, with its class; ImageError if that fails."""
        picture, label, self.properties[index] = read_and_measure(self.data, index)
        return picture, label


class Chosen:
    """Some of the images of other data.

    Args:
        data: The other data, with ``samples``.
        numbers: Which of its images, in this order.
    """

    def __init__(self, data: Any, numbers: Sequence[int]) -> None:
        self.data, self.numbers = data, list(numbers)
        self.samples = [data.samples[number] for number in self.numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Read the picture of a number, with its class."""
        return self.data[self.numbers[index]]


class Relabelled:
    """The images of other data with classes that are counted otherwise.

    Args:
        data: The other data, with ``samples``.
        labels: Class of each image.
    """

    def __init__(self, data: Any, labels: Sequence[int]) -> None:
        self.data, self.labels = data, list(labels)
        self.samples = [(file, label) for (file, _), label in zip(data.samples, self.labels, strict=True)]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Read the picture of a number, with its class."""
        return self.data[index][0], self.labels[index]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Answering(Classify):
    """Classification whose evaluation is all answers as they are.

    Attributes:
        seen: Takes what the classifier sees of each batch; None does not listen.
    """

    seen: Any = None

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Compute logits, and keep what the classifier sees where that was asked for."""
        head = getattr(model, "head", None)
        if self.seen is None or not isinstance(head, nn.Module):
            return super().forward(model, batch)

        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.seen.append(inputs[0].float().cpu())

        listening = head.register_forward_pre_hook(keep)
        try:
            return super().forward(model, batch)
        finally:
            listening.remove()

    def evaluation(self, measured: Measured) -> Measured:  # type: ignore[override]
        """Hand on what was gathered."""
        return measured


def require_classifier(task: Task) -> Classify:
    """Return the task if its answers are classes of images.

    Raises:
        ConfigError: If it is another one.
    """
    if not isinstance(task, Classify):
        raise ConfigError(f"audit is for networks that name the class of an image; this one is for {task.name}.")
    return task


def ask(
    task: Classify,
    model: nn.Module,
    data: LabelledData,
    *,
    size_px: int | None = None,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    alter: Alter | None = None,
    form: InferenceForm | None = None,
    on_progress: Callable[[int], None] | None = None,
    embed: bool = False,
) -> Answers:
    """Ask a classifier about images; the arguments are those of :func:`focalnets.tasks.running.evaluate`.

    With ``embed`` what the classifier sees of each image is kept too.
    """
    seen: list[Tensor] | None = [] if embed else None
    answering = _Answering(settings=task.settings, threshold=task.threshold, seen=seen)
    measured: Measured = evaluate(
        answering,
        model,
        data,
        size_px=size_px,
        batch_size=batch_size,
        skip_unreadable=skip_unreadable,
        alter=alter,
        form=form,
        on_progress=on_progress,
    )
    columns = list(zip(*measured.answers, strict=True))
    return Answers(
        classes=tuple(measured.labels),
        indices=np.array(measured.indices),
        labels=np.array(columns[0]),
        predicted=np.array(columns[1]),
        confidences=np.array(columns[2]),
        left_out=measured.left_out,
        embeddings=torch.cat(seen).numpy() if seen and all(each.ndim == 2 for each in seen) else None,
    )
