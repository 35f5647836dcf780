"""What all methods get on each image, and what follows for their means.

Axes: N images, M methods, F figures, T thresholds, H W height and width of what the network sees [px].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from focalnets.data.annotated.images import AnnotatedImages
from focalnets.errors import DataError
from focalnets.intervals import Estimate, bootstrap, estimates
from focalnets.visualize.localization.results import CURVES, FIGURES, Difference, ImageScore, MethodScore
from focalnets.visualize.localization.scores import (
    AREA_FRACTIONS,
    energy_inside,
    grown_mask,
    overlap_by_area,
    pixel_auc,
    pointing_game,
)
from focalnets.visualize.localization.sources import Method, View

__all__ = ["Tally"]

_AGREEMENT = tuple(name for name in FIGURES if name != "iou")
_MEANS = (*_AGREEMENT, *CURVES)
"""Figures of single images; the IoU needs all of them."""


class Tally:
    """A collection of what all methods get on each image.

    Args:
        methods: M methods.
        main: Key of the main one.
        annotated: Whether it is known where objects are.

    Attributes:
        on_curves: Numbers of the methods whose curves are measured.
    """

    def __init__(self, methods: Sequence[Method], main: str, annotated: bool) -> None:
        self.methods, self.annotated = methods, annotated
        self.main = [method.key for method in methods].index(main)
        self.on_curves = [
            number
            for number, method in enumerate(methods)
            if number == self.main or method.kind not in ("modulator", "peer")
        ]
        self.with_curves = False
        self.rows: list[np.ndarray] = []
        self.overlaps: list[np.ndarray] = []
        self.names: list[str] = []
        self.indices: list[int] = []
        self.areas: list[float] = []
        self.unreadable: list[str] = []
        self.without_object = self.filled = 0

    def counts(self, mask: np.ndarray) -> bool:
        """Count an image, and tell whether there is something to tell apart in it."""
        if not self.annotated:
            return True
        self.without_object += not mask.any()
        self.filled += bool(mask.all())
        return bool(mask.any() and not mask.all())

    def add(self, name: str, view: View, maps: np.ndarray, near_px: float, curves: np.ndarray | None) -> None:
        """Score the maps (M, H, W) of one image; the areas under the curves (methods on curves, 2) come with them."""
        row, overlap = np.zeros((len(maps), len(_MEANS))), np.zeros((len(maps), 1))
        if self.annotated:
            figures = (
                pointing_game(maps, view.mask), pointing_game(maps, grown_mask(view.mask, near_px)),
                energy_inside(maps, view.mask), pixel_auc(maps, view.mask),
            )  # fmt: skip
            row[:, : len(_AGREEMENT)] = np.stack(figures, axis=1)
            overlap = overlap_by_area(maps, view.mask)
        if curves is not None:
            row[self.on_curves, len(_AGREEMENT) :] = curves
            self.with_curves = True
        self.rows.append(row)
        self.overlaps.append(overlap)
        self.names.append(name)
        self.indices.append(view.number)
        self.areas.append(float(view.mask.mean()))

    def require_images(self, images: AnnotatedImages) -> None:
        """Refuse where nothing could be scored.

        Raises:
            DataError: If so.
        """
        if self.rows:
            return
        reasons = {
            "show no object": self.without_object,
            "show nothing but the object": self.filled,
            "could not be read": len(self.unreadable),
        }
        counted = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        on, what = (f" on {images.objects}", " with an object and something beside it") if self.annotated else ("", "")
        raise DataError(
            f"No image of {images.data} can be scored{on}: {counted or 'there is none'}; expected images{what}."
        )

    def scored(self, resamples: int, seed: int) -> dict[str, tuple]:
        """Give the figures of all methods, what the main one has over the others, and what it gets on each image."""
        rows, overlaps = np.stack(self.rows), np.stack(self.overlaps)
        means, best = bootstrap(rows, overlaps, resamples=resamples, seed=seed)
        mean_overlaps = overlaps.mean(0)
        values = np.concatenate([rows.mean(0), mean_overlaps.max(1, keepdims=True)], axis=1)
        drawn = np.concatenate([means, best[..., None]], axis=2)
        shares = [AREA_FRACTIONS[place] if self.annotated else None for place in mean_overlaps.argmax(1)]
        per_image = [
            dict(zip(_MEANS, row, strict=True))
            for row in np.where(self._measured(self.main)[:-1], rows[:, self.main], np.nan)
        ]
        return {
            "methods": tuple(
                MethodScore(
                    key=method.key, label=method.label, kind=method.kind, iou_area_share=shares[number],
                    block=None if method.block is None else f"{method.block[0]}.{method.block[1]}",
                    **self._figures(values[number], drawn[:, number], self._measured(number)),
                )
                for number, method in enumerate(self.methods)
            ),
            "differences": tuple(
                Difference(
                    other=method.key,
                    **self._figures(
                        values[self.main] - values[number], drawn[:, self.main] - drawn[:, number],
                        self._measured(number),
                    ),
                )
                for number, method in enumerate(self.methods)
                if method.kind != "modulator"
            ),
            "per_image": tuple(
                ImageScore(
                    name=name, index=index, area=area if self.annotated else None,
                    **{key: None if np.isnan(value) else float(value) for key, value in figures.items()},
                )
                for name, index, area, figures in zip(self.names, self.indices, self.areas, per_image, strict=True)
            ),
        }  # fmt: skip

    def _measured(self, number: int) -> np.ndarray:
        """Tell which figures of a method were measured: (F + 1,) booleans, the IoU last."""
        curves = self.with_curves and number in self.on_curves
        return np.array([self.annotated] * len(_AGREEMENT) + [curves] * len(CURVES) + [self.annotated])

    @staticmethod
    def _figures(values: np.ndarray, drawn: np.ndarray, measured: np.ndarray) -> dict[str, Estimate]:
        found = zip((*_MEANS, "iou"), estimates(values, drawn), measured, strict=True)
        return {name: estimate for name, estimate, known in found if known}
