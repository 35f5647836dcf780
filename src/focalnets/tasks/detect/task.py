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

from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError, DataError
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector import Detector
from focalnets.models.heads.detector_config import PUBLISHED_RATIOS, DetectorConfig
from focalnets.models.heads.network import DenseNetwork, valid_sizes
from focalnets.report.parts import Column, Fact, Section, TableCell
from focalnets.tasks.batch import Batch
from focalnets.tasks.dense.task import DenseTask
from focalnets.tasks.detect.answers import Answer, make_evaluation
from focalnets.tasks.detect.choosing import choose_anchors, choose_image_size, need_finest_map, object_sizes
from focalnets.tasks.detect.comparing import WithObjects, found_objects, known_objects
from focalnets.tasks.detect.drawing import draw_objects
from focalnets.tasks.detect.matching import ObjectCounts
from focalnets.tasks.detect.metrics import AveragePrecision
from focalnets.tasks.detect.report import evaluation_sections, write_coco_results, write_evaluation_files
from focalnets.tasks.detect.results import DetectedObject, Detections, Evaluation
from focalnets.tasks.detect.settings import DetectSettings
from focalnets.tasks.evaluation import EvaluationReport, Measured
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.picture_transform import Alter

if TYPE_CHECKING:
    from PIL import Image
    from torchmetrics import MetricCollection

    from focalnets.tasks.detect.large import LargeDetection

__all__ = ["Detect"]

_SMALL_HEAD = {"pyramid_channels": 96, "box_channels": 256, "proposals": 300, "sampled_boxes": 128}
_PUBLISHED_HEAD = {"pyramid_channels": 256, "box_channels": 1024, "proposals": 1000, "sampled_boxes": 512}
_LARGE_EMBED_DIM = 64
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
    usual_network: ClassVar[str] = "fasterrcnn_focalnet_pico"

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
        chosen: dict[str, Any] = {}
        numbers = [category.id for category in getattr(data.train, "categories", ())]
        usable = all(type(number) is int and number >= 0 for number in numbers) and len(set(numbers)) == len(numbers)
        if settings.class_ids is None and usable and numbers != list(range(1, len(numbers) + 1)):
            chosen["class_ids"] = ",".join(map(str, numbers))
        open_settings = self.chosen()
        if open_settings["anchor_sizes"] is not None:
            return chosen
        objects = object_sizes(data.train)
        if not len(objects.boxes):
            raise DataError(f"{data.description} shows no object to train on; expected at least one.")
        spec = self.input_of(Preprocessing(input_size_px=_USUAL_SIZE_PX), open_settings)
        if image_size is None:
            image_size = choose_image_size(objects, spec.input_size_px, side=spec.side)
            chosen["image_size"] = image_size
        seen = objects.as_seen(dataclasses.replace(spec, input_size_px=image_size))
        stages = self.stages(open_settings)
        if settings.stages is None and stages is not None and 0 not in stages and need_finest_map(seen, objects.labels):
            stages = tuple(range(stages[-1] + 1))
            chosen["stages"] = ",".join(map(str, stages))
        sizes, ratios = choose_anchors(seen, objects.weights(), (4 if stages is None else len(stages)) + 1)
        chosen["anchor_sizes"] = ",".join(f"{size:g}" for size in sizes)
        if open_settings["anchor_ratios"] is None:
            chosen["anchor_ratios"] = ",".join(f"{ratio:.3g}" for ratio in ratios)
        return chosen

    # The network

    def stages(self, settings: Mapping[str, Any]) -> tuple[int, ...] | None:
        """Stages whose maps the head reads, by the settings with the row's; None for all."""
        return dataclasses.replace(self.settings, stages=settings["stages"]).stage_numbers()

    def build_dense(self, network: FocalNet, labels: Sequence[str], settings: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone."""
        usual = _SMALL_HEAD if network.config.embed_dim < _LARGE_EMBED_DIM else _PUBLISHED_HEAD
        values = {name: usual[name] if settings[name] is None else settings[name] for name in usual}
        stages = self.stages(settings) or tuple(range(len(network.config.depths)))
        strides = [network.config.strides[stage] for stage in stages if stage < len(network.config.depths)]
        known = dataclasses.replace(
            self.settings, anchor_sizes=settings["anchor_sizes"], anchor_ratios=settings["anchor_ratios"]
        )
        proposals = values["proposals"]
        config = DetectorConfig(
            outputs=len(labels),
            stages=stages,
            pyramid_channels=values["pyramid_channels"],
            anchor_sizes=known.sizes() or tuple((8.0 * stride,) for stride in (*strides, 2 * strides[-1])),
            anchor_ratios=known.ratios() or PUBLISHED_RATIOS,
            candidates=(proposals, 2 * proposals),
            proposals=(proposals, proposals),
            box_channels=values["box_channels"],
            normalised=bool(settings["normalised"]),
            sampled_boxes=values["sampled_boxes"],
            padding_masked=self.settings.padding_masked,
            score_threshold=self.settings.score_threshold,
            overlap=self.settings.overlap,
            detections=self.settings.detections,
            class_ids=self.settings.ids(),
            **self.mask_fields(settings, small=usual is _SMALL_HEAD),
        )
        module = Detector(network, config, labels)
        self._freeze(module)
        return module

    def mask_fields(self, settings: Mapping[str, Any], *, small: bool) -> dict[str, Any]:
        """Choose the fields of the detector's config that belong to masks."""
        return {}

    def _freeze(self, module: Detector) -> None:
        frozen = self.settings.frozen_stages
        if frozen:
            for part in (module.backbone.stem, *module.backbone.stages[:frozen]):
                part.requires_grad_(False)

    def adopt(self, module: nn.Module, labels: Sequence[str]) -> nn.Module:
        """Take a detector that was trained before, see :meth:`DenseTask.adopt`."""
        adopted = super().adopt(module, labels)
        assert isinstance(adopted, Detector)
        self._freeze(adopted)
        return adopted

    def rebuild_dense(self, network: FocalNet, labels: Sequence[str], head: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone that a file describes."""
        config = DetectorConfig.from_dict(head)
        if config.masks != self.wants_masks:
            raise ConfigError(f"the head of a network for {self.name} draws {'' if self.wants_masks else 'no '}masks.")
        return Detector(network, config, tuple(labels) or tuple(f"class {index}" for index in range(config.outputs)))

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Compute the network's output, with ``input_sizes`` (B, 2), height and width of each image [px]."""
        assert isinstance(model, Detector)
        inputs = batch.inputs.contiguous(memory_format=torch.channels_last)
        known = model.training or all("objects" in target for target in batch.targets)
        output = model(inputs, batch.mask, batch.targets if known else None)
        sizes = valid_sizes(batch.inputs, batch.mask)
        return {**output, "input_sizes": sizes, "class_ids": model.head_config.numbers}

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

        if not isinstance(model, Detector):
            raise ConfigError(f"Objects in images of any size are found by networks of the task {self.name}.")
        return LargeDetection(model, tuple(model.head_config.numbers), self.shown_from)

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
        figures, size = evaluation.metrics, evaluation.preprocessing["input_size_px"]
        shown = [f"{metric.label} {figures[name]:.2%}" for name, metric in self.metric_labels.items()]
        sizes = ", ".join(f"{name} {figures[f'map_{name}']:.1%}" for name in ("small", "medium", "large"))
        return [
            f"{', '.join(shown)} ({sizes}), loss {evaluation.loss:.4f} on {evaluation.inputs:,} images with "
            f"{evaluation.objects:,} objects at {size} px",
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
