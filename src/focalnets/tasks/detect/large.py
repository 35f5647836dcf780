"""The objects in an image of any size.

Axes: N detections, S side of their masks.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

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
from focalnets.tasks.detect.results import DetectedObject, Detections
from focalnets.tasks.detect.run_lengths import drawn_in_box, drawn_over_image, encode_part

__all__ = ["LargeDetection"]


@dataclasses.dataclass(frozen=True)
class LargeDetection:
    """How a detector looks at large images, see :class:`focalnets.tasks.large.LargeLook`.

    Attributes:
        network: The detector.
        class_ids: Numbers of its classes in the data that it was trained on.
        shown_from: Least score of objects that the page shows.
    """

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
                mask_data=None
                if each.mask is None
                else encode_part(each.mask.pixels, each.mask.left, each.mask.top, size),
            )
            for each in found
        )
        return Detections(path=Path(source.name), size=size, class_names=tuple(names), objects=objects)

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
