"""How images change at random during a training, and at which size, epoch by epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from focalnets.data.transforms import evaluation_transform, training_transform
from focalnets.models.config import Preprocessing
from focalnets.training.config import TrainingConfig

__all__ = ["TransformSchedule", "evaluation_transforms", "training_transforms"]


class TransformSchedule:
    """One transform for each part of a training.

    Args:
        by_first_epoch: Picture to input of the network, by the epoch, counted from 0, that it begins with.
        largest_size_px: Height and width of the largest input among them [px].
    """

    def __init__(self, by_first_epoch: Mapping[int, Callable[[Any], Tensor]], largest_size_px: int) -> None:
        self.by_first_epoch = dict(sorted(by_first_epoch.items()))
        self.largest_size_px = largest_size_px

    def at(self, epoch: int) -> Callable[[Any], Tensor]:
        """The transform of an epoch, counted from 0."""
        return self.by_first_epoch[max(first for first in self.by_first_epoch if first <= epoch)]


def training_transforms(config: TrainingConfig, preprocessing: Preprocessing) -> TransformSchedule:
    """The random changes that ``config`` asks for, at the sizes of its ``image_size_schedule``."""
    sizes = config.training_sizes(preprocessing.input_size_px)
    transforms = {
        epoch: training_transform(
            dataclasses.replace(preprocessing, input_size_px=size),
            augmentation=config.augmentation,
            scale=(config.min_crop_scale, 1.0),
            horizontal_flip=config.horizontal_flip,
            randaugment_magnitude=config.randaugment_magnitude,
            randaugment_noise=config.randaugment_noise,
            colour_jitter=config.colour_jitter,
            erasing=config.erasing,
        )
        for epoch, size in sizes.items()
    }
    return TransformSchedule(transforms, max(sizes.values()))


def evaluation_transforms(preprocessing: Preprocessing) -> TransformSchedule:
    """What images go through in validation, in every epoch."""
    return TransformSchedule({0: evaluation_transform(preprocessing)}, preprocessing.input_size_px)
