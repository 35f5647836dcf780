"""The class of each pixel of an image of any size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from focalnets.large.labels import ClassMap
from focalnets.large.looking import OnProgress, segment_large
from focalnets.large.overview import write_overview
from focalnets.large.plan import Plan
from focalnets.large.sources import Source
from focalnets.large.writing import write_class_geojson, write_class_tiff
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.semantic import SemanticNetwork
from focalnets.report.overlay import class_colours
from focalnets.tasks.semantic.results import Segmentation

__all__ = ["LargeSegmentation"]


@dataclasses.dataclass(frozen=True)
class LargeSegmentation:
    """How a semantic network looks at large images, see :class:`focalnets.tasks.large.LargeLook`."""

    network: SemanticNetwork

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
        return source.height * source.width * (1 if len(self.network.class_names) <= 256 else 2)

    def look(self, source: Source, plan: Plan, folder: Path | None, on_progress: OnProgress | None) -> ClassMap:
        """Name the class of each pixel."""
        return segment_large(self.network, source, plan, folder=folder, on_progress=on_progress)

    def result(self, source: Source, found: ClassMap) -> Segmentation:
        """Say how large each class is; the map itself lies in its file."""
        names, counts = self.network.class_names, found.pixels
        ranked = sorted(range(len(names)), key=lambda label: -counts[label])
        areas = {names[label]: counts[label] for label in ranked if counts[label]}
        size = (source.width, source.height)
        return Segmentation(path=Path(source.name), class_names=names, size=size, areas=areas, packed=b"")

    def write(self, source: Source, found: ClassMap, folder: Path, caption: str) -> list[str]:
        """Write the class map as a tiled TIFF, its areas as GeoJSON, and a page to look at it."""
        names, colours = self.network.class_names, class_colours(len(self.network.class_names))
        write_class_tiff(folder / "classes.tif", found, [tuple(colour) for colour in colours.tolist()])
        write_class_geojson(folder / "classes.geojson", found, names)
        write_overview(folder / "overview.html", source, names, colours, classes=found, caption=caption)
        return ["classes.tif", "classes.geojson", "overview.html"]
