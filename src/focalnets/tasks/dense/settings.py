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
    "mosaic": (0.0, 1.0, "from 0 to 1"),
    "copy_paste": (0.0, 1.0, "from 0 to 1"),
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
        mosaic: Probability that an image of a training becomes one of four in one picture.
        copy_paste: Probability that objects of another image are laid on it; for data with masks.
        mixing_off_epoch: Epoch, counted from 0, from which on images are neither put together nor laid on each other,
            so that the network ends on pictures as they are; None goes on to the end.
        stages: Stages whose maps the head reads, counted from 0, e.g. "1,2,3"; None takes all.
        class_ids: Numbers of the classes in the data, which results are written with, e.g. "1,3,7"; None takes those
            that the data give.
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
    mosaic: float = 0.0
    copy_paste: float = 0.0
    mixing_off_epoch: int | None = None
    stages: str | None = None
    class_ids: str | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_choices(self, {"side": get_args(Side)})
        check_ranges(self, _RANGES)
        check_whole_numbers(self, {"longest_px": 1, "crop_px": 8, "mixing_off_epoch": 0}, optional=True)
        if self.scale_min > self.scale_max:
            raise ConfigError(f"scale_min must be at most scale_max, got {self.scale_min} and {self.scale_max}.")
        if self.longest_px is not None and self.side != "shorter":
            raise ConfigError(f"longest_px is for side shorter, got side {self.side}.")
        self.stage_numbers()
        self.ids()

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

    def ids(self) -> tuple[int, ...] | None:
        """Return the numbers of the classes; None if they are open.

        Raises:
            ConfigError: If they are no whole numbers, or one comes twice.
        """
        if self.class_ids is None:
            return None
        parts = [part.strip() for part in self.class_ids.split(",")]
        if not all(part.isascii() and part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
            raise ConfigError(f"class_ids must be different whole numbers such as 1,3,7, got {self.class_ids!r:.80}.")
        return tuple(map(int, parts))

    def check_with(self, config: Any) -> None:
        """Refuse what contradicts the general settings.

        Raises:
            ConfigError: If the epoch without mixing never comes or there is nothing to turn off.
        """
        off = self.mixing_off_epoch
        if off is not None and (off >= config.epochs or not (self.mosaic or self.copy_paste)):
            raise ConfigError(
                f"mixing_off_epoch {off} has no effect: it must be below epochs ({config.epochs}), and mosaic or "
                "copy_paste above 0."
            )

    def changes_in_words(self) -> str:
        """Describe what is changed at random, with a comma and a space at the end."""
        words = [f"sizes scaled by {self.scale_min:g} to {self.scale_max:g}"]
        words += [] if self.crop_px is None else [f"cuts of {self.crop_px} px"]
        until = "" if self.mixing_off_epoch is None else f" (until epoch {self.mixing_off_epoch})"
        for name in ("mosaic", "copy_paste"):
            if value := getattr(self, name):
                words.append(f"{name.replace('_', '-')} {value:g}{until}")
        return f"{', '.join(words)}, "

    def changes(self) -> dict[str, Any]:
        """Fields of :class:`focalnets.data.dense.transforms.DenseAugmentation`."""
        return {
            "scale": (self.scale_min, self.scale_max),
            "crop_px": None if self.crop_px is None else (self.crop_px, self.crop_px),
            "horizontal_flip": self.horizontal_flip,
            "vertical_flip": self.vertical_flip,
            "colour_jitter": self.colour_jitter,
        }
