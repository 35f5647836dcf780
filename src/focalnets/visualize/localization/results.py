"""What the measurement of maps against masks returns: plain, frozen values that survive JSON. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.files import csv_text
from focalnets.intervals import Estimate

__all__ = ["FIGURES", "Difference", "ImageScore", "Localization", "MethodScore"]

FIGURES = {
    "hits": "highest point on the object",
    "near": "on it or just beside it",
    "energy": "fraction of the map on the object",
    "auc": "pixel AUC",
    "iou": "best-threshold IoU",
}
"""The figures of a method and what they are called; all are better when larger."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodScore:
    """How well one kind of map finds the object, over all images.

    Attributes:
        key, label, kind, block: See :class:`.sources.Method`; the block as ``stage.block``.
        hits: Mean score in the pointing game, from 0 to 1.
        near: The same with all points that are at most ``Localization.near_px`` beside the object.
        energy: Mean fraction of the map that lies on the object.
        auc: Mean area under the ROC curve of its pixels, from 0 to 1; 0.5 is chance.
        iou: Mean intersection over union at the threshold that is best for this method on these images.
        iou_area_share: That threshold: the fraction of the picture that is taken.
    """

    key: str
    label: str
    kind: str
    block: str | None
    hits: Estimate
    near: Estimate
    energy: Estimate
    auc: Estimate
    iou: Estimate
    iou_area_share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """The main method's figures minus another's, on the same images and drawings.

    Attributes:
        other: The other method's key.
        hits, near, energy, auc, iou: Differences; an interval that holds 0 leaves open which is better.
    """

    other: str
    hits: Estimate
    near: Estimate
    energy: Estimate
    auc: Estimate
    iou: Estimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageScore:
    """One image and what the main method gets on it.

    Attributes:
        name: The file's name.
        index: Its number in the data.
        area: Fraction of the picture that the object covers.
        hits, near, energy, auc: As in :class:`MethodScore`.
    """

    name: str
    index: int
    area: float
    hits: float
    near: float
    energy: float
    auc: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Localization:
    """Maps of a network and others measured against masks.

    Attributes:
        model: Where the weights came from, in words.
        data, objects: The images, and what counts as the object, in words.
        images: Number of images that count.
        mean_area: Mean fraction of the picture that the object covers.
        without_object, filled: Images that show no object, or nothing but the object, and do not count.
        unreadable: Sentences about images that were left out because they could not be read.
        main: Key of the method that was chosen beforehand.
        methods: One entry for each method.
        differences: The main method against all that are no modulator.
        per_image: One entry for each image that counts.
        size_px: Shorter side at which the network saw the images [px].
        near_px: What counts as just beside the object [px].
        resamples, seed: Of the bootstrap.
        notes: What else must be known, one sentence each.
        seconds: Duration, with reading the images.
    """

    model: str
    data: str
    objects: str
    images: int
    mean_area: float
    without_object: int
    filled: int
    unreadable: tuple[str, ...]
    main: str
    methods: tuple[MethodScore, ...]
    differences: tuple[Difference, ...]
    per_image: tuple[ImageScore, ...]
    size_px: int
    near_px: float
    resamples: int
    seed: int
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def method(self, key: str) -> MethodScore:
        """Return the scores of one method."""
        return next(score for score in self.methods if score.key == key)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)

    def methods_csv(self) -> str:
        """Write one row for each method."""
        heading = ["key", "label", "kind", "block"]
        heading += [column for name in FIGURES for column in (name, f"{name}_low", f"{name}_high")] + ["iou_area_share"]
        rows = []
        for score in self.methods:
            figures = [number for name in FIGURES for number in dataclasses.astuple(getattr(score, name))]
            rows.append([score.key, score.label, score.kind, score.block, *figures, score.iou_area_share])
        return csv_text(heading, rows)

    def images_csv(self) -> str:
        """Write one row for each image, with what the main method gets on it."""
        heading = [field.name for field in dataclasses.fields(ImageScore)]
        return csv_text(heading, (dataclasses.astuple(score) for score in self.per_image))
