"""What a training config says about finding objects. Imports no torch."""

from __future__ import annotations

import dataclasses
import math

from focalnets.errors import ConfigError
from focalnets.tasks.dense.settings import DenseSettings
from focalnets.tasks.settings import check_choices, check_ranges, check_whole_numbers

__all__ = ["DetectSettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectSettings(DenseSettings):
    """The section ``detect`` of a training config; what is None is taken from the model's row or chosen for the data.

    Attributes:
        head: What finds the objects: rcnn, boxes that are proposed and looked into; rtdetr or dfine, queries that each
            name one, through transformers. None takes that of the model, or rcnn.
        channels: Hidden channels of rtdetr, dfine and mask2former; None takes what suits the backbone.
        queries: Queries of such a head, more than an image has objects; None takes what suits the backbone.
        decoder_layers: Layers of its decoder; None takes what suits the backbone.
        scale_min: Smallest random factor on the size of an image in training.
        scale_max: Largest random factor on the size of an image in training.
        anchor_sizes: Sizes of the anchors of each map, finest first, each the square root of an area [px of the input],
            e.g. "24,48,96,192", or "16+24,32+48" for two sizes on each of two maps. One map more than there are stages
            adds a coarser one. None chooses those that fit the objects best.
        anchor_ratios: Height over width of anchors, e.g. "0.5,1,2"; None chooses those that fit best.
        pyramid_channels: Channels of the maps of the pyramid.
        box_channels: Width of the layers that look into a box.
        proposals: Boxes of an image that are looked into.
        sampled_boxes: Of these, how many an image teaches with in a step.
        normalised: LayerNorm behind the convolutions and layers of the head, for few images.
        frozen_stages: Stages, from the first, that do not learn, with what lies below them.
        padding_masked: Keep batch padding out of every image; false does as published detectors do.
        score_threshold: Lowest score of a detection; None takes 0.05, and 0.001 for heads of queries.
        overlap: Largest intersection over union of two detections of one class.
        detections: Detections of an image at most.
        counted_from: Score from which an evaluation counts what was missed, spurious or found twice.
    """

    head: str | None = None
    channels: int | None = None
    queries: int | None = None
    decoder_layers: int | None = None
    scale_min: float = 0.8
    scale_max: float = 1.25
    anchor_sizes: str | None = None
    anchor_ratios: str | None = None
    pyramid_channels: int | None = None
    box_channels: int | None = None
    proposals: int | None = None
    sampled_boxes: int | None = None
    normalised: bool | None = None
    frozen_stages: int = 0
    padding_masked: bool = True
    score_threshold: float | None = None
    overlap: float = 0.5
    detections: int = 100
    counted_from: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head is not None:
            check_choices(self, {"head": self.heads()})
        if self.score_threshold is not None:
            check_ranges(self, {"score_threshold": (0.0, 1.0, "from 0 to below 1")})
        check_ranges(
            self,
            {
                "overlap": (0.0, 1.0, "above 0 and at most 1"),
                "counted_from": (0.0, 1.0, "from 0 to 1"),
            },
        )
        channels = {"pyramid_channels": 1, "box_channels": 1, "proposals": 1, "sampled_boxes": 4}
        queries = {"channels": 16, "queries": 1, "decoder_layers": 2}
        check_whole_numbers(self, channels | queries, optional=True)
        check_whole_numbers(self, {"frozen_stages": 0, "detections": 1})
        self.sizes()
        self.ratios()

    @staticmethod
    def heads() -> tuple[str, ...]:
        """Return the names of the heads that there are."""
        return ("rcnn", "rtdetr", "dfine")

    def sizes(self) -> tuple[tuple[float, ...], ...] | None:
        """Return the sizes of the anchors of each map; None if they are open.

        Raises:
            ConfigError: If they are no numbers above 0.
        """
        if self.anchor_sizes is None:
            return None
        maps = tuple(tuple(map(_number, level.split("+"))) for level in self.anchor_sizes.split(","))
        if not all(0 < size < math.inf for level in maps for size in level):
            raise ConfigError(f"anchor_sizes must be numbers above 0 such as 24,48,96, got {self.anchor_sizes!r:.80}.")
        return maps

    def ratios(self) -> tuple[float, ...] | None:
        """Return the ratios of the anchors; None if they are open.

        Raises:
            ConfigError: If they are no numbers above 0.
        """
        if self.anchor_ratios is None:
            return None
        ratios = tuple(map(_number, self.anchor_ratios.split(",")))
        if not all(0 < ratio < math.inf for ratio in ratios):
            raise ConfigError(f"anchor_ratios must be numbers above 0 such as 0.5,1,2, got {self.anchor_ratios!r:.80}.")
        return ratios


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
