"""Finding objects: where they are in a photo, and what they are.

Axes: B batch, N detections, M objects, K classes, H W height and width of a photo [px]. A box is left, top, right,
bottom.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from focalnets.data.checks.anchors import choose_image_size, object_sizes, propose_anchors
from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError, DataError
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.network import DenseNetwork, valid_sizes
from focalnets.models.heads.objects import ObjectNetwork
from focalnets.report.parts import Column, Fact, Section, TableCell
from focalnets.tasks.batch import Batch
from focalnets.tasks.dense.task import DenseTask
from focalnets.tasks.detect.answers import Answer, make_evaluation
from focalnets.tasks.detect.comparing import WithObjects, found_objects, known_objects
from focalnets.tasks.detect.drawing import draw_objects
from focalnets.tasks.detect.matching import ObjectCounts
from focalnets.tasks.detect.metrics import AveragePrecision
from focalnets.tasks.detect.networks import build_from_settings, described_network, stages_of
from focalnets.tasks.detect.report import evaluation_sections, write_coco_results, write_evaluation_files
from focalnets.tasks.detect.results import DetectedObject, Detections, Evaluation
from focalnets.tasks.detect.settings import DetectSettings
from focalnets.tasks.evaluation import EvaluationReport, Measured, loss_in_words, size_in_words
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.picture_transform import Alter

if TYPE_CHECKING:
    from PIL import Image
    from torchmetrics import MetricCollection

    from focalnets.tasks.detect.large import LargeDetection

__all__ = ["Detect"]

_USUAL_SIZE_PX = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detect(DenseTask):
    """The task of finding objects.

    Attributes:
        settings: The section ``detect`` of a training config.
        shown_from: Score from which objects are drawn and named in tables; files hold all that the network returns.
        worst: Confident errors that an evaluation keeps, at most.
    """

    name: ClassVar[str] = "detect"
    watch: ClassVar[Watch] = Watch("map")
    metric_labels: ClassVar[dict[str, Metric]] = {
        "map": Metric("AP", hub_type="mean_average_precision", hub_name="AP"),
        "map50": Metric("AP50", hub_type="mean_average_precision", hub_name="AP at overlap 0.5"),
        "map75": Metric("AP75", hub_type="mean_average_precision", hub_name="AP at overlap 0.75"),
    }
    pipeline_tag: ClassVar[str | None] = "object-detection"
    limits: ClassVar[str] = (
        "Objects that cover each other or span few pixels are missed first. How well single classes are found: "
        "`focalnets evaluate`."
    )
    optional_files: ClassVar[tuple[str, ...]] = ()
    multiple: ClassVar[int] = 32
    first_class_id: ClassVar[int] = 1

    settings: DetectSettings = dataclasses.field(default_factory=DetectSettings)
    shown_from: float = 0.5
    worst: int = 24

    def __post_init__(self) -> None:
        if not 0 <= self.shown_from <= 1:
            raise ConfigError(f"shown_from must be a score from 0 to 1, got {self.shown_from}.")
        if self.worst < 0:
            raise ConfigError(f"worst must be a whole number from 0 up, got {self.worst}.")

    def recipe_in_words(self) -> str:
        """Describe how images are changed."""
        return self.settings.changes_in_words()

    # Data

    def transform(
        self, spec: Preprocessing, *, train: bool, alter: Alter | None = None
    ) -> Callable[[tuple[Any, Any], int], tuple[Any, Any]]:
        """Resize and normalise whole images; in evaluation the objects come along as the data state them."""
        prepare = super().transform(spec, train=train, alter=alter)
        return prepare if train else WithObjects(prepare)

    def choose_settings(self, data: TrainingData, *, image_size: int | None) -> dict[str, Any]:
        """Choose numbers of classes as the data give them, and size of images and anchors that fit the objects."""
        settings = self.settings
        chosen: dict[str, Any] = dict(self.numbers_of_classes(data))
        open_settings = self.chosen()
        anchors = open_settings["head"] in (None, "rcnn")
        if open_settings["anchor_sizes"] is not None or (not anchors and image_size is not None):
            return chosen
        objects = object_sizes(data.train)
        if not len(objects.boxes):
            raise DataError(f"{data.description} shows no object to train on; expected at least one.")
        spec = self.input_of(Preprocessing(input_size_px=_USUAL_SIZE_PX), open_settings)
        if not anchors:
            return {**chosen, "image_size": choose_image_size(objects, spec.input_size_px, side=spec.side)}
        stages = stages_of(settings, open_settings)
        proposal = propose_anchors(
            objects, spec, image_size=image_size, stages=stages, fixed_stages=settings.stages is not None
        )
        if image_size is None:
            chosen["image_size"] = proposal.image_size_px
        if proposal.stages is not None and proposal.stages != stages:
            chosen["stages"] = ",".join(map(str, proposal.stages))
        chosen["anchor_sizes"] = ",".join(f"{size:g}" for size in proposal.sizes_px)
        if open_settings["anchor_ratios"] is None:
            chosen["anchor_ratios"] = ",".join(f"{ratio:.3g}" for ratio in proposal.ratios)
        return chosen

    # The network

    def build_dense(self, network: FocalNet, labels: Sequence[str], settings: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone."""
        module = build_from_settings(self.settings, settings, network, labels, masks=self.wants_masks)
        self._freeze(module)
        return module

    def _freeze(self, module: ObjectNetwork) -> None:
        frozen = self.settings.frozen_stages
        if frozen:
            for part in (module.backbone.stem, *module.backbone.stages[:frozen]):
                part.requires_grad_(False)

    def adopt(self, module: nn.Module, labels: Sequence[str]) -> nn.Module:
        """Take a detector that was trained before, see :meth:`DenseTask.adopt`."""
        adopted = super().adopt(module, labels)
        assert isinstance(adopted, ObjectNetwork)
        self._freeze(adopted)
        return adopted

    def rebuild_dense(self, network: FocalNet, labels: Sequence[str], head: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone that a file describes."""
        return described_network(network, labels, head, masks=self.wants_masks)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Compute the network's output, with ``input_sizes`` (B, 2), height and width of each image [px].

        ``stride`` is how many pixels of the input lie between the places of masks that cover whole images.
        """
        assert isinstance(model, ObjectNetwork)
        inputs = batch.inputs.contiguous(memory_format=torch.channels_last)
        known = model.training or all("objects" in target for target in batch.targets)
        output = model(inputs, batch.mask, batch.targets if known else None)
        sizes = valid_sizes(batch.inputs, batch.mask)
        numbers, stride = model.head_config.numbers, model.config.strides[0]
        return {**output, "input_sizes": sizes, "class_ids": numbers, "stride": stride}

    # Learning and measuring

    def losses(
        self, output: dict[str, Any], batch: Batch, *, train: bool, reduction: Literal["mean", "none"] = "mean"
    ) -> dict[str, Tensor]:
        """Average what was judged: in training over the batch, else over each image."""
        losses = {}
        for name, judged in output["losses"].items():
            total, count = judged["sum"], judged["count"]
            if train:
                losses[name] = total.sum() / count.sum().clamp(min=1)
            else:
                single = total / count.clamp(min=1)
                losses[name] = single if reduction == "none" else single.mean()
        return losses

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Measure average precision as COCO does, and count what was missed, spurious or found twice."""
        from torchmetrics import MetricCollection

        precision = AveragePrecision(masks=self.wants_masks, detections=self.settings.detections)
        counts = ObjectCounts(len(labels), self.settings.counted_from)
        return MetricCollection({"precision": precision, "counts": counts}, compute_groups=False)

    def check_targets(self, batch: Batch, labels: Sequence[str]) -> None:
        """Refuse labels that are no class of the network."""
        for target in batch.targets:
            known = target["labels"]
            if len(known) and (int(known.max()) >= len(labels) or int(known.min()) < 0):
                raise DataError(f"The images have class {int(known.max())} but the network has {len(labels)} classes.")

    def measure(self, metrics: MetricCollection, output: dict[str, Any], batch: Batch) -> None:
        """Compare detections with objects, in pixels of the photos."""
        found = found_objects(output, [target["size"].tolist()[::-1] for target in batch.targets])
        metrics.update(found, [known_objects(target, masks=self.wants_masks) for target in batch.targets])

    def answers(self, output: dict[str, Any], batch: Batch) -> list[Answer]:
        """Keep boxes of each image, detected and true, in pixels of the photo."""
        found = found_objects(output, [target["size"].tolist()[::-1] for target in batch.targets], masks=False)
        known = [known_objects(target, masks=self.wants_masks, drawn=False) for target in batch.targets]
        return [Answer.of(*each) for each in zip(found, known, strict=True)]

    def evaluation(self, measured: Measured) -> Evaluation:
        """Put together average precision of all and of each class, counts and confident errors."""
        return make_evaluation(measured, counted_from=self.settings.counted_from, worst=self.worst)

    # Showing

    def results(
        self, output: dict[str, Any], *, paths: Sequence[Path], sizes: Sequence[tuple[int, int]], labels: Sequence[str]
    ) -> list[Detections]:
        """Make typed results, in pixels of the photos."""
        numbers = output["class_ids"]
        results = []
        for found, path, size in zip(found_objects(output, sizes), paths, sizes, strict=True):
            masks = found.get("masks", [None] * len(found["labels"]))
            columns = (found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), masks)
            things = tuple(
                DetectedObject(
                    class_name=labels[label],
                    class_index=label,
                    class_id=numbers[label],
                    score=score,
                    box=tuple(box),
                    mask_data=mask,
                )
                for label, score, box, mask in zip(*columns, strict=True)
            )
            results.append(Detections(path=path, size=(size[0], size[1]), class_names=tuple(labels), objects=things))
        return results

    def large(self, model: nn.Module) -> LargeDetection:
        """Find objects in images of any size."""
        from focalnets.tasks.detect.large import LargeDetection

        if not isinstance(model, ObjectNetwork):
            raise ConfigError(f"Objects in images of any size are found by networks of the task {self.name}.")
        return LargeDetection(self, model, tuple(model.head_config.numbers), self.shown_from)

    def row(self, result: Detections) -> dict[Column, TableCell]:
        """How many objects of which classes there are, and how sure the network is of the surest."""
        shown = result.above(self.shown_from)
        words = ", ".join(f"{count} {name}" for name, count in shown.counts.items()) or "nothing"
        row: dict[Column, TableCell] = {Column("image"): str(result.path), Column("objects"): words}
        row[Column("surest", "number", ".1%")] = result.objects[0].score if result.objects else None
        return row

    def result_table(self, results: Sequence[Detections]) -> tuple[list[str], list[list[Any]]]:
        """A row for each object; a photo without any has one that is empty."""
        heading = ["path", "class", "class_id", "score", "left", "top", "right", "bottom", "area_px"]
        rows: list[list[Any]] = []
        for result in results:
            rows += [
                [str(result.path), thing.class_name, thing.class_id, thing.score, *thing.box, thing.area_px]
                for thing in result.objects
            ] or [[str(result.path), *[None] * (len(heading) - 1)]]
        return heading, rows

    def write_results(self, results: Sequence[Detections], folder: Path) -> list[str]:
        """Write the objects as COCO's tools read results."""
        return write_coco_results(results, folder)

    def draw(self, picture: Image.Image, result: Detections) -> Image.Image:
        """Draw the objects from the score ``shown_from`` on."""
        return draw_objects(picture, result.above(self.shown_from).objects, len(result.class_names))

    def summary(self, evaluation: Evaluation) -> list[str]:
        """Tell average precision, also by size, and what was missed."""
        figures = evaluation.metrics
        loss, size = loss_in_words(evaluation.loss), size_in_words(evaluation.preprocessing)
        shown = [f"{metric.label} {figures[name]:.2%}" for name, metric in self.metric_labels.items()]
        sizes = ", ".join(f"{name} {figures[f'map_{name}']:.1%}" for name in ("small", "medium", "large"))
        return [
            f"{', '.join(shown)} ({sizes}){loss} on {evaluation.inputs:,} images with {evaluation.objects:,} objects "
            f"{size}",
            f"from score {evaluation.counted_from:g} on: {figures['missed']:,.0f} missed, {figures['spurious']:,.0f} "
            f"spurious, {figures['doubled']:,.0f} found twice",
        ]

    def evaluation_table(self, evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
        """Return a row for each class."""
        return evaluation.per_class_table()

    def heading(self, evaluation: Evaluation) -> str:
        """Return the title of an evaluation's page."""
        return f"How well it finds the objects of {evaluation.inputs:,} images"

    def facts(self, evaluation: Evaluation) -> list[Fact]:
        """Choose average precision, and what was missed and made up."""
        figures = evaluation.metrics
        facts = [Fact(metric.format(figures[name]), metric.label) for name, metric in self.metric_labels.items()]
        above = f"from score {evaluation.counted_from:g} on"
        return [
            *facts,
            Fact(f"{figures['missed']:,.0f} of {evaluation.objects:,}", f"objects missed, {above}"),
            Fact(f"{figures['spurious']:,.0f}", f"spurious detections, {above}"),
        ]

    def write_files(self, report: EvaluationReport, folder: Path) -> list[str]:
        """Write tables of classes and of confident errors."""
        return write_evaluation_files(report.evaluation, folder)

    def sections(self, report: EvaluationReport) -> list[Section]:
        """Show class by class, sizes of objects, and confident errors."""
        return evaluation_sections(report.evaluation, report.dataset)
