"""Naming the class of whole sequences: the part that texts and series share.

Axes: B batch, T positions, K classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.data.labelled import LabelledData, TrainingData
from focalnets.errors import ConfigError, DataError, FocalNetsError, MissingPackageError
from focalnets.files import write_json
from focalnets.models.sequence import FocalTextClassifier
from focalnets.models.sequence_config import TextClassifierConfig
from focalnets.models.sequence_variants import sequence_variant
from focalnets.report.parts import Column, Fact, Section, TableCell
from focalnets.tasks.batch import Batch
from focalnets.tasks.classify.classified import Answer, classifier_answers
from focalnets.tasks.evaluation import EvaluationReport, Measured
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.sequences.baseline import compare_with_network
from focalnets.tasks.sequences.report import (
    EVALUATION_FILES,
    evaluation_facts,
    evaluation_sections,
    evaluation_summary,
    prediction_row,
    predictions_table,
    write_evaluation_files,
)
from focalnets.tasks.sequences.results import Evaluation, SequencePrediction, make_evaluation
from focalnets.tasks.split_files import split_file_of
from focalnets.tasks.task import Task

if TYPE_CHECKING:
    from PIL import Image
    from torchmetrics import MetricCollection

__all__ = ["SequenceClassification", "pad_sequences"]

HEAD_KIND = "sequence_classifier"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceClassification(Task):
    """The task of naming the class of a sequence; a plain method stands beside every evaluation.

    Subclasses say how sequences are read (``spec``), and what that makes of the network (:meth:`_input_fields`).

    Attributes:
        settings: The section of a training config that is called like the task; has ``label_smoothing``.
        pretrained: Weights that a training starts from, by which the data is read; empty for none.
        spec: How a sequence is read, once data or a network says so.
        run: What a network was loaded from; where that is a run, its data is known.
        top_k: Classes that a prediction names, at most.
        bins: Bins of the calibration in evaluations.
        worst: Most confident errors that an evaluation keeps, at most.
    """

    watch: ClassVar[Watch] = Watch("accuracy", of_inputs=True)
    metric_labels: ClassVar[dict[str, Metric]] = {
        "accuracy": Metric("accuracy", hub_type="accuracy", hub_name="Accuracy"),
        "macro_f1": Metric("macro F1", hub_type="f1", hub_name="Macro F1"),
    }
    files: ClassVar[tuple[str, ...]] = EVALUATION_FILES
    optional_files: ClassVar[tuple[str, ...]] = ("baseline.json",)
    config_type: ClassVar[type] = TextClassifierConfig
    plain_method: ClassVar[tuple[str, str]]
    """What the plain method makes of inputs, and what stands on that."""

    pretrained: str = ""
    spec: Any = None
    run: Path | None = None
    top_k: int = 5
    bins: int = 15
    worst: int = 24

    def __post_init__(self) -> None:
        for name, least, most in (("top_k", 1, 10**9), ("bins", 1, 10_000), ("worst", 0, 10_000)):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(
                    f"{name} must be a whole number from {least} to {most:,}, got {getattr(self, name):,}."
                )

    def gather(self, given: Any, **options: Any) -> tuple[list[tuple[str, Any]], list[tuple[str, str]]]:
        """List the sequences that were given for an answer: what each is called, and itself; and what leads to none.

        Args:
            given: As the task takes it.
            **options: Of the task, e.g. how files are read.

        Raises:
            ShapeError, DataError: If something is no such sequence, or there is none.
        """
        raise NotImplementedError

    def held_out_of(
        self, split: Path, place: str | Path, labels: Sequence[str] | None
    ) -> tuple[tuple[str, ...], LabelledData]:
        """Read again what a run held out, with its classes, which must be ``labels`` where these are given.

        Raises:
            DataError: If the classes are others, or as :meth:`reopen`.
        """
        data = self.reopen(split, root=place)
        if labels is not None and tuple(labels) != data.labels:
            raise DataError(f"'{place}' has other classes than the network was trained for.")
        return data.labels, data.val

    # The network

    def _input_fields(self) -> dict[str, Any]:
        """Fields of a network's config that follow from how sequences are read."""
        raise NotImplementedError

    def create(self, name: str, overrides: Mapping[str, Any], labels: Sequence[str]) -> FocalTextClassifier:
        """Draw a network at random for these classes."""
        fields = {**self._input_fields(), "num_classes": len(labels)}
        fixed = sorted(set(fields) & set(overrides))
        if fixed:
            raise ConfigError(f"model_overrides cannot hold {', '.join(fixed)}; the data decides it.")
        config = sequence_variant(name, self.name).config.replace(**{**overrides, **fields})
        return self._described(FocalTextClassifier(config), labels)

    def build(self, network: nn.Module, labels: Sequence[str], *, pretrained: bool) -> nn.Module:
        """Refuse other networks: a classifier of sequences has no backbone that another task knows."""
        raise ConfigError(
            f"a {type(network).__name__} cannot start a training of the task {self.name}; name weights of this task."
        )

    def adopt(self, module: nn.Module, labels: Sequence[str]) -> FocalTextClassifier:
        """Take a classifier that was trained before; for other classes its head is drawn anew."""
        model = self._own(module)
        if self.spec is None or model.preprocessing.with_size(self.spec.size) != self.spec:
            raise ConfigError("the weights read their input in another way than the data was opened for.")
        if model.class_names != tuple(labels):
            model.reset_classifier(len(labels))
        return self._described(model, labels)

    def rebuild(self, config: Any, spec: Any, labels: Sequence[str], head: Mapping[str, Any]) -> nn.Module:
        """Build the network that a file describes, on the device meta."""
        if head.get("kind") != HEAD_KIND:
            raise ConfigError(
                f"a classifier of sequences has a head of kind {HEAD_KIND}, got {head.get('kind')!r:.60}."
            )
        if len(labels) != config.num_classes:
            raise ConfigError(f"it names {len(labels):,} classes for {config.num_classes:,} outputs.")
        fields = dataclasses.replace(self, spec=spec)._input_fields()
        differing = [name for name, value in fields.items() if getattr(config, name) != value]
        if differing:
            name = differing[0]
            raise ConfigError(f"its {name} is {getattr(config, name):,}, and its input says {fields[name]:,}.")
        with torch.device("meta"):
            return dataclasses.replace(self, spec=spec)._described(FocalTextClassifier(config), labels)

    def suited_to(self, model: nn.Module) -> SequenceClassification:
        """Remember how the network reads."""
        return self.for_model(model)

    def can_answer(self, network: nn.Module, labels: Sequence[str]) -> bool:
        """Whether loaded weights know exactly these classes."""
        return self._own(network).class_names == tuple(labels)

    def head(self, model: nn.Module) -> dict[str, Any]:
        """Describe the head: a linear classifier of the mean."""
        return {"kind": HEAD_KIND, "outputs": self._own(model).config.num_classes}

    def labels(self, model: nn.Module) -> tuple[str, ...]:
        """Return names of the network's classes."""
        return self._own(model).class_names

    def for_model(self, model: nn.Module) -> SequenceClassification:
        """Return the task with how the network reads."""
        return dataclasses.replace(self, spec=self._own(model).preprocessing)

    def complete(self, weights: Path, data: TrainingData, *, device: torch.device) -> str | None:
        """Measure a plain method on what was held out and write it beside the weights, as ``baseline.json``."""
        from focalnets.tasks.loading import load_trained
        from focalnets.tasks.running import evaluate

        task, model = load_trained(weights)
        evaluation = evaluate(task, model.to(device), data.val)
        if evaluation.baseline is None:
            return evaluation.baseline_note or None
        write_json(weights.with_name("baseline.json"), evaluation.baseline.to_dict())
        return str(evaluation.baseline.verdict)

    # Learning and measuring

    def losses(
        self, output: Tensor, batch: Batch, *, train: bool, reduction: Literal["mean", "none"] = "mean"
    ) -> dict[str, Tensor]:
        """Compute the cross-entropy of logits (B, K) with labels (B,); smoothed in training."""
        smoothing = self.settings.label_smoothing if train else 0.0
        return {"cross_entropy": F.cross_entropy(output, batch.targets, reduction=reduction, label_smoothing=smoothing)}

    def guessing_loss(self, labels: Sequence[str]) -> float | None:
        """Return the cross-entropy of naming every class alike."""
        return math.log(max(2, len(labels)))

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Make accuracy, and the mean over the classes of F1."""
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        options: dict[str, Any] = {"num_classes": max(2, len(labels)), "validate_args": False}
        accuracy, f1 = MulticlassAccuracy(average="micro", **options), MulticlassF1Score(average="macro", **options)
        return MetricCollection({"accuracy": accuracy, "macro_f1": f1}, compute_groups=False)  # type: ignore[arg-type]

    def check_targets(self, batch: Batch, labels: Sequence[str]) -> None:
        """Refuse labels that are no class of the network."""
        largest = int(batch.targets.max())
        if largest >= len(labels) or int(batch.targets.min()) < 0:
            raise DataError(f"The {self.inputs} have label {largest} but the network has {len(labels)} classes.")

    def answers(self, output: Tensor, batch: Batch) -> list[Answer]:
        """Keep what the network says of each input, with its label."""
        return classifier_answers(output, batch.targets)

    def evaluation(self, measured: Measured) -> Evaluation:
        """Put together accuracy and F1 with intervals, class by class, calibration and the most confident errors.

        The plain method stands beside them where it is known what the network was trained on.
        """
        evaluation = make_evaluation(measured, unit=self.inputs, bins=self.bins, worst=self.worst)
        method, model = self.plain_method
        try:
            learnt_from = self._learnt_from(measured.data)
            if learnt_from is None or learnt_from.classes != measured.labels:
                return evaluation
            named = self.answer_plainly(learnt_from, [measured.data[index][0] for index in measured.indices])
        except MissingPackageError as error:
            return dataclasses.replace(evaluation, baseline_note=str(error))
        except FocalNetsError as error:
            note = f"{method} was not measured: {str(error).rstrip('.')}"
            return dataclasses.replace(evaluation, baseline_note=note)
        baseline = compare_with_network(method, model, named, measured.answers, len(measured.labels))
        return dataclasses.replace(evaluation, baseline=baseline)

    def answer_plainly(self, learnt_from: Any, inputs: Sequence[Any]) -> np.ndarray:
        """Name the classes of inputs by the plain method: (N,) whole numbers.

        Args:
            learnt_from: The data of the training, which it is fitted to.
            inputs: As the data gives them.

        Raises:
            MissingPackageError: If what it needs is not installed.
            DataError: If it can make nothing of the data.
        """
        raise NotImplementedError

    def _learnt_from(self, data: LabelledData) -> Any:
        """Find the data that the network was trained on, which the other data or the network's run may know."""
        known, split = getattr(data, "learnt_from", None), self._split_file()
        return self.reopen(split).train if known is None and split is not None else known

    def _split_file(self) -> Path | None:
        """Find what the network's run notes about its data; None where it has no run."""
        if self.run is None:
            return None
        split = split_file_of(self.run)
        return split if split.is_file() else None

    # Showing

    def results(
        self, output: Tensor, *, paths: Sequence[Path], sizes: Sequence[tuple[int, int]], labels: Sequence[str]
    ) -> list[SequencePrediction]:
        """Find the likeliest classes of each input, from logits (B, K)."""
        fractions, indices = output.softmax(-1).topk(min(self.top_k, len(labels)))
        return [
            SequencePrediction(
                path=path, class_names=tuple(labels[index] for index in chosen), class_indices=tuple(chosen),
                confidences=tuple(confidences), class_count=len(labels),
            )
            for path, confidences, chosen in zip(paths, fractions.tolist(), indices.tolist(), strict=True)
        ]  # fmt: skip

    def row(self, result: SequencePrediction) -> dict[Column, TableCell]:
        """A row of the input, its likeliest class with the confidence, and the others in one cell."""
        return prediction_row(result)

    def result_table(self, results: Sequence[SequencePrediction]) -> tuple[list[str], list[list[Any]]]:
        """A row for each class of each input."""
        return predictions_table(results)

    def draw(self, picture: Image.Image, result: Any) -> NoReturn:
        """Refuse to draw: there is no picture."""
        raise ConfigError(f"Networks of the task {self.name} draw nothing; take the results as a table.")

    def summary(self, evaluation: Evaluation) -> list[str]:
        """Tell accuracy, F1, calibration and how a plain method does."""
        return evaluation_summary(evaluation)

    def evaluation_table(self, evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
        """Return a row for each class."""
        return evaluation.per_class_table()

    def heading(self, evaluation: Evaluation) -> str:
        """Return the title of an evaluation's page."""
        return f"How well it recognises {evaluation.inputs:,} {evaluation.unit}"

    def facts(self, evaluation: Evaluation) -> list[Fact]:
        """Choose accuracy, F1, and a plain method beside them."""
        return evaluation_facts(evaluation)

    def write_files(self, report: EvaluationReport, folder: Path) -> list[str]:
        """Write tables of classes, confusions, calibration and the most confident errors."""
        return write_evaluation_files(report.evaluation, folder)

    def sections(self, report: EvaluationReport) -> list[Section]:
        """Show a plain method beside it, class by class, confusions, calibration and the most confident errors."""
        return evaluation_sections(report.evaluation)

    def _own(self, network: nn.Module) -> FocalTextClassifier:
        if not isinstance(network, FocalTextClassifier):
            raise ConfigError(
                f"the task {self.name} classifies {self.inputs}, for which this {type(network).__name__} is not made."
            )
        return network

    def _described(self, model: FocalTextClassifier, labels: Sequence[str]) -> FocalTextClassifier:
        model.preprocessing, model.class_names = self.spec, tuple(labels)
        return model


def pad_sequences(items: Sequence[tuple[Tensor, int]]) -> Batch:
    """Put sequences (T, ...) with their labels into a batch; shorter ones are filled up on the right and masked."""
    sequences, labels = zip(*items, strict=True)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    inputs = nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
    longest = inputs.shape[1]
    mask = None if int(lengths.min()) == longest else torch.arange(longest) < lengths[:, None]
    return Batch(inputs, torch.tensor(labels), mask)
