"""What the measurement of maps against masks returns: plain, frozen values that survive JSON. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from focalnets.files import csv_text
from focalnets.intervals import Estimate

__all__ = ["CURVES", "FIGURES", "Difference", "ImageScore", "Localization", "MethodScore", "Verdict"]

FIGURES = {
    "hits": "highest point on the object",
    "near": "on it or just beside it",
    "energy": "fraction of the map on the object",
    "auc": "pixel AUC",
    "iou": "best-threshold IoU",
}
"""The figures of agreement with annotation and what they are called; all are better when larger."""

CURVES = {"deletion": "deletion, smaller is better", "insertion": "insertion"}
"""Areas under the curves of the answer's probability while pixels go, or come; they need no annotation."""


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
        deletion, insertion: Mean areas under the curves of the answer's probability, from 0 to 1; see :mod:`.curves`.

    What was not measured is None: agreement where nothing is annotated, curves of methods that are not measured so.
    """

    key: str
    label: str
    kind: str
    block: str | None
    hits: Estimate | None = None
    near: Estimate | None = None
    energy: Estimate | None = None
    auc: Estimate | None = None
    iou: Estimate | None = None
    iou_area_share: float | None = None
    deletion: Estimate | None = None
    insertion: Estimate | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """The main method's figures minus another's, on the same images and drawings.

    Attributes:
        other: The other method's key.
        hits, near, energy, auc, iou, deletion, insertion: Differences; an interval that holds 0 leaves open which is
            better. None where one of them was not measured.
    """

    other: str
    hits: Estimate | None = None
    near: Estimate | None = None
    energy: Estimate | None = None
    auc: Estimate | None = None
    iou: Estimate | None = None
    deletion: Estimate | None = None
    insertion: Estimate | None = None


Verdict = Literal["ahead", "behind", "open"]
"""How one method does against another: clearly better, clearly worse, or not told apart by these images."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageScore:
    """One image and what the main method gets on it.

    Attributes:
        name: The file's name.
        index: Its number in the data.
        area: Fraction of the picture that the object covers; None where nothing is annotated.
        hits, near, energy, auc, deletion, insertion: As in :class:`MethodScore`.
    """

    name: str
    index: int
    area: float | None
    hits: float | None = None
    near: float | None = None
    energy: float | None = None
    auc: float | None = None
    deletion: float | None = None
    insertion: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Localization:
    """Maps of a network and others measured against masks.

    Attributes:
        model: Where the weights came from, in words.
        data, objects: The images, and what counts as the object, in words.
        images: Number of images that count.
        mean_area: Mean fraction of the picture that the object covers; None where nothing is annotated.
        without_object, filled: Images that show no object, or nothing but the object, and do not count.
        unreadable: Sentences about images that were left out because they could not be read.
        main: Key of the method that was chosen beforehand.
        methods: One entry for each method.
        differences: The main method against all that are no modulator.
        per_image: One entry for each image that counts.
        steps: In how many steps pixels went and came for the curves; 0 where they were not measured.
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
    mean_area: float | None
    without_object: int
    filled: int
    unreadable: tuple[str, ...]
    main: str
    methods: tuple[MethodScore, ...]
    differences: tuple[Difference, ...]
    per_image: tuple[ImageScore, ...]
    steps: int
    size_px: int
    near_px: float
    resamples: int
    seed: int
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def figures(self) -> dict[str, str]:
        """The figures that the main method has, and what they are called."""
        main = self.method(self.main)
        return {name: words for name, words in (FIGURES | CURVES).items() if getattr(main, name) is not None}

    def method(self, key: str) -> MethodScore:
        """Return the scores of one method."""
        return next(score for score in self.methods if score.key == key)

    def verdict(self, difference: Difference, figure: str) -> Verdict | None:
        """Tell how the main method does against another in one figure; None where it was not measured."""
        estimate = getattr(difference, figure)
        if estimate is None:
            return None
        low, high = (-estimate.high, -estimate.low) if figure == "deletion" else (estimate.low, estimate.high)
        return "ahead" if low > 0 else "behind" if high < 0 else "open"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)

    def methods_csv(self) -> str:
        """Write one row for each method."""
        heading = ["key", "label", "kind", "block"]
        names = FIGURES | CURVES
        heading += [column for name in names for column in (name, f"{name}_low", f"{name}_high")] + ["iou_area_share"]
        rows = []
        for score in self.methods:
            measured = [getattr(score, name) for name in names]
            figures = [
                number for one in measured for number in ((None,) * 3 if one is None else dataclasses.astuple(one))
            ]
            rows.append([score.key, score.label, score.kind, score.block, *figures, score.iou_area_share])
        return csv_text(heading, rows)

    def images_csv(self) -> str:
        """Write one row for each image, with what the main method gets on it."""
        heading = [field.name for field in dataclasses.fields(ImageScore)]
        return csv_text(heading, (dataclasses.astuple(score) for score in self.per_image))
