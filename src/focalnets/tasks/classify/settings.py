"""What a training config says about classification alone. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

from focalnets.errors import ConfigError
from focalnets.tasks.settings import Range, check_choices, check_ranges, check_types, check_whole_numbers

__all__ = ["GENERATED", "Augmentation", "ClassifySettings"]

Augmentation = Literal["none", "light", "strong"]

_RANGES: dict[str, Range] = {
    "label_smoothing": (0.0, 1.0, "from 0 to below 1"),
    "min_crop_scale": (0.0, 1.0, "above 0 and at most 1"),
    "horizontal_flip": (0.0, 1.0, "from 0 to 1"),
    "randaugment_magnitude": (0.0, 10.0, "from 0 to 10"),
    "randaugment_noise": (0.0, None, "0 or more"),
    "colour_jitter": (0.0, 1.0, "from 0 to 1"),
    "erasing": (0.0, 1.0, "from 0 to 1"),
    "mixup": (0.0, None, "0 or more"),
    "cutmix": (0.0, None, "0 or more"),
    "mixup_switch": (0.0, 1.0, "from 0 to 1"),
    "outlier_fraction": (0.0, 4.0, "above 0 and at most 4"),
    "outlier_weight": (0.0, None, "above 0"),
}

GENERATED = "generated"
"""The source of outliers that are drawn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifySettings:
    """The section ``classify`` of a training config.

    Attributes:
        label_smoothing: Fraction of the target spread over all classes.
        augmentation: none, light (random crop and mirroring) or strong (also colours, geometry and erasing).
        randaugment_magnitude: Strength of the geometry and colour operations of strong augmentation, from 0 to 10.
        randaugment_noise: Standard deviation of that strength from one operation to the next.
        colour_jitter: Largest relative change of brightness, contrast and saturation in strong augmentation.
        erasing: Probability of overwriting a rectangle with noise in strong augmentation.
        min_crop_scale: Smallest fraction of an image's area that a random crop covers.
        horizontal_flip: Probability of mirroring; 0 where left and right matter, e.g. writing.
        mixup: Strength of blending pairs of images; 0 turns it off.
        cutmix: Strength of pasting part of one image into another; 0 turns it off.
        mixup_switch: Probability of cutmix for a batch where both are on; otherwise it is mixup.
        mixup_off_epoch: Epoch, counted from 0, from which on images are neither blended nor pasted into each other, so
            that the last epochs see them as they are; None goes on to the end.
        outliers: Pictures of none of the classes, of which the network learns to be unsure: ``generated`` draws them, a
            folder holds some, several of these are separated by commas and take turns; None goes without.
        outlier_fraction: How many outliers are learnt from beside each labelled image.
        outlier_weight: Weight of the outliers' loss beside that of the labelled images.
    """

    label_smoothing: float = 0.1
    augmentation: Augmentation = "light"
    randaugment_magnitude: float = 9.0
    randaugment_noise: float = 0.5
    colour_jitter: float = 0.4
    erasing: float = 0.25
    min_crop_scale: float = 0.35
    horizontal_flip: float = 0.5
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_switch: float = 0.5
    mixup_off_epoch: int | None = None
    outliers: str | None = None
    outlier_fraction: float = 0.5
    outlier_weight: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.outliers, list | tuple) and all(isinstance(source, str) for source in self.outliers):
            object.__setattr__(self, "outliers", ",".join(self.outliers))
        check_types(self)
        check_whole_numbers(self, {"mixup_off_epoch": 0}, optional=True)
        check_ranges(self, _RANGES)
        check_choices(self, {"augmentation": get_args(Augmentation)})

        if self.outliers is not None and not all(self.outlier_sources()):
            raise ConfigError(
                f"outliers must be '{GENERATED}', a folder, or several of these separated by commas, got "
                f"{self.outliers!r:.80}."
            )

    def outlier_sources(self) -> tuple[str, ...]:
        """Where outliers come from: :data:`GENERATED` or a folder each; none where the network goes without."""
        return () if self.outliers is None else tuple(source.strip() for source in self.outliers.split(","))

    def augmentation_options(self) -> dict[str, Any]:
        """The options of :func:`focalnets.data.transforms.training_transform`."""
        return {
            "augmentation": self.augmentation,
            "scale": (self.min_crop_scale, 1.0),
            "horizontal_flip": self.horizontal_flip,
            "randaugment_magnitude": self.randaugment_magnitude,
            "randaugment_noise": self.randaugment_noise,
            "colour_jitter": self.colour_jitter,
            "erasing": self.erasing,
        }

    def in_words(self) -> str:
        """Describe augmentation, mixing and outliers, with a comma and a space at the end."""
        off = self.mixup_off_epoch
        until = "" if off is None else f" (neither from epoch {off} on)"
        outliers = (
            f"{self.outlier_fraction:g} outliers beside each image ({self.outliers}), weighing "
            f"{self.outlier_weight:g}, "
        )
        return (
            f"augmentation {self.augmentation}, mixup {self.mixup:g}, cutmix {self.cutmix:g}{until}, "
            f"{'' if self.outliers is None else outliers}"
        )

    def check_with(self, config: Any) -> None:
        """Refuse what contradicts the general settings.

        Raises:
            ConfigError: If the epoch without mixing never comes or there is nothing to turn off.
        """
        off = self.mixup_off_epoch
        if off is not None and (off >= config.epochs or not (self.mixup or self.cutmix)):
            raise ConfigError(
                f"mixup_off_epoch {off} has no effect: it must be below epochs ({config.epochs}), and mixup or cutmix "
                "above 0."
            )
