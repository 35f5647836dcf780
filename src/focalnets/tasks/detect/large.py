"""The objects in an image of any size.

Axes: N detections, S side of their masks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from focalnets.data.annotated.encoded_masks import EncodedMask
from focalnets.data.annotated.images import AnnotatedImage
from focalnets.large.detect import find_objects
from focalnets.large.looking import OnProgress
from focalnets.large.merging import PartMask, WindowObject
from focalnets.large.overview import write_overview
from focalnets.large.plan import Plan
from focalnets.large.sources import Source
from focalnets.large.windows import Window
from focalnets.large.writing import write_geojson
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.objects import ObjectNetwork
from focalnets.report.overlay import class_colours
from focalnets.tasks.batch import Batch
from focalnets.tasks.detect.answers import Answer
from focalnets.tasks.detect.comparing import known_objects
from focalnets.tasks.detect.results import DetectedObject, Detections
from focalnets.tasks.detect.run_lengths import drawn_in_box, drawn_over_image, encode_part
from focalnets.tasks.task import Task

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["LargeDetection"]

_MOST_OBJECTS = 10_000
"""Objects that are measured in one image at most; COCO's limit of 100 is for photos."""


@dataclasses.dataclass(frozen=True)
class LargeDetection:
    """How a detector looks at large images, see :class:`focalnets.tasks.large.LargeLook`.

    Attributes:
        task: What it is for.
        network: The detector.
        class_ids: Numbers of its classes in the data that it was trained on.
        shown_from: Least score of objects that the page shows.
    """

    task: Task
    network: ObjectNetwork
    class_ids: tuple[int, ...]
    shown_from: float

    @property
    def backbone(self) -> FocalNet:
        """What the head stands on."""
        return self.network.backbone

    @property
    def stages(self) -> tuple[int, ...]:
        """Whose maps the head reads."""
        return self.network.stages

    @property
    def head(self) -> nn.Module:
        """What finds objects in the maps."""
        return self.network.head  # type: ignore[return-value]

    def output_bytes(self, source: Source) -> int:
        """A few numbers an object."""
        return 0

    def look(
        self, source: Source, plan: Plan, folder: Path | None, on_progress: OnProgress | None
    ) -> list[WindowObject]:
        """Find the objects."""
        return find_objects(
            self.backbone,
            self.head,
            self._find,
            source,
            plan,
            self.network.preprocessing,
            stages=self.stages,
            folder=folder,
            on_progress=on_progress,
        )

    def result(self, source: Source, found: list[WindowObject]) -> Detections:
        """Make the typed result."""
        names, size = self.network.class_names, (source.width, source.height)
        objects = tuple(
            DetectedObject(
                class_name=names[each.label],
                class_index=each.label,
                class_id=self.class_ids[each.label],
                score=each.score,
                box=each.box,
                mask_data=_encoded(each, size),
            )
            for each in found
        )
        return Detections(path=Path(source.name), size=size, class_names=tuple(names), objects=objects)

    def for_measuring(self) -> LargeDetection:
        """Keep nothing more."""
        return self

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Make the task's metrics, for as many objects as a large image may show."""
        settings = dataclasses.replace(self.task.settings, detections=_MOST_OBJECTS)
        return dataclasses.replace(self.task, settings=settings).metrics(labels)

    def measure(
        self, metrics: MetricCollection, found: list[WindowObject], known: AnnotatedImage
    ) -> tuple[Answer, None]:
        """Compare the objects with those of the data."""
        self.task.check_targets(Batch(torch.zeros(1), [{"labels": known.labels}]), self.network.class_names)
        width, height = known.size
        masks = self.network.head_config.masks
        target = {"objects": tuple(known.objects), "size": torch.tensor([height, width])}
        detected = {
            "boxes": torch.tensor([each.box for each in found], dtype=torch.float32).reshape(-1, 4),
            "scores": torch.tensor([each.score for each in found], dtype=torch.float32),
            "labels": torch.tensor([each.label for each in found], dtype=torch.int64),
            "masks": [_encoded(each, (width, height)) for each in found] if masks else [],
        }
        there = known_objects(target, masks=masks)
        metrics.update([detected], [there])
        return Answer.of(detected, there), None

    def write(self, source: Source, found: list[WindowObject], folder: Path, caption: str) -> list[str]:
        """Write the objects as GeoJSON, and a page to look at them."""
        names = self.network.class_names
        write_geojson(folder / "objects.geojson", found, names)
        shown = [each for each in found if each.score >= self.shown_from]
        colours = class_colours(len(names))
        write_overview(folder / "overview.html", source, names, colours, objects=shown, caption=caption)
        return ["objects.geojson", "overview.html"]

    @torch.inference_mode()
    def _find(self, maps: list[Tensor], window: Window) -> list[WindowObject]:
        device = next(self.network.parameters()).device
        (found,) = self.network.find([features.to(device) for features in maps], [window.size])["detections"]
        found = {name: values.float().cpu() if name != "labels" else values.cpu() for name, values in found.items()}
        name = "whole_masks" if "whole_masks" in found else "masks"
        masks = found.get(name, [None] * len(found["labels"]))
        objects = []
        for box, score, label, mask in zip(found["boxes"], found["scores"], found["labels"], masks, strict=True):
            left, top, right, bottom = box.tolist()
            moved = (left + window.left, top + window.top, right + window.left, bottom + window.top)
            part = None if mask is None else self._part(mask, box, window, whole=name == "whole_masks")
            objects.append(WindowObject(window, int(label), float(score), moved, part))
        return objects

    def _part(self, likelihoods: Tensor, box: Tensor, window: Window, *, whole: bool) -> PartMask:
        """Draw a mask in its box of a window, or one of the whole window, as the part of the image that it covers."""
        height, width = window.size
        if whole:
            stride = self.backbone.config.strides[0]
            covered = torch.tensor([0, 0, likelihoods.shape[1] * stride, likelihoods.shape[0] * stride])
            drawn = drawn_over_image(likelihoods, covered, (width, height)).decode()
        else:
            drawn = drawn_in_box(likelihoods, box, (width, height)).decode()
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        if not len(rows):
            return PartMask(window.left, window.top, np.zeros((0, 0), bool))
        pixels = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return PartMask(window.left + int(columns[0]), window.top + int(rows[0]), pixels)


def _encoded(each: WindowObject, size: tuple[int, int]) -> EncodedMask | None:
    """Encode the mask of an object in an image of a width and height."""
    return None if each.mask is None else encode_part(each.mask.pixels, each.mask.left, each.mask.top, size)
