"""What a training config says about any task that answers for places in an image. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

from focalnets.errors import ConfigError
from focalnets.models.input_specs import Side
from focalnets.tasks.settings import Range, check_choices, check_ranges, check_types, check_whole_numbers

__all__ = ["DenseSettings"]

_RANGES: dict[str, Range] = {
    "scale_min": (0.0, 10.0, "above 0 and at most 10"),
    "scale_max": (0.0, 10.0, "above 0 and at most 10"),
    "horizontal_flip": (0.0, 1.0, "from 0 to 1"),
    "vertical_flip": (0.0, 1.0, "from 0 to 1"),
    "colour_jitter": (0.0, 1.0, "from 0 to 1"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseSettings:
    """Settings of images, alike for all dense tasks; image_size of the config is the side that ``side`` names.

    Attributes:
        side: Which side of an image gets the input size: shorter, longer, or both, which gives up its proportions.
        longest_px: With side shorter, the longer side at most [px]; None for no limit.
        antialias: Smooth images where they become smaller; frameworks that resize by OpenCV do not.
        scale_min: Smallest random factor on the size of an image in training.
        scale_max: Largest random factor on the size of an image in training.
        crop_px: Height and width of a random cut in training, at most [px]; None shows whole images.
        horizontal_flip: Probability of mirroring; 0 where left and right matter, e.g. writing.
        vertical_flip: Probability of turning upside down, e.g. for views from above.
        colour_jitter: Largest relative change of brightness, contrast and saturation.
        stages: Stages whose maps the head reads, counted from 0, e.g. "1,2,3"; None takes all.
    """

    side: Side = "shorter"
    longest_px: int | None = None
    antialias: bool = True
    scale_min: float = 0.75
    scale_max: float = 1.5
    crop_px: int | None = None
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    colour_jitter: float = 0.4
    stages: str | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_choices(self, {"side": get_args(Side)})
        check_ranges(self, _RANGES)
        check_whole_numbers(self, {"longest_px": 1, "crop_px": 8}, optional=True)
        if self.scale_min > self.scale_max:
            raise ConfigError(f"scale_min must be at most scale_max, got {self.scale_min} and {self.scale_max}.")
        if self.longest_px is not None and self.side != "shorter":
            raise ConfigError(f"longest_px is for side shorter, got side {self.side}.")
        self.stage_numbers()

    def stage_numbers(self) -> tuple[int, ...] | None:
        """Return the stages that the head reads; None for all.

        Raises:
            ConfigError: If they are no numbers.
        """
        if self.stages is None:
            return None
        parts = [part.strip() for part in str(self.stages).split(",")]
        if not all(part.isascii() and part.isdecimal() for part in parts):
            raise ConfigError(f"stages must be numbers from 0 such as 1,2,3, got {self.stages!r:.80}.")
        return tuple(int(part) for part in parts)

    def changes(self) -> dict[str, Any]:
        """Fields of :class:`focalnets.data.dense.transforms.DenseAugmentation`."""
        return {
            "scale": (self.scale_min, self.scale_max),
            "crop_px": None if self.crop_px is None else (self.crop_px, self.crop_px),
            "horizontal_flip": self.horizontal_flip,
            "vertical_flip": self.vertical_flip,
            "colour_jitter": self.colour_jitter,
        }
