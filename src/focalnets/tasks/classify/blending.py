"""Blending images in training, and pasting parts of them into each other.

Axes: B batch, K classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from focalnets.data.outliers import NO_CLASS
from focalnets.tasks.batch import Batch
from focalnets.tasks.classify.settings import ClassifySettings

__all__ = ["build_blend"]


def build_blend(settings: ClassifySettings, classes: int) -> Callable[[Batch, int], Batch] | None:
    """Make what blends the images of a batch and their labels (B,) to mixtures (B, K), by the epoch counted from 0.

    Outliers are left alone and come last; in their mixtures every entry is :data:`focalnets.data.outliers.NO_CLASS`.
    None if the settings ask for neither.
    """
    from torchvision.transforms import v2

    blends: list[v2.Transform] = []
    if settings.mixup:
        blends.append(v2.MixUp(alpha=settings.mixup, num_classes=classes))
    if settings.cutmix:
        blends.append(v2.CutMix(alpha=settings.cutmix, num_classes=classes))
    if not blends:
        return None
    chances = [1 - settings.mixup_switch, settings.mixup_switch] if len(blends) == 2 else None
    choose, off = v2.RandomChoice(blends, p=chances), settings.mixup_off_epoch

    def blend(batch: Batch, epoch: int) -> Batch:
        if off is not None and epoch >= off:
            return batch
        if settings.outliers is None:
            images, targets = choose(batch.inputs, batch.targets)
            return dataclasses.replace(batch, inputs=images, targets=targets)
        known = batch.targets != NO_CLASS
        images, targets = choose(batch.inputs[known], batch.targets[known])
        outliers = batch.inputs[~known]
        unknown = targets.new_full((len(outliers), classes), NO_CLASS)
        return dataclasses.replace(batch, inputs=torch.cat([images, outliers]), targets=torch.cat([targets, unknown]))

    return blend
