"""What a detector on a FocalNet is made of. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from focalnets.errors import ConfigError
from focalnets.models.fields import checked_keys, is_finite, is_number, shortened

__all__ = ["PUBLISHED_RATIOS", "DetectorConfig"]

PUBLISHED_RATIOS = (0.5, 1.0, 2.0)

_MOST_CHANNELS = 8192
_MOST_BOXES = 100_000
_LARGEST_PX = 1e5

_WHOLE = {
    "outputs": _MOST_BOXES,
    "pyramid_channels": _MOST_CHANNELS,
    "box_channels": _MOST_CHANNELS,
    "mask_channels": _MOST_CHANNELS,
    "mask_layers": 64,
    "sampled_anchors": _MOST_BOXES,
    "sampled_boxes": _MOST_BOXES,
    "detections": _MOST_BOXES,
}
_FRACTIONS = ("proposal_overlap", "score_threshold", "overlap")
_SWITCHES = ("masks", "normalised", "padding_masked")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The complete description of a Faster or Mask R-CNN on a FocalNet; defaults are those of the published configs.

    Pairs hold one value for use and one for training. Lengths are pixels of the input.

    Attributes:
        outputs: Classes of objects, without background.
        stages: Stages of the backbone whose maps are used, one after the other.
        pyramid_channels: Channels of the maps of the pyramid.
        anchor_sizes: Sizes of the anchors of each map, each the square root of an area [px]. One map more than
            ``stages`` adds a coarser one, which proposes and is not looked into.
        anchor_ratios: Height over width of anchors.
        candidates: Boxes of each map that are considered, the likeliest.
        proposals: Boxes of an image that are looked into.
        proposal_overlap: Largest intersection over union of two proposals of one map.
        box_channels: Width of the two layers that look into a box.
        box_deviations: Standard deviations that differences of boxes are divided by: x, y, width, height.
        masks: Whether objects get masks.
        mask_channels: Channels of the layers that draw masks.
        mask_layers: Convolutions before a mask is made larger.
        normalised: LayerNorm behind the convolutions of the pyramid and of the heads, for training on few images.
        padding_masked: Keep batch padding out of every image, so that it gets what it gets alone. False does as
            published detectors do, whose figures hold for that.
        sampled_anchors: Anchors of an image that are learnt from in a step.
        sampled_boxes: Proposals of an image that are learnt from in a step.
        score_threshold: Lowest score of a detection.
        overlap: Largest intersection over union of two detections of one class.
        detections: Detections of an image at most.
        class_ids: Number of each class in the data, which results are written with; None counts from 1.
    """

    kind: ClassVar[str] = "rcnn"

    outputs: int
    stages: tuple[int, ...] = (0, 1, 2, 3)
    pyramid_channels: int = 256
    anchor_sizes: tuple[tuple[float, ...], ...] = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    anchor_ratios: tuple[float, ...] = PUBLISHED_RATIOS
    candidates: tuple[int, int] = (1000, 2000)
    proposals: tuple[int, int] = (1000, 1000)
    proposal_overlap: float = 0.7
    box_channels: int = 1024
    box_deviations: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    masks: bool = False
    mask_channels: int = 256
    mask_layers: int = 4
    normalised: bool = False
    padding_masked: bool = True
    sampled_anchors: int = 256
    sampled_boxes: int = 512
    score_threshold: float = 0.05
    overlap: float = 0.5
    detections: int = 100
    class_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name, most in _WHOLE.items():
            self._check_whole(name, getattr(self, name), most)
        for name in _FRACTIONS:
            self._check_number(name, getattr(self, name), 1.0, zero=name == "score_threshold")
        for name in _SWITCHES:
            if type(getattr(self, name)) is not bool:
                raise ConfigError(f"{name} must be true or false, got {shortened(getattr(self, name))}.")
        for name, length in (("anchor_ratios", None), ("box_deviations", 4), ("candidates", 2), ("proposals", 2),
                             ("stages", None), ("anchor_sizes", None)):  # fmt: skip
            self._take_tuple(name, length)
        for name in ("anchor_ratios", "box_deviations"):
            for value in getattr(self, name):
                self._check_number(name, value, _LARGEST_PX)
        for name in ("candidates", "proposals"):
            for value in getattr(self, name):
                self._check_whole(name, value, _MOST_BOXES)
        first = self.stages[0]
        if type(first) is not int or first < 0 or list(self.stages) != list(range(first, first + len(self.stages))):
            raise ConfigError(f"stages must be whole numbers one after the other, got {shortened(self.stages)}.")
        self._check_anchor_sizes()
        if self.class_ids is not None:
            self._check_class_ids(self.class_ids)

    def _check_class_ids(self, numbers: Any) -> None:
        fits = isinstance(numbers, list | tuple) and len(numbers) == self.outputs
        if not fits or not all(type(number) is int and 0 <= number < 2**53 for number in numbers):
            raise ConfigError(f"class_ids must be a whole number for each class, got {shortened(numbers)}.")
        object.__setattr__(self, "class_ids", tuple(numbers))

    def _check_anchor_sizes(self) -> None:
        sizes = self.anchor_sizes
        if not all(isinstance(level, list | tuple) and level for level in sizes):
            raise ConfigError(f"anchor_sizes must hold a list of sizes for each map, got {shortened(sizes)}.")
        if len(sizes) not in (len(self.stages), len(self.stages) + 1) or len({len(level) for level in sizes}) > 1:
            raise ConfigError(
                f"anchor_sizes needs as many sizes for each of the {len(self.stages)} stages, and may have one map "
                f"more; got {shortened(sizes)}."
            )
        if len(sizes[0]) > 64:
            raise ConfigError(f"anchor_sizes may have at most 64 sizes for a map, got {len(sizes[0])}.")
        for level in sizes:
            for value in level:
                self._check_number("anchor_sizes", value, _LARGEST_PX)
        object.__setattr__(self, "anchor_sizes", tuple(tuple(map(float, level)) for level in sizes))

    def _take_tuple(self, name: str, length: int | None) -> None:
        value = getattr(self, name)
        if not isinstance(value, list | tuple) or not value or (length is not None and len(value) != length):
            count = "at least one entry" if length is None else f"{length} entries"
            raise ConfigError(f"{name} must be a list of {count}, got {shortened(value)}.")
        if len(value) > 64:
            raise ConfigError(f"{name} may have at most 64 entries, got {len(value)}.")
        object.__setattr__(self, name, tuple(value))

    @staticmethod
    def _check_whole(name: str, value: Any, most: int) -> None:
        if type(value) is not int or not 1 <= value <= most:
            raise ConfigError(f"{name} must be a whole number from 1 to {most:,}, got {shortened(value)}.")

    @staticmethod
    def _check_number(name: str, value: Any, most: float, *, zero: bool = False) -> None:
        fits = is_number(value) and is_finite(value)
        if not fits or not (0 <= value <= most if zero else 0 < value <= most):
            low = "from 0 to" if zero else "above 0 and at most"
            raise ConfigError(f"{name} must be {low} {most:g}, got {shortened(value)}.")

    @property
    def coarser(self) -> int:
        """Maps that are added to those of the stages."""
        return len(self.anchor_sizes) - len(self.stages)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Number of each class in the data."""
        return tuple(range(1, self.outputs + 1)) if self.class_ids is None else self.class_ids

    def replace(self, **changes: Any) -> DetectorConfig:
        """Copy the config with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Write plain values that survive JSON, with the kind of head."""
        return {
            "kind": self.kind,
            **{key: _plain(value) for key, value in dataclasses.asdict(self).items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorConfig:
        """Build from plain values; ``kind`` may be left out.

        Raises:
            ConfigError: If a key is missing or unknown, a value out of range, or the kind another one.
        """
        kind = values.get("kind", cls.kind) if isinstance(values, Mapping) else cls.kind
        if kind != cls.kind:
            raise ConfigError(f"a detector has a head of kind {cls.kind}, got {shortened(kind)}.")
        fields = checked_keys(cls, values)
        if "outputs" not in fields:
            raise ConfigError("the head of a detector lacks outputs, the number of its classes.")
        return cls(**fields)


def _plain(value: Any) -> Any:
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
