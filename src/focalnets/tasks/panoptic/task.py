"""Finding every object and every kind of ground: each pixel belongs to one of them.

Axes: B batch, Q queries, K classes, h w [tokens], H W height and width of a photo [px].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.data.annotated.images import IGNORED, AnnotatedImage
from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.mask2former import class_scores, query_losses
from focalnets.models.heads.network import DenseNetwork
from focalnets.models.heads.panoptic import PanopticNetwork, build_panoptic
from focalnets.models.heads.widths import usual_widths
from focalnets.report.overlay import class_colours, with_key
from focalnets.report.parts import Column, Fact, Section, TableCell
from focalnets.tasks.batch import Batch
from focalnets.tasks.dense.task import DenseTask
from focalnets.tasks.evaluation import EvaluationReport, Measured
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.panoptic.answers import Answer, answer_of, make_evaluation
from focalnets.tasks.panoptic.metrics import PanopticMetrics
from focalnets.tasks.panoptic.report import (
    drawn_segments,
    evaluation_sections,
    write_evaluation_files,
    write_segment_maps,
)
from focalnets.tasks.panoptic.results import Evaluation, Panoptic
from focalnets.tasks.panoptic.segments import Segments, segments_of_annotation, segments_of_queries
from focalnets.tasks.panoptic.settings import PanopticSettings
from focalnets.tasks.picture_transform import Alter
from focalnets.tasks.semantic.pixels import sampled

if TYPE_CHECKING:
    from PIL import Image
    from torchmetrics import MetricCollection

__all__ = ["PanopticTask"]


class WithSegments:
    """A transform that adds the segments of a photo to what is known of it, at the size of the photo.

    Args:
        inner: The transform of the task.
        stuff: Labels of the kinds of ground.
    """

    def __init__(self, inner: Callable[[tuple[Any, Any], int], tuple[Any, Any]], stuff: frozenset[int]) -> None:
        self.inner, self.stuff = inner, stuff

    def __call__(self, item: tuple[Any, Any], index: int) -> tuple[Any, Any]:
        """Prepare the item of a number."""
        picture, target = self.inner(item, index)
        if isinstance(item[1], AnnotatedImage):
            target["segments"] = segments_of_annotation(item[1], self.stuff)
        return picture, target


@dataclasses.dataclass(frozen=True, kw_only=True)
class PanopticTask(DenseTask):
    """The task of finding every object and every kind of ground.

    Attributes:
        settings: The section ``panoptic`` of a training config.
        threshold: Least confidence of a segment.
        overlap: Fraction of its mask that a segment must keep where others are surer.
        worst: Images that an evaluation keeps, at most.
    """

    name: ClassVar[str] = "panoptic"
    watch: ClassVar[Watch] = Watch("pq")
    metric_labels: ClassVar[dict[str, Metric]] = {
        "pq": Metric("PQ", hub_type="pq", hub_name="Panoptic quality"),
        "sq": Metric("SQ", hub_type="sq", hub_name="Segmentation quality"),
        "rq": Metric("RQ", hub_type="rq", hub_name="Recognition quality"),
        "pq_things": Metric("PQ of objects"),
        "pq_stuff": Metric("PQ of ground"),
    }
    pipeline_tag: ClassVar[str | None] = "image-segmentation"
    limits: ClassVar[str] = "How well single classes are found: `focalnets evaluate`."
    wants_masks: ClassVar[bool] = True
    wants_semantic: ClassVar[bool] = True

    settings: PanopticSettings = dataclasses.field(default_factory=PanopticSettings)
    threshold: float = 0.5
    overlap: float = 0.8
    worst: int = 24

    def __post_init__(self) -> None:
        for name in ("threshold", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {getattr(self, name)}.")
        if self.worst < 0:
            raise ConfigError(f"worst must be a whole number from 0 up, got {self.worst}.")

    # Data

    def opening(self) -> dict[str, Any]:
        """Say whether the first class counts."""
        return {"reduce_zero_label": self.settings.reduce_zero_label}

    def choose_settings(self, data: TrainingData, *, image_size: int | None) -> dict[str, Any]:
        """Choose numbers of classes as the data give them, and take from it which classes are kinds of ground."""
        chosen: dict[str, Any] = dict(self.numbers_of_classes(data))
        if self.settings.stuff is None:
            categories = getattr(data.train, "categories", ())
            chosen["stuff"] = ",".join(str(label) for label, each in enumerate(categories) if not each.thing)
        return chosen

    def transform(
        self, spec: Preprocessing, *, train: bool, alter: Alter | None = None
    ) -> Callable[[tuple[Any, Any], int], tuple[Any, Any]]:
        """Prepare photos with their annotations; in evaluation with the segments of the whole photo."""
        inner = super().transform(spec, train=train, alter=alter)
        return inner if train else WithSegments(inner, self._stuff)

    @property
    def _stuff(self) -> frozenset[int]:
        return frozenset(self.settings.stuff_labels())

    # The network

    def build_dense(self, network: FocalNet, labels: Sequence[str], settings: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone."""
        usual = usual_widths("mask2former", network.config.embed_dim)
        numbers = {name: settings[name] or value for name, value in usual.items()}
        return PanopticNetwork(
            network, labels, stuff=self.settings.stuff_labels(), channels=numbers["channels"],
            queries=numbers["queries"], layers=numbers["decoder_layers"],
            reduce_zero_label=self.settings.reduce_zero_label, class_ids=self.settings.ids(),
        )  # fmt: skip

    def rebuild_dense(self, network: FocalNet, labels: Sequence[str], head: Mapping[str, Any]) -> DenseNetwork:
        """Put the head on a backbone that a file describes."""
        return build_panoptic(network, labels, head)

    def suited_to(self, model: nn.Module) -> PanopticTask:
        """Remember which classes of a network are kinds of ground, and whether the first of its data counts."""
        assert isinstance(model, PanopticNetwork)
        stuff = ",".join(map(str, model.stuff))
        return self.knowing(model.class_ids, stuff=stuff, reduce_zero_label=model.reduce_zero_label)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Compute the output, with ``sizes`` (B, 2): height and width of the part of each mask that shows its image."""
        output = super().forward(model, batch)
        assert isinstance(model, PanopticNetwork)
        return {**output, "sizes": -(-output["input_sizes"] // model.config.strides[0])}

    # Learning and measuring

    def losses(
        self, output: dict[str, Any], batch: Batch, *, train: bool, reduction: Literal["mean", "none"] = "mean"
    ) -> dict[str, Tensor]:
        """Compute the losses of the queries, in evaluation the cross-entropy of the positions of the map."""
        if train:
            size = (batch.inputs.shape[-2], batch.inputs.shape[-1])
            return query_losses(output, [self._objects(target, size) for target in batch.targets])
        losses = []
        for classes, masks, target in self._single(output, batch.targets):
            scores = class_scores(classes[None], masks[None])
            known = torch.from_numpy(target["segments"].classes(IGNORED)).to(scores.device)
            truth = sampled(known, (scores.shape[2], scores.shape[3]))[None]
            counted = (truth != IGNORED).sum().clamp(min=1)
            losses.append(F.cross_entropy(scores, truth, ignore_index=IGNORED, reduction="sum") / counted)
        return {"cross_entropy": torch.stack(losses) if reduction == "none" else torch.stack(losses).mean()}

    def _objects(self, target: Mapping[str, Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Labels (N,) and masks (N, H, W) float32 of the objects and of the kinds of ground, padded with nothing."""
        single = ~target["crowd"]
        semantic = target["semantic"]
        grounds = [label for label in semantic.unique().tolist() if label in self._stuff]
        labels = torch.cat([target["labels"][single], torch.tensor(grounds, device=semantic.device, dtype=torch.int64)])
        masks = torch.cat([target["masks"][single], *((semantic == label)[None] for label in grounds)]).float()
        return labels, F.pad(masks, (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1]))

    @staticmethod
    def _single(output: Mapping[str, Tensor], others: Sequence[Any]) -> list[tuple[Tensor, Tensor, Any]]:
        """Class numbers and masks of each image, without padding, with what belongs to it."""
        sizes = output["sizes"].tolist()
        return [
            (classes, masks[:, :height, :width], other)
            for classes, masks, (height, width), other in zip(
                output["classes"], output["masks"], sizes, others, strict=True
            )
        ]

    def _segments(self, classes: Tensor, masks: Tensor, size: tuple[int, int]) -> Segments:
        return segments_of_queries(
            classes.cpu(), masks.cpu(), size, stuff=self._stuff, threshold=self.threshold, overlap=self.overlap
        )

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Count matching segments over the whole set."""
        from torchmetrics import MetricCollection

        return MetricCollection({"panoptic": PanopticMetrics(len(labels), self._stuff)})

    def measure(self, metrics: MetricCollection, output: dict[str, Any], batch: Batch) -> None:
        """Match the segments of a batch, at the size of the photos."""
        for classes, masks, target in self._single(output, batch.targets):
            truth = target["segments"]
            metrics.update(self._segments(classes, masks, truth.ids.shape), truth)

    def answers(self, output: dict[str, Any], batch: Batch) -> list[Answer]:
        """Keep which segments match, and the segments in small."""
        return [
            answer_of(self._segments(classes, masks, target["segments"].ids.shape), target["segments"])
            for classes, masks, target in self._single(output, batch.targets)
        ]

    def evaluation(self, measured: Measured) -> Evaluation:
        """Put together figures of the whole and of each class, and the images with the surest spurious segments."""
        return make_evaluation(measured, stuff=self._stuff, worst=self.worst)

    # Showing

    def results(
        self, output: dict[str, Any], *, paths: Sequence[Path], sizes: Sequence[tuple[int, int]], labels: Sequence[str]
    ) -> list[Panoptic]:
        """Find the segments of the photos."""
        return [
            Panoptic.of_segments(
                path,
                labels,
                self._segments(classes, masks, (height, width)),
                stuff=self._stuff,
                class_ids=self.settings.ids(),
            )
            for classes, masks, (path, (width, height)) in self._single(output, list(zip(paths, sizes, strict=True)))
        ]

    def row(self, result: Panoptic) -> dict[Column, TableCell]:
        """How many objects there are, and what else the photo shows."""
        things = [each.class_name for each in result.segments if each.is_thing]
        counted = ", ".join(f"{things.count(name)} {name}" for name in dict.fromkeys(things))
        ground = ", ".join(each.class_name for each in result.segments if not each.is_thing)
        return {Column("image"): str(result.path), Column("objects"): counted, Column("ground"): ground}

    def result_table(self, results: Sequence[Panoptic]) -> tuple[list[str], list[list[Any]]]:
        """A row for each segment, and one that is empty for a photo without any."""
        heading = ["path", "segment", "class", "is_thing", "confidence", "pixels", "left", "top", "width", "height"]
        rows: list[list[Any]] = []
        for result in results:
            path = str(result.path)
            found = [
                [path, each.id, each.class_name, each.is_thing, each.score, each.pixels, *each.box]
                for each in result.segments
            ]
            rows += found or [[path, *[None] * (len(heading) - 1)]]
        return heading, rows

    def write_results(self, results: Sequence[Panoptic], folder: Path) -> list[str]:
        """Write the segments in COCO's panoptic format."""
        return write_segment_maps(results, folder)

    def draw(self, picture: Image.Image, result: Panoptic) -> Image.Image:
        """Tint each segment, with a key of the classes."""
        colours = class_colours(len(result.class_names))
        names = list(dict.fromkeys(each.class_name for each in result.segments))
        key = [(name, colours[result.class_names.index(name)]) for name in names]
        return with_key(self.draw_frame(picture, result), key)

    def draw_frame(self, picture: Image.Image, result: Panoptic) -> Image.Image:
        """Tint each segment of a frame of a video."""
        labels = [result.class_names.index(each.class_name) for each in result.segments]
        return drawn_segments(picture, result.ids, labels, class_colours(len(result.class_names)))

    def evaluation_table(self, evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
        """Return a row for each class."""
        return evaluation.per_class_table()

    def heading(self, evaluation: Evaluation) -> str:
        """Return the title of an evaluation's page."""
        return f"How well it finds objects and ground in {evaluation.inputs:,} images"

    def facts(self, evaluation: Evaluation) -> list[Fact]:
        """Choose the qualities."""
        texts = {
            "pq": "PQ: panoptic quality, mean over the classes",
            "sq": "SQ: how well segments that match cover each other",
            "rq": "RQ: how many segments match",
            "pq_things": "PQ of objects",
            "pq_stuff": "PQ of ground",
        }
        return [Fact(f"{evaluation.metrics[name]:.1%}", text) for name, text in texts.items()]

    def write_files(self, report: EvaluationReport, folder: Path) -> list[str]:
        """Write tables of classes and of images."""
        return write_evaluation_files(report.evaluation, folder)

    def sections(self, report: EvaluationReport) -> list[Section]:
        """Show class by class, and the confident errors."""
        return evaluation_sections(report.evaluation, report.dataset)
