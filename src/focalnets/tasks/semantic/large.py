"""The class of each pixel of an image of any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.large.labels import ClassMap
from focalnets.large.looking import OnProgress, segment_large
from focalnets.large.overview import write_overview
from focalnets.large.plan import Plan
from focalnets.large.sources import Source
from focalnets.large.writing import write_class_geojson, write_class_tiff
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.semantic import SemanticNetwork
from focalnets.report.overlay import class_colours
from focalnets.tasks.batch import Batch
from focalnets.tasks.semantic.answers import Answer, answer_of_labels
from focalnets.tasks.semantic.results import Segmentation
from focalnets.tasks.task import Task

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["LargeSegmentation"]

_ROWS_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class LargeSegmentation:
    """How a semantic network looks at large images, see :class:`focalnets.tasks.large.LargeLook`.

    Attributes:
        task: What it is for.
        network: The network.
        sureness: Whether the probability of each pixel's class is kept too.
    """

    task: Task
    network: SemanticNetwork
    sureness: bool = False

    @property
    def backbone(self) -> FocalNet:
        """What the head stands on."""
        return self.network.backbone

    @property
    def stages(self) -> tuple[int, ...]:
        """Whose maps the head reads."""
        return self.network.stages

    def output_bytes(self, source: Source) -> int:
        """One number a pixel."""
        of_pixel = (1 if len(self.network.class_names) <= 256 else 2) + self.sureness
        return source.height * source.width * of_pixel

    def look(self, source: Source, plan: Plan, folder: Path | None, on_progress: OnProgress | None) -> ClassMap:
        """Name the class of each pixel."""
        return segment_large(self.network, source, plan, folder=folder, sureness=self.sureness, on_progress=on_progress)

    def result(self, source: Source, found: ClassMap) -> Segmentation:
        """Say how large each class is; the map itself lies in its file."""
        names, counts = self.network.class_names, found.pixels
        ranked = sorted(range(len(names)), key=lambda label: -counts[label])
        areas = {names[label]: counts[label] for label in ranked if counts[label]}
        size = (source.width, source.height)
        return Segmentation(
            path=Path(source.name),
            class_names=names,
            size=size,
            areas=areas,
            packed=b"",
            class_ids=self.network.class_ids,
        )

    def for_measuring(self) -> LargeSegmentation:
        """Keep how sure the network is, too."""
        return dataclasses.replace(self, sureness=True)

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Make the task's metrics."""
        return self.task.metrics(labels)

    def measure(self, metrics: MetricCollection, found: ClassMap, known: AnnotatedImage) -> tuple[Answer, None]:
        """Compare the class map with that of the data, in bands."""
        assert known.semantic is not None, "data for semantic tasks knows the class of each pixel"
        assert found.sureness is not None, "kept for measuring"
        truth = torch.from_numpy(known.semantic)
        self.task.check_targets(Batch(torch.zeros(1), [{"whole": truth}]), self.network.class_names)
        for first in range(0, found.height, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            metrics.update(torch.from_numpy(found.labels[rows].astype(np.int64)), truth[rows])
        return answer_of_labels(found.labels, found.sureness, truth, classes=found.classes), None

    def write(self, source: Source, found: ClassMap, folder: Path, caption: str) -> list[str]:
        """Write the class map as a tiled TIFF, its areas as GeoJSON, and a page to look at it."""
        names, colours = self.network.class_names, class_colours(len(self.network.class_names))
        write_class_tiff(folder / "classes.tif", found, self.network.class_ids)
        write_class_geojson(folder / "classes.geojson", found, names)
        write_overview(folder / "overview.html", source, names, colours, classes=found, caption=caption)
        return ["classes.tif", "classes.geojson", "overview.html"]
