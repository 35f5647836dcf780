"""What measuring a network gathers and returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focalnets.data.labelled import LabelledData
from focalnets.models.config import InputSpec, read_input_spec
from focalnets.tasks.metric import PlainFigures
from focalnets.tasks.studies import CorruptionStudy, ResolutionStudy

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = [
    "Evaluation",
    "EvaluationReport",
    "Failure",
    "Measured",
    "loss_in_words",
    "size_in_words",
    "spec_of",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """An input that could not be read, and why in one sentence."""

    path: Path
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"path": str(self.path), "reason": self.reason}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """What one pass of :func:`focalnets.tasks.running.evaluate` gathered; the task makes its evaluation of it.

    Attributes:
        data: What was measured on.
        labels: What answers are called.
        spec: How inputs were prepared.
        metrics: The task's metrics, updated with everything that counts; the same object type as in training.
        loss: Mean of the summed losses; None where it was not measured.
        answers: What :meth:`Task.answers` kept, one for each input, in their order.
        indices: The number of each answer's input in ``data``.
        left_out: Inputs that could not be read and are not counted.
        model: Where the weights came from, in words.
        seconds: Duration, with reading.
        look: How images were looked at that were measured at the size that they have, see
            :meth:`focalnets.large.looking.LargeOptions.to_dict`; None where they were resized.
    """

    data: LabelledData
    labels: tuple[str, ...]
    spec: InputSpec
    metrics: MetricCollection
    loss: float | None
    answers: Sequence[Any]
    indices: Sequence[int]
    left_out: tuple[Failure, ...]
    model: str
    seconds: float
    look: Mapping[str, Any] | None = None

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How inputs were prepared, as plain values; under ``look`` how, if at the size that they have."""
        values = self.spec.to_dict()
        return values if self.look is None else {**values, "look": dict(self.look)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A network measured on labelled data, for tasks without an evaluation of their own.

    Attributes:
        inputs: How many, each counted once.
        metrics: By name.
        loss: Mean of the summed losses; None where it was not measured.
        preprocessing: How inputs were prepared, see :attr:`Measured.preprocessing`.
        left_out: Inputs that could not be read and are not counted.
        model: Where the weights came from, in words.
        seconds: Duration, with reading.
    """

    inputs: int
    metrics: dict[str, float]
    loss: float | None
    preprocessing: dict[str, Any]
    left_out: tuple[Failure, ...] = ()
    model: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**dataclasses.asdict(self), "left_out": [failure.to_dict() for failure in self.left_out]}

    def figures(self) -> PlainFigures:
        """Sum up the evaluation in one line."""
        return PlainFigures(self.inputs, self.metrics, self.loss)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows of what is worth a table on a terminal; without rows there is none."""
        return [], []


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationReport:
    """What was measured, and on what.

    Attributes:
        task: Name of the task.
        evaluation: The evaluation proper, as the task types it.
        dataset: What it was measured on.
        data: Where that came from, in words.
        arithmetic: What was computed with, in words.
        resolutions, corruptions: Further measurements, if they were made.
    """

    task: str
    evaluation: Any
    dataset: LabelledData
    data: str
    arithmetic: str = ""
    resolutions: ResolutionStudy | None = None
    corruptions: CorruptionStudy | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        content = {"task": self.task, **self.evaluation.to_dict(), "data": self.data, "arithmetic": self.arithmetic}
        if self.resolutions is not None:
            content["resolutions"] = self.resolutions.to_dict()
        if self.corruptions is not None:
            content["corruptions"] = self.corruptions.to_dict()
        return content


def spec_of(preprocessing: Mapping[str, Any]) -> Any:
    """Read how inputs were prepared, see ``Task.input_type``, from an evaluation's plain values."""
    return read_input_spec({name: value for name, value in preprocessing.items() if name != "look"})


def size_in_words(preprocessing: Mapping[str, Any]) -> str:
    """Say at which size inputs were measured, from an evaluation's plain values."""
    look = preprocessing.get("look")
    if preprocessing.get("kind") in ("text", "series"):
        return str(spec_of(preprocessing).size_in_words())
    if look is None:
        return f"at {preprocessing['input_size_px']} px"
    tiles = "" if look["context"] == "image" else f", tiles of {look['tile_px']} px"
    return f"at the size that they have (context {look['context']}{tiles})"


def loss_in_words(loss: float | None) -> str:
    """Write a loss in front of what it was measured on; nothing where it was not measured."""
    return "" if loss is None else f", loss {loss:.4f}"
