"""The seam between what is general (loops, files, devices, the trainer) and what a network is trained for.

A task is a frozen object: it owns no loop, no file and no device. The trainer, ``evaluate`` and ``predict`` know
losses, metrics, batches and pictures of results only through it, and :mod:`focalnets.tasks.table` finds it by its name.
A new task touches its own folder, its head and one row of that table.

Axes: B batch.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.heads.table import DENSE_NETWORKS
from focalnets.tasks.batch import Batch
from focalnets.tasks.evaluation import Evaluation, Measured
from focalnets.tasks.feeding import Feeding
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.presentation import Presentation
from focalnets.tasks.settings import NoSettings

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

    from focalnets.models.focalnet import FocalNet

__all__ = ["Result", "Task"]


class Result(Protocol):
    """What a network says about one input: a frozen value, in pixels of the picture as it was given."""

    @property
    def path(self) -> Path: ...

    def to_dict(self) -> dict[str, Any]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(Presentation, Feeding):
    """What a network is trained for; :class:`focalnets.tasks.classify.task.Classify` is one.

    Subclasses are frozen dataclasses whose fields are options of a task, e.g. how many classes a prediction names.
    What is not abstract here suits tasks whose inputs are whole pictures of one size and whose answers are tensors.

    Attributes:
        name: Written into checkpoints and configs; the task's section of a config has this name.
        watch: Which metric decides.
        metric_labels: How the metrics of :meth:`metrics` are called, the most important first.
        pipeline_tag: What the Hugging Face Hub calls the task.
        limits: What a model card says of the limits of such networks.
        files: Files that :meth:`write_files` always writes.
        optional_files: Files that :meth:`write_files` writes only where there is something to show.
        on_pyramid: Whether its head stands on the maps of all stages, each normalised, in place of a classifier.
        usual_batch: Inputs that a network sees at once where nobody says how many.
        inputs: What inputs are called, in the plural.
        config_type, input_type: What the config of its networks is, and how their inputs are described.
        next_commands: What one does with a run's network, with ``{model}`` for its folder.
        settings: What a training config says about this task alone; a frozen dataclass that needs no torch.
    """

    name: ClassVar[str]
    watch: ClassVar[Watch]
    metric_labels: ClassVar[Mapping[str, Metric]]
    pipeline_tag: ClassVar[str | None] = None
    limits: ClassVar[str] = ""
    files: ClassVar[tuple[str, ...]] = ()
    optional_files: ClassVar[tuple[str, ...]] = ()
    on_pyramid: ClassVar[bool] = False
    usual_batch: ClassVar[int] = 32
    inputs: ClassVar[str] = "images"
    config_type: ClassVar[type] = FocalNetConfig
    input_type: ClassVar[type] = Preprocessing
    next_commands: ClassVar[tuple[str, ...]] = ("predict IMAGE --model {model}", "explain IMAGE --model {model}")
    settings: Any = dataclasses.field(default_factory=NoSettings)

    @property
    def sees_images(self) -> bool:
        """Whether the inputs of the task's networks are images."""
        return issubclass(self.input_type, Preprocessing)

    def require_images(self, purpose: str) -> None:
        """Refuse what is for networks that see images.

        Args:
            purpose: What it is, for messages.

        Raises:
            ConfigError: If the inputs of the task's networks are none.
        """
        if not self.sees_images:
            command = self.next_commands[0].partition(" ")[0]
            raise ConfigError(
                f"{purpose} is for images, and networks of the task {self.name} take none; see `focalnets {command}`."
            )

    def recipe_in_words(self) -> str:
        """Say what a model card says of the task's settings, ending with a comma and a space; empty if nothing."""
        return ""

    # The network

    def with_data(self, data: TrainingData) -> Task:
        """Return the task with what this data says that its networks must know, e.g. which characters there are."""
        return self

    def create(self, name: str, overrides: Mapping[str, Any], labels: Sequence[str]) -> nn.Module:
        """Draw a network at random, with its head.

        Args:
            name: Of the network.
            overrides: Fields of its config to change.
            labels: What answers are to be called.

        Raises:
            UnknownNameError: If there is no such network.
            ConfigError: If a field is unknown, out of range, or follows from the data.
        """
        from focalnets.weights.loading import create_model

        fields = self.network_fields(labels)
        fixed = sorted(set(fields) & set(overrides))
        if fixed:
            raise ConfigError(
                f"model_overrides cannot hold {', '.join(fixed)}; the data decides how many classes there are."
            )
        row = DENSE_NETWORKS.get(name)
        backbone, own = (name, {}) if row is None else (row.backbone, dict(row.backbone_fields))
        return self.build(create_model(backbone, **{**own, **fields, **overrides}), labels, pretrained=False)

    def network_fields(self, labels: Sequence[str]) -> dict[str, Any]:
        """Choose fields of the config of a network that is drawn for these labels."""
        return {}

    @abc.abstractmethod
    def build(self, network: FocalNet, labels: Sequence[str], *, pretrained: bool) -> nn.Module:
        """Give a network the head for these labels; the keys of its backbone stay.

        Args:
            network: Drawn with :meth:`network_fields`, or loaded; with maps of all stages if ``on_pyramid``.
            labels: What answers are to be called.
            pretrained: Whether it was loaded.
        """

    def adopt(self, module: nn.Module, labels: Sequence[str]) -> nn.Module:
        """Take a network that this task has trained before, for these labels; what its head knows of them is kept."""
        return self.build(module.backbone, labels, pretrained=True)  # type: ignore[arg-type]

    def rebuild(self, config: Any, spec: Any, labels: Sequence[str], head: Mapping[str, Any]) -> nn.Module:
        """Build the network that a file describes; all its numbers are loaded afterwards.

        It is built on the device meta, for nobody knows who wrote the file: what it says must not allocate anything.

        Args:
            config: Of the backbone.
            spec: How inputs are prepared.
            labels: What answers are called.
            head: As :meth:`head` has described it.

        Raises:
            ConfigError: If there is no such head.
        """
        from focalnets.models.focalnet import FocalNet

        with torch.device("meta"):
            return self.build(FocalNet(config, preprocessing=spec), labels, pretrained=False)

    def suited_to(self, model: nn.Module) -> Task:
        """Return the task with what a loaded network says of it."""
        return self

    def can_answer(self, network: nn.Module, labels: Sequence[str]) -> bool:
        """Whether loaded weights can be measured on these labels before they are trained further."""
        return False

    def head(self, model: nn.Module) -> dict[str, Any]:
        """Describe the head for a checkpoint, beside the network's config, with its ``kind``."""
        return {"kind": "linear", "outputs": model.config.num_classes}  # type: ignore[union-attr]

    def is_head(self, name: str) -> bool:
        """Tell whether a parameter of that name belongs to the head, which learns while the rest is frozen."""
        return name.startswith("head.")

    def labels(self, model: nn.Module) -> tuple[str, ...]:
        """Return what the network's answers are called.

        Raises:
            ConfigError: If the network is not for this task.
        """
        return tuple(getattr(model, "class_names", None) or ())

    def for_model(self, model: nn.Module) -> Task:
        """Return the task with what this network says that matters for its answers; itself where there is nothing."""
        return self

    def sample(self, model: nn.Module) -> str | None:
        """Let a network in training show what it can, in text that people read after each epoch; None for nothing.

        What is drawn at random must not come from torch's own random numbers.
        """
        return None

    def complete(self, weights: Path, data: TrainingData, *, device: torch.device) -> str | None:
        """Measure what only a trained network can tell, and note it in its file of weights.

        Args:
            weights: The file, which is written anew.
            data: What the network was trained and validated on.
            device: Where to measure.

        Returns:
            What was measured, in a sentence; None where there is nothing to measure and the file stays as it is.
        """
        return None

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Compute the network's output for a batch."""
        inputs = batch.inputs
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return model(inputs) if batch.mask is None else model(inputs, mask=batch.mask)

    # Learning and measuring

    @abc.abstractmethod
    def losses(
        self, output: Any, batch: Batch, *, train: bool, reduction: Literal["mean", "none"] = "mean"
    ) -> dict[str, Tensor]:
        """Compute named losses, which are summed.

        Args:
            output: Of :meth:`forward`.
            batch: What it was computed from.
            train: Whether the network learns from them; what only helps learning is left out otherwise.
            reduction: ``none`` asks for one loss for each input (B,), where that is possible.
        """

    def guessing_loss(self, labels: Sequence[str]) -> float | None:
        """Return the loss of guessing; many times it means that a training came apart. None if unknown."""
        return None

    @abc.abstractmethod
    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Make fresh metrics by name; the same in training and in evaluation."""

    def check_targets(self, batch: Batch, labels: Sequence[str]) -> None:
        """Refuse answers that a network with these labels cannot give.

        Raises:
            DataError: If there are any.
        """

    def measure(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Take a batch, in which everything counts, into the metrics."""
        metrics.update(output, batch.targets)

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """Keep of each input of a batch, in which everything counts, what an evaluation needs."""
        return [None] * len(batch)

    def evaluation(self, measured: Measured) -> Any:
        """Make the typed evaluation: frozen, with ``to_dict()`` and ``figures()``."""
        return Evaluation(
            inputs=len(measured.answers),
            metrics={name: float(value) for name, value in measured.metrics.compute().items()},
            loss=measured.loss,
            preprocessing=measured.preprocessing,
            left_out=measured.left_out,
            model=measured.model,
            seconds=measured.seconds,
        )
