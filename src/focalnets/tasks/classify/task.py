"""Classification: what an image shows, as one of the classes that a network has learnt.

Axes: B batch, K classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.data.class_matching import known_classes
from focalnets.data.labelled import LabelledData, TrainingData
from focalnets.data.outliers import NO_CLASS, WithOutliers
from focalnets.data.samples import ImageFolder
from focalnets.data.sources import read_split
from focalnets.errors import ConfigError, DataError
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.report.caption import with_caption
from focalnets.report.parts import Column, Fact, Section, TableCell
from focalnets.tasks.batch import Batch
from focalnets.tasks.classify.blending import build_blend
from focalnets.tasks.classify.classified import Answer, classifier_answers
from focalnets.tasks.classify.data import open_held_out, open_labelled_images, read_coarsely, training_data
from focalnets.tasks.classify.outliers import OutlierTransform, add_threshold, training_outliers, uniformity
from focalnets.tasks.classify.report import (
    evaluation_facts,
    evaluation_sections,
    evaluation_summary,
    pictures_of_errors,
    prediction_row,
    predictions_table,
    write_evaluation_files,
)  # fmt: skip
from focalnets.tasks.classify.results import Evaluation, Prediction, make_evaluation
from focalnets.tasks.classify.settings import ClassifySettings
from focalnets.tasks.evaluation import EvaluationReport, Measured
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.picture_transform import Alter, PictureTransform
from focalnets.tasks.task import Task
from focalnets.weights.description import classifier_head

if TYPE_CHECKING:
    from PIL import Image
    from torchmetrics import MetricCollection

    from focalnets.tasks.classify.large import LargeClassification

__all__ = ["Classify"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classify(Task):
    """The task of naming the class of an image.

    Attributes:
        settings: The section ``classify`` of a training config.
        top_k: Classes that a prediction names, at most; there are never more than the network has.
        bins: Bins of the calibration in evaluations.
        worst: Most confident errors that an evaluation keeps, at most.
        threshold: Confidence below which no class is named; None names one always. A network that has its own
            overrides it.
    """

    name: ClassVar[str] = "classify"
    watch: ClassVar[Watch] = Watch("top1", of_inputs=True)
    metric_labels: ClassVar[dict[str, Metric]] = {
        "top1": Metric("top-1", hub_type="accuracy", hub_name="Top-1 accuracy"),
        "top5": Metric("top-5", hub_type="accuracy", hub_name="Top-5 accuracy"),
    }
    pipeline_tag: ClassVar[str | None] = "image-classification"
    limits: ClassVar[str] = (
        "An image of none of the classes gets one all the same, unless the training knew outliers and its confidence "
        "stays below the threshold that was chosen then. How well single classes do: `focalnets evaluate`."
    )

    files: ClassVar[tuple[str, ...]] = (
        "per_class.csv",
        "confusion.csv",
        "confusion.png",
        "calibration.csv",
        "calibration.png",
        "mistakes.csv",
    )
    optional_files: ClassVar[tuple[str, ...]] = ("mistakes.png",)

    settings: ClassifySettings = dataclasses.field(default_factory=ClassifySettings)
    top_k: int = 5
    bins: int = 15
    worst: int = 24
    threshold: float | None = None

    def __post_init__(self) -> None:
        for name, least, most in (("top_k", 1, 10**9), ("bins", 1, 10_000), ("worst", 0, 10_000)):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(
                    f"{name} must be a whole number from {least} to {most:,}, got {getattr(self, name):,}."
                )

    def recipe_in_words(self) -> str:
        """Describe augmentation and mixing."""
        return self.settings.in_words()

    # Data

    def open(self, place: str | Path, *, val_fraction: float, seed: int, skip_unreadable: bool = False) -> TrainingData:
        """Find labelled images in a folder, CSV file or shards."""
        return open_labelled_images(place, val_fraction=val_fraction, seed=seed, skip_unreadable=skip_unreadable)

    def reopen(self, split: Path, *, root: str | Path | None = None, skip_unreadable: bool = False) -> TrainingData:
        """Find the images of a run again."""
        return training_data(read_split(split, root=root), skip_unreadable=skip_unreadable)

    def open_evaluation(
        self, place: str | Path, *, labels: Sequence[str] | None = None, split: Path | None = None
    ) -> tuple[tuple[str, ...], LabelledData]:
        """Find the images that a classifier is measured on; classes are matched by name or WordNet id."""
        return open_held_out(place, labels=labels, split=split)

    def open_evaluation_of(self, model: nn.Module, place: str | Path, *, split: Path | None = None) -> LabelledData:
        """Find the images that a classifier is measured on; one without names takes those of as many classes."""
        named: Any = model
        outputs = len(self.labels(model))
        names, data = self.open_evaluation(place, labels=named.class_names, split=split)
        if len(names) != outputs:
            raise DataError(
                f"'{place}' holds {len(names)} classes but the network has {outputs} and no names for them; expected "
                "one folder for each class."
            )
        if named.class_names is None:
            named.class_names = names
        return data

    def for_training(self, data: LabelledData, *, largest_size_px: int) -> LabelledData:
        """Decode JPEGs no finer than the smallest random crop needs; put outliers beside them where asked for."""
        smallest_side: int | None = None
        if self.settings.augmentation != "none":
            # Enough pixels for the smallest crop to be made smaller, not larger.
            smallest_side = math.ceil(largest_size_px / math.sqrt(self.settings.min_crop_scale))
            if isinstance(data, ImageFolder):
                data = ImageFolder(data.samples, data.classes, smallest_side_px=smallest_side)
        if self.settings.outliers is None:
            return data
        outliers = training_outliers(self.settings, data, side_px=largest_size_px, smallest_side_px=smallest_side)
        return WithOutliers(data, outliers, self.settings.outlier_fraction)

    def coarsest_side_px(self, spec: Preprocessing) -> int | None:
        """Four times what is seen: the input then differs by 0.1 of 255 on average, see docs/evaluation.md."""
        return math.ceil(4 * spec.input_size_px / spec.crop_fraction)

    def for_evaluation(self, data: LabelledData, spec: Preprocessing) -> LabelledData:
        """Decode large JPEGs at a fraction of their size."""
        return read_coarsely(data, self.coarsest_side_px(spec))

    def transform(
        self, spec: Preprocessing, *, train: bool, alter: Alter | None = None
    ) -> Callable[[tuple[Any, Any], int], tuple[Any, Any]]:
        """Crop and normalise pictures; in training at random, as the settings say."""
        if not train:
            return super().transform(spec, train=False, alter=alter)
        from focalnets.data.transforms import evaluation_transform, training_transform

        change = training_transform(spec, **self.settings.augmentation_options())
        if self.settings.outliers is None:
            return PictureTransform(change)
        return OutlierTransform(change, evaluation_transform(spec))

    def blend(self, labels: Sequence[str]) -> Callable[[Batch, int], Batch] | None:
        """Mix images and their labels, or paste parts of images into others, as the settings say; never outliers."""
        return build_blend(self.settings, len(labels))

    # The network

    def network_fields(self, labels: Sequence[str]) -> dict[str, Any]:
        """Ask for one output for each class."""
        return {"num_classes": len(labels)}

    def build(self, network: FocalNet, labels: Sequence[str], *, pretrained: bool) -> nn.Module:
        """Name the classes of the network.

        Loaded weights get a new classifier unless their classes are these; the rows of classes that they know, by name
        or WordNet id, are kept.
        """
        network.threshold = None  # It belongs to the weights of before.
        if not pretrained:
            network.class_names = tuple(labels)
        elif network.class_names != tuple(labels):
            known, old = known_classes(labels, network.class_names or ()), network.head
            network.reset_classifier(len(labels), labels)
            if known and isinstance(old, nn.Linear) and isinstance(network.head, nn.Linear):
                rows = [labels.index(name) for name in known]
                with torch.no_grad():
                    network.head.weight[rows] = old.weight[list(known.values())]
                    network.head.bias[rows] = old.bias[list(known.values())]
                network.origin += f", with what its classifier knew of {len(known)} of {len(labels)} classes"
        return network

    def head(self, model: nn.Module) -> dict[str, Any]:
        """Describe the linear classifier, with its threshold."""
        return classifier_head(model.config, model.threshold)  # type: ignore[arg-type]

    def for_model(self, model: nn.Module) -> Classify:
        """Take over the threshold of a network that has one."""
        threshold = getattr(model, "threshold", None)
        return self if threshold is None else dataclasses.replace(self, threshold=threshold)

    def complete(self, weights: Path, data: TrainingData, *, device: torch.device) -> str | None:
        """Choose the threshold of a network that was trained with outliers."""
        return None if self.settings.outliers is None else add_threshold(self, weights, data, device=device)

    def can_answer(self, network: nn.Module, labels: Sequence[str]) -> bool:
        """Whether loaded weights know all of these classes."""
        if self.settings.outliers is not None:
            return False  # Weights of before would be kept as the best, though they know no outliers.
        assert isinstance(network, FocalNet)
        return bool(network.class_names) and len(known_classes(labels, network.class_names or ())) == len(labels)

    def labels(self, model: nn.Module) -> tuple[str, ...]:
        """Return names of the network's classes; ``class 0`` and so on where it has none."""
        if not isinstance(model, FocalNet):
            return super().labels(model)
        classes = model.config.num_classes
        if classes == 0 or model.head is None:
            raise ConfigError("The network has no classifier (num_classes is 0); load or train one that has.")
        return model.class_names or tuple(f"class {index}" for index in range(classes))

    # Learning and measuring

    def losses(
        self, output: Tensor, batch: Batch, *, train: bool, reduction: Literal["mean", "none"] = "mean"
    ) -> dict[str, Tensor]:
        """Compute the cross-entropy of logits (B, K) with labels (B,) or mixtures (B, K); smoothed in training.

        For outliers, whose label or mixture is :data:`focalnets.data.outliers.NO_CLASS`, it is the divergence of what
        the network says from naming all classes alike.
        """
        smoothing = self.settings.label_smoothing if train else 0.0
        if train and self.settings.outliers is not None:
            unknown = batch.targets.reshape(len(batch.targets), -1)[:, 0] == NO_CLASS
            labelled = F.cross_entropy(output[~unknown], batch.targets[~unknown], label_smoothing=smoothing)
            return {"cross_entropy": labelled, "outliers": self.settings.outlier_weight * uniformity(output[unknown])}
        return {"cross_entropy": F.cross_entropy(output, batch.targets, reduction=reduction, label_smoothing=smoothing)}

    def guessing_loss(self, labels: Sequence[str]) -> float | None:
        """Return the cross-entropy of naming every class alike."""
        return math.log(max(2, len(labels)))

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Make the fractions of images whose class is the likeliest, or among the five likeliest."""
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MulticlassAccuracy

        classes = len(labels)
        metrics = {
            name: MulticlassAccuracy(classes, top_k=min(top_k, classes), average="micro", validate_args=False)
            for name, top_k in (("top1", 1), ("top5", 5))
        }
        # Groups would be formed by the first batch, in which both may happen to be equal.
        return MetricCollection(metrics, compute_groups=False)  # type: ignore[arg-type]

    def check_targets(self, batch: Batch, labels: Sequence[str]) -> None:
        """Refuse labels that are no class of the network."""
        largest = int(batch.targets.max())
        if largest >= len(labels) or int(batch.targets.min()) < 0:
            raise DataError(f"The images have label {largest} but the network has {len(labels)} classes.")

    def answers(self, output: Tensor, batch: Batch) -> list[Answer]:
        """Keep what the network says of each image, with its label."""
        return classifier_answers(output, batch.targets)

    def evaluation(self, measured: Measured) -> Evaluation:
        """Put together accuracy with intervals, class by class, calibration and the most confident errors."""
        return make_evaluation(measured, bins=self.bins, worst=self.worst, threshold=self.threshold)

    # Showing

    def results(
        self, output: Tensor, *, paths: Sequence[Path], sizes: Sequence[tuple[int, int]], labels: Sequence[str]
    ) -> list[Prediction]:
        """Find the likeliest classes of each image, from logits (B, K)."""
        fractions, indices = output.softmax(-1).topk(min(self.top_k, len(labels)))
        return [
            Prediction(
                path=path,
                class_names=tuple(labels[index] for index in chosen),
                class_indices=tuple(chosen),
                confidences=tuple(confidences),
                threshold=self.threshold,
                class_count=len(labels),
            )
            for path, confidences, chosen in zip(paths, fractions.tolist(), indices.tolist(), strict=True)
        ]

    def large(self, model: nn.Module) -> LargeClassification:
        """Classify images of any size."""
        from focalnets.tasks.classify.large import LargeClassification

        if not isinstance(model, FocalNet) or model.norm is None or not self.labels(model):
            raise ConfigError("Images of any size are classified by FocalNets with a classifier; leave context out.")
        return LargeClassification(self, model)

    def row(self, result: Prediction) -> dict[Column, TableCell]:
        """The likeliest class with its confidence, and the others in one cell; all are there if none seems right."""
        return prediction_row(result)

    def result_table(self, results: Sequence[Prediction]) -> tuple[list[str], list[list[Any]]]:
        """A row for each class of each image; whether it seems to show none of them, where the network tells."""
        return predictions_table(results)

    def draw(self, picture: Image.Image, result: Prediction) -> Image.Image:
        """Write the likeliest class below the picture."""
        return with_caption(picture, f"{result.verdict}  {result.confidences[0]:.1%}")

    def summary(self, evaluation: Evaluation) -> list[str]:
        """Tell accuracy, speed and calibration."""
        return evaluation_summary(evaluation)

    def evaluation_table(self, evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
        """Return a row for each class."""
        return evaluation.per_class_table()

    def heading(self, evaluation: Evaluation) -> str:
        """Return the title of an evaluation's page."""
        return f"How well it recognises {evaluation.images:,} images"

    def facts(self, evaluation: Evaluation) -> list[Fact]:
        """Choose accuracy, recall and calibration."""
        return evaluation_facts(evaluation)

    def write_files(self, report: EvaluationReport, folder: Path) -> list[str]:
        """Write tables of classes, confusions, calibration and the most confident errors, with their pictures."""
        return write_evaluation_files(report.evaluation, pictures_of_errors(report, self.seen), folder)

    def sections(self, report: EvaluationReport) -> list[Section]:
        """Show class by class, confusions, calibration and the most confident errors."""
        return evaluation_sections(report.evaluation, pictures_of_errors(report, self.seen))
