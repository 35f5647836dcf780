"""Naming the class of each pixel: what a photo shows where.

Axes: B batch, K classes, h w [tokens], H W height and width of a photo [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.data.dense.transforms import DenseAugmentation
from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError, DataError
from focalnets.models.config import WholeImage
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.mask2former import query_losses
from focalnets.models.heads.network import DenseNetwork
from focalnets.models.heads.semantic import LARGEST_CLASS_ID, SemanticNetwork, build_semantic
from focalnets.report.overlay import class_colours, laid_over, with_key
from focalnets.report.parts import Column, Fact, Section, TableCell
from focalnets.tasks.batch import Batch
from focalnets.tasks.dense.task import DenseTask, stacked
from focalnets.tasks.evaluation import EvaluationReport, Measured
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.semantic.answers import Answer, answer_of, make_evaluation
from focalnets.tasks.semantic.balance import balanced_weights
from focalnets.tasks.semantic.metrics import SegmentationMetrics
from focalnets.tasks.semantic.pixels import class_map, sampled
from focalnets.tasks.semantic.report import evaluation_sections, write_class_maps, write_evaluation_files
from focalnets.tasks.semantic.results import Evaluation, Segmentation
from focalnets.tasks.semantic.settings import SemanticSettings

if TYPE_CHECKING:
    from PIL import Image
    from torchmetrics import MetricCollection

    from focalnets.tasks.semantic.large import LargeSegmentation

__all__ = ["Semantic"]

IGNORED = 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class Semantic(DenseTask):
    """The task of naming the class of each pixel.

    Attributes:
        settings: The section ``semantic`` of a training config.
        worst: Images that an evaluation keeps, those understood worst, at most.
    """

    name: ClassVar[str] = "semantic"
    watch: ClassVar[Watch] = Watch("miou")
    metric_labels: ClassVar[dict[str, Metric]] = {
        "miou": Metric("mIoU", hub_type="mean_iou", hub_name="Mean IoU"),
        "pixel_accuracy": Metric("pixel accuracy", hub_type="accuracy", hub_name="Pixel accuracy"),
        "mean_accuracy": Metric("mean accuracy", hub_type="accuracy", hub_name="Mean accuracy of classes"),
    }
    pipeline_tag: ClassVar[str | None] = "image-segmentation"
    limits: ClassVar[str] = (
        "Every pixel gets one of the classes, also where none fits. How well single classes are found: "
        "`focalnets evaluate`."
    )
    wants_semantic: ClassVar[bool] = True
    largest_class_id: ClassVar[int] = LARGEST_CLASS_ID

    settings: SemanticSettings = dataclasses.field(default_factory=SemanticSettings)
    worst: int = 24

    def __post_init__(self) -> None:
        if self.worst < 0:
            raise ConfigError(f"worst must be a whole number from 0 up, got {self.worst}.")

    def recipe_in_words(self) -> str:
        """Describe how images are changed."""
        return self.settings.changes_in_words()

    # Data

    def opening(self) -> dict[str, Any]:
        """Say whether class 0 counts."""
        return {"reduce_zero_label": self.settings.reduce_zero_label}

    def augmentation(self, spec: WholeImage) -> DenseAugmentation:
        """Change sizes, cut, mirror and colour as the settings say."""
        # Cuts that show one class only teach little.
        alone = 0.75 if self.settings.crop_px is not None else 1.0
        return DenseAugmentation(**self.settings.changes(), most_of_one_class=alone)

    def choose_settings(self, data: TrainingData, *, image_size: int | None) -> dict[str, Any]:
        """Choose numbers of classes as the data give them, and weights of classes where that was asked for."""
        chosen: dict[str, Any] = dict(self.numbers_of_classes(data))
        if self.settings.class_weights == "balanced":
            weights = balanced_weights(data.train, len(data.labels))
            chosen["class_weights"] = ",".join(f"{weight:.4g}" for weight in weights)
        return chosen

    # The network

    def build_dense(self, network: FocalNet, labels: Sequence[str], settings: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone."""
        kind = settings["head"] or "mlp"
        return SemanticNetwork(
            network,
            labels,
            kind=kind,
            stages=self.settings.stage_numbers(),
            channels=settings["channels"],
            dropout=settings["dropout"],
            auxiliary=kind == "uper" and settings["auxiliary_weight"] > 0,
            queries=settings["queries"],
            layers=settings["decoder_layers"],
            reduce_zero_label=self.settings.reduce_zero_label,
            class_ids=self.settings.ids(),
        )

    def rebuild_dense(self, network: FocalNet, labels: Sequence[str], head: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone that a file describes."""
        return build_semantic(network, labels, head)

    def suited_to(self, model: nn.Module) -> Semantic:
        """Remember whether class 0 counts in the data that a network was made for, and the numbers of its classes."""
        reduced = bool(getattr(model, "reduce_zero_label", False))
        return self.knowing(getattr(model, "class_ids", None), reduce_zero_label=reduced)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Compute the output, with ``sizes`` (B, 2): height and width of the part of each map that shows its image."""
        output = super().forward(model, batch)
        assert isinstance(model, DenseNetwork)
        stride = model.config.strides[model.stages[0]]
        return {**output, "sizes": -(-output["input_sizes"] // stride)}

    # Learning and measuring

    def losses(
        self, output: dict[str, Tensor], batch: Batch, *, train: bool, reduction: Literal["mean", "none"] = "mean"
    ) -> dict[str, Tensor]:
        """Compute the cross-entropy of pixels, in evaluation of the positions of the map.

        A batch whose pixels are all ignored has a loss of 0.
        """
        if not train:
            pairs = zip(*self._valid(output), batch.targets, strict=True)
            single = torch.stack([self._loss_of(*pair) for pair in pairs])
            return {"cross_entropy": single if reduction == "none" else single.mean()}
        size = (batch.inputs.shape[-2], batch.inputs.shape[-1])
        truth = stacked([target["semantic"] for target in batch.targets], size, IGNORED)
        if "logits" not in output:
            return query_losses(output, [_class_masks(labels) for labels in truth])
        losses = {"cross_entropy": self._cross_entropy(_enlarged(output["logits"], size), truth)}
        if "auxiliary" in output:
            second = self._cross_entropy(_enlarged(output["auxiliary"], size), truth)
            losses["auxiliary"] = self.settings.auxiliary_weight * second
        return losses

    def _loss_of(self, logits: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        truth = sampled(target["whole"].to(logits.device), (logits.shape[1], logits.shape[2]))
        return self._cross_entropy(logits[None], truth[None], weighted=False)

    def _cross_entropy(self, logits: Tensor, truth: Tensor, *, weighted: bool = True) -> Tensor:
        weights = self.settings.weights() if weighted else None
        table = None if weights is None else torch.tensor(weights, device=logits.device)
        counted = truth != IGNORED
        total = F.cross_entropy(logits.float(), truth, weight=table, ignore_index=IGNORED, reduction="sum")
        shares = counted.sum() if table is None else table[truth[counted]].sum()
        return total / shares.clamp(min=1e-6)

    def _valid(self, output: Mapping[str, Tensor]) -> tuple[list[Tensor]]:
        sizes = output["sizes"].tolist()
        return ([each[:, :height, :width] for each, (height, width) in zip(output["logits"], sizes, strict=True)],)

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Count what is taken for what, pixel by pixel, over the whole set."""
        from torchmetrics import MetricCollection

        return MetricCollection({"segmentation": SegmentationMetrics(len(labels))})

    def check_targets(self, batch: Batch, labels: Sequence[str]) -> None:
        """Refuse labels that are no class of the network."""
        weights = self.settings.weights() if self.settings.class_weights != "balanced" else None
        if weights is not None and len(weights) != len(labels):
            raise ConfigError(f"class_weights has {len(weights)} numbers but there are {len(labels)} classes.")
        for target in batch.targets:
            known = target["whole"][target["whole"] != IGNORED]
            if len(known) and (int(known.max()) >= len(labels) or int(known.min()) < 0):
                raise DataError(f"The images have class {int(known.max())} but the network has {len(labels)} classes.")

    def measure(self, metrics: MetricCollection, output: dict[str, Tensor], batch: Batch) -> None:
        """Count the pixels of a batch, at the size of the photos."""
        for logits, target in zip(*self._valid(output), batch.targets, strict=True):
            truth = target["whole"].to(logits.device)
            metrics.update(class_map(logits, (truth.shape[0], truth.shape[1])), truth)

    def answers(self, output: dict[str, Tensor], batch: Batch) -> list[Answer]:
        """Keep the counts of each image, and what was said of it in small."""
        return [
            answer_of(logits, target["whole"])
            for logits, target in zip(*self._valid(output), batch.targets, strict=True)
        ]

    def evaluation(self, measured: Measured) -> Evaluation:
        """Put together figures of the whole and of each class, confusions, and the images understood worst."""
        return make_evaluation(measured, worst=self.worst)

    # Showing

    def results(
        self,
        output: dict[str, Tensor],
        *,
        paths: Sequence[Path],
        sizes: Sequence[tuple[int, int]],
        labels: Sequence[str],
    ) -> list[Segmentation]:
        """Name the class of each pixel of the photos."""
        return [
            Segmentation.of_labels(path, labels, class_map(logits, (height, width)).numpy(), self.settings.ids())
            for logits, path, (width, height) in zip(*self._valid(output), paths, sizes, strict=True)
        ]

    def large(self, model: nn.Module) -> LargeSegmentation:
        """Name the class of each pixel of images of any size."""
        from focalnets.tasks.semantic.large import LargeSegmentation

        if not isinstance(model, SemanticNetwork):
            raise ConfigError("Class maps of images of any size are made by networks of the task semantic.")
        return LargeSegmentation(self, model)

    def row(self, result: Segmentation) -> dict[Column, TableCell]:
        """The class that takes most of the photo, and the others in one cell."""
        (name, fraction), *others = result.fractions.items()
        row: dict[Column, TableCell] = {Column("image"): str(result.path), Column("class"): name}
        row[Column("area", "number", ".1%")] = fraction
        return row | ({Column("then"): ", ".join(f"{name} {value:.1%}" for name, value in others)} if others else {})

    def result_table(self, results: Sequence[Segmentation]) -> tuple[list[str], list[list[Any]]]:
        """A row for each class that a photo shows."""
        rows = [
            [str(result.path), name, result.areas[name], fraction]
            for result in results
            for name, fraction in result.fractions.items()
        ]
        return ["path", "class", "pixels", "fraction"], rows

    def write_results(self, results: Sequence[Segmentation], folder: Path) -> list[str]:
        """Write the class map of each photo as a PNG with a palette, and what its numbers stand for."""
        return write_class_maps(results, folder)

    def draw(self, picture: Image.Image, result: Segmentation) -> Image.Image:
        """Tint the picture by class, with a key of the classes that it shows."""
        colours = class_colours(len(result.class_names))
        shown = [
            (f"{name} {fraction:.0%}", colours[result.class_names.index(name)])
            for name, fraction in result.fractions.items()
        ]
        return with_key(laid_over(picture, result.labels, colours), shown)

    def draw_frame(self, picture: Image.Image, result: Segmentation) -> Image.Image:
        """Tint a frame of a video by class."""
        return laid_over(picture, result.labels, class_colours(len(result.class_names)))

    def evaluation_table(self, evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
        """Return a row for each class."""
        return evaluation.per_class_table()

    def heading(self, evaluation: Evaluation) -> str:
        """Return the title of an evaluation's page."""
        return f"How well it names the pixels of {evaluation.inputs:,} images"

    def facts(self, evaluation: Evaluation) -> list[Fact]:
        """Choose the three means."""
        texts = {
            "miou": "mIoU: intersection over union, mean over the classes",
            "pixel_accuracy": "pixel accuracy: pixels whose class is right",
            "mean_accuracy": "mean accuracy: each class's pixels count the same together",
        }
        return [Fact(f"{evaluation.metrics[name]:.1%}", text) for name, text in texts.items()]

    def write_files(self, report: EvaluationReport, folder: Path) -> list[str]:
        """Write tables of classes and of confusions."""
        return write_evaluation_files(report.evaluation, folder)

    def sections(self, report: EvaluationReport) -> list[Section]:
        """Show class by class, what is taken for what, and the images understood worst."""
        return evaluation_sections(report.evaluation, report.dataset)


def _class_masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Split a map (H, W) into its classes (N,) and the mask of each, (N, H, W) float32."""
    there = labels.unique()
    there = there[there != IGNORED]
    return there, (labels[None] == there[:, None, None]).float()


def _enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
