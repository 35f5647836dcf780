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
from focalnets.data.samples import ImageFolder
from focalnets.data.sources import read_split
from focalnets.errors import ConfigError, DataError
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.report.caption import with_caption
from focalnets.report.parts import Column, Fact, Section, TableCell
from focalnets.tasks.batch import Batch
from focalnets.tasks.classify.data import open_held_out, open_labelled_images, training_data
from focalnets.tasks.classify.report import evaluation_facts, evaluation_sections, write_evaluation_files
from focalnets.tasks.classify.results import Answer, Evaluation, Prediction, make_evaluation
from focalnets.tasks.classify.settings import ClassifySettings
from focalnets.tasks.evaluation import EvaluationReport, Measured
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.task import Alter, PictureTransform, Task

if TYPE_CHECKING:
    from PIL import Image
    from torchmetrics import MetricCollection

__all__ = ["Classify"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classify(Task):
    """The task of naming the class of an image.

    Attributes:
        settings: The section ``classify`` of a training config.
        top_k: Classes that a prediction names, at most; there are never more than the network has.
        bins: Bins of the calibration in evaluations.
        worst: Most confident errors that an evaluation keeps, at most.
    """

    name: ClassVar[str] = "classify"
    watch: ClassVar[Watch] = Watch("top1")
    metric_labels: ClassVar[dict[str, Metric]] = {
        "top1": Metric("top-1", hub_type="accuracy", hub_name="Top-1 accuracy"),
        "top5": Metric("top-5", hub_type="accuracy", hub_name="Top-5 accuracy"),
    }
    pipeline_tag: ClassVar[str | None] = "image-classification"
    limits: ClassVar[str] = (
        "An image of none of the classes gets one all the same. How well single classes do: `focalnets evaluate`."
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

    def __post_init__(self) -> None:
        for name, least, most in (("top_k", 1, 10**9), ("bins", 1, 10_000), ("worst", 0, 10_000)):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(
                    f"{name} must be a whole number from {least} to {most:,}, got {getattr(self, name):,}."
                )

    def recipe_in_words(self) -> str:
        """Describe augmentation and mixing."""
        settings = self.settings
        off = settings.mixup_off_epoch
        until = "" if off is None else f" (neither from epoch {off} on)"
        return f"augmentation {settings.augmentation}, mixup {settings.mixup:g}, cutmix {settings.cutmix:g}{until}, "

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
        """Decode JPEGs no finer than the smallest random crop needs."""
        if not isinstance(data, ImageFolder) or self.settings.augmentation == "none":
            return data
        # Enough pixels for the smallest crop to be made smaller, not larger.
        smallest_side = math.ceil(largest_size_px / math.sqrt(self.settings.min_crop_scale))
        return ImageFolder(data.samples, data.classes, smallest_side_px=smallest_side)

    def transform(
        self, spec: Preprocessing, *, train: bool, alter: Alter | None = None
    ) -> Callable[[tuple[Any, Any], int], tuple[Any, Any]]:
        """Crop and normalise pictures; in training at random, as the settings say."""
        if not train:
            return super().transform(spec, train=False, alter=alter)
        from focalnets.data.transforms import training_transform

        change = training_transform(spec, **self.settings.augmentation_options())
        return PictureTransform(change)

    def blend(self, labels: Sequence[str]) -> Callable[[Batch, int], Batch] | None:
        """Mix images and their labels, or paste parts of images into others, as the settings say."""
        from torchvision.transforms import v2

        settings = self.settings
        blends: list[v2.Transform] = []
        if settings.mixup:
            blends.append(v2.MixUp(alpha=settings.mixup, num_classes=len(labels)))
        if settings.cutmix:
            blends.append(v2.CutMix(alpha=settings.cutmix, num_classes=len(labels)))
        if not blends:
            return None
        chances = [1 - settings.mixup_switch, settings.mixup_switch] if len(blends) == 2 else None
        choose, off = v2.RandomChoice(blends, p=chances), settings.mixup_off_epoch

        def blend(batch: Batch, epoch: int) -> Batch:
            if off is not None and epoch >= off:
                return batch
            images, targets = choose(batch.inputs, batch.targets)
            return dataclasses.replace(batch, inputs=images, targets=targets)

        return blend

    # The network

    def network_fields(self, labels: Sequence[str]) -> dict[str, Any]:
        """Ask for one output for each class."""
        return {"num_classes": len(labels)}

    def build(self, network: FocalNet, labels: Sequence[str], *, pretrained: bool) -> nn.Module:
        """Name the classes of the network.

        Loaded weights get a new classifier unless their classes are these; the rows of classes that they know, by name
        or WordNet id, are kept.
        """
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

    def can_answer(self, network: FocalNet, labels: Sequence[str]) -> bool:
        """Whether loaded weights know all of these classes."""
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
        """Compute the cross-entropy of logits (B, K) with labels (B,) or mixtures (B, K); smoothed in training."""
        smoothing = self.settings.label_smoothing if train else 0.0
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
        probabilities = output.double().softmax(-1)
        predicted = output.argmax(-1, keepdim=True)
        columns = (
            batch.targets,
            predicted[:, 0],
            probabilities.gather(-1, predicted)[:, 0],
            probabilities.gather(-1, batch.targets[:, None])[:, 0],
        )
        return [Answer(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def evaluation(self, measured: Measured) -> Evaluation:
        """Put together accuracy with intervals, class by class, calibration and the most confident errors."""
        return make_evaluation(measured, bins=self.bins, worst=self.worst)

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
            )
            for path, confidences, chosen in zip(paths, fractions.tolist(), indices.tolist(), strict=True)
        ]

    def row(self, result: Prediction) -> dict[Column, TableCell]:
        """The likeliest class with its confidence, and the others in one cell."""
        (name, confidence), *others = zip(result.class_names, result.confidences, strict=True)
        row: dict[Column, TableCell] = {Column("image"): str(result.path), Column("class"): name}
        row[Column("confidence", "number", ".1%")] = confidence
        return row | ({Column("then"): ", ".join(f"{name} {value:.1%}" for name, value in others)} if others else {})

    def result_table(self, results: Sequence[Prediction]) -> tuple[list[str], list[list[Any]]]:
        """A row for each class of each image."""
        rows = [
            [str(result.path), rank, name, confidence]
            for result in results
            for rank, (name, confidence) in enumerate(zip(result.class_names, result.confidences, strict=True), 1)
        ]
        return ["path", "rank", "class", "confidence"], rows

    def draw(self, picture: Image.Image, result: Prediction) -> Image.Image:
        """Write the likeliest class below the picture."""
        return with_caption(picture, f"{result.class_names[0]}  {result.confidences[0]:.1%}")

    def summary(self, evaluation: Evaluation) -> list[str]:
        """Tell accuracy, speed and calibration."""
        low, high = evaluation.top1_interval
        preprocessing, calibration = evaluation.preprocessing, evaluation.calibration
        return [
            f"top-1 {evaluation.top1:.2%} (95 % interval {low:.2%} to {high:.2%}), top-5 {evaluation.top5:.2%}, "
            f"loss {evaluation.loss:.4f} on {evaluation.images:,} images at {preprocessing['input_size_px']} px "
            f"(crop {preprocessing['crop_fraction']:g}, {preprocessing['interpolation']}), "
            f"{evaluation.images / max(evaluation.seconds, 1e-9):.0f} images/s",
            f"mean recall {evaluation.mean_recall:.2%}, mean confidence {calibration.mean_confidence:.2%}, expected "
            f"calibration error {calibration.ece_equal_width:.2%} ({len(calibration.equal_width)} bins of equal "
            f"width), {calibration.ece_equal_count:.2%} ({len(calibration.equal_count)} bins of equal count)",
        ]

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
        return write_evaluation_files(report.evaluation, self._pictures_of_errors(report), folder)

    def sections(self, report: EvaluationReport) -> list[Section]:
        """Show class by class, confusions, calibration and the most confident errors."""
        return evaluation_sections(report.evaluation, self._pictures_of_errors(report))

    def _pictures_of_errors(self, report: EvaluationReport) -> list[Image.Image]:
        spec = Preprocessing.from_dict(report.evaluation.preprocessing)
        return [self.seen(report.dataset[mistake.index], spec) for mistake in report.evaluation.mistakes]
