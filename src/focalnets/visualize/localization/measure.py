"""Measure whether maps lie on the object, over annotated images, beside maps that know nothing.

Axes: N images, M methods, T thresholds, H W height and width of what the network sees [px].
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages
from focalnets.data.read_ahead import read_ahead
from focalnets.data.transforms import LONGEST_ASPECT, resize_whole, to_tensor
from focalnets.errors import CheckpointError, ConfigError, DataError, ImageError
from focalnets.intervals import Estimate, bootstrap, estimates
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.visualize.explain import MOST_SEEN_PIXELS, shorter_side
from focalnets.visualize.localization.gradcam import has_grad_cam
from focalnets.visualize.localization.results import FIGURES, Difference, ImageScore, Localization, MethodScore
from focalnets.visualize.localization.scores import (
    AREA_FRACTIONS,
    energy_inside,
    grown_mask,
    overlap_by_area,
    pixel_auc,
    pointing_game,
)
from focalnets.visualize.localization.sources import (
    BlindSource,
    FocalSource,
    GradCamSource,
    MapSource,
    Method,
    UntrainedSource,
    View,
    main_key,
)
from focalnets.visualize.maps import default_focus
from focalnets.visualize.recording import BlockId, token_grids

__all__ = ["make_view", "map_sources", "measure_localization"]

_READ_AHEAD = 4


def map_sources(
    model: FocalNet, *, focus: BlockId | None = None, seed: int = 0, grad_cam: bool | None = None
) -> list[MapSource]:
    """List the maps of a network and those that it is compared with.

    Args:
        model: The network, on the device to use.
        focus: The main block; None takes :func:`focalnets.visualize.default_focus`.
        seed: Of what is drawn at random.
        grad_cam: Whether Grad-CAM takes part; None takes it where captum is installed.

    Raises:
        ConfigError: If the network has no classifier, whose answer evidence and Grad-CAM are about.
    """
    if model.norm is None:
        raise ConfigError(
            "This network was built for maps of all stages and has no answer to explain; load a classifier."
        )
    focus = default_focus(model) if focus is None else focus
    sources: list[MapSource] = [FocalSource(model, focus)]
    if has_grad_cam() if grad_cam is None else grad_cam:
        sources.append(GradCamSource(model))
    return [*sources, UntrainedSource(model, focus, seed), BlindSource(model, focus, seed)]


def measure_localization(
    model: FocalNet,
    images: AnnotatedImages,
    *,
    focus: BlockId | None = None,
    size_px: int | None = None,
    sources: Sequence[MapSource] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    skip_unreadable: bool = False,
    notes: Sequence[str] = (),
    on_progress: Callable[[int], None] | None = None,
) -> Localization:
    """Score every map of every image against its mask, and say how sure the means are.

    Every image counts once and alike, however many objects it shows. Everything is scored at the size at which the
    network sees the image; the mask is shrunk with it, see :func:`make_view`.

    Args:
        model: The network, on the device to use. It runs in evaluation mode.
        images: See :func:`focalnets.data.annotated.open.open_annotated_images`.
        focus: The main block; None takes :func:`focalnets.visualize.default_focus`, which was chosen beforehand.
        size_px: Shorter side of the pictures [px]; None takes the scale of the network's evaluation.
        sources: What draws the maps; None takes :func:`map_sources`.
        resamples: Drawings of the bootstrap.
        seed: Of the bootstrap, and of maps that are drawn at random.
        skip_unreadable: Leave images out that cannot be read, and say so in the result, instead of refusing.
        notes: What else must be known of the measurement; kept in the result.
        on_progress: Called with the number of images done.

    Raises:
        CheckpointError: If the network computes numbers that are not finite.
        DataError: If no image can be scored, or an annotation is not as expected.
        ImageError: If an image cannot be read.
        ConfigError: If a number is out of range.
    """
    size = shorter_side(model.preprocessing) if size_px is None else size_px
    for name, value, least in (("size_px", size, 1), ("resamples", resamples, 1), ("seed", seed, 0)):
        if value < least:
            raise ConfigError(f"{name} must be a whole number from {least} up, got {value}.")
    started = time.monotonic()
    focus = default_focus(model) if focus is None else focus
    used = map_sources(model, focus=focus, seed=seed) if sources is None else sources
    near_px = 0.5 * token_grids(model)[focus[0]].stride_px
    tally = _Tally([method for source in used for method in source.methods])

    def read(index: int) -> View:
        return make_view(images[index], index, model.preprocessing, size)

    ahead = read_ahead(read, len(images), _READ_AHEAD, catch=(ImageError, DataError), threads=2)
    for done, (index, item) in enumerate(ahead, 1):
        if not isinstance(item, View):
            if not skip_unreadable:
                raise item
            tally.unreadable.append(str(item))
        elif tally.counts(item.mask):
            maps = np.concatenate([source.maps(item) for source in used])
            if not np.isfinite(maps).all():
                raise CheckpointError(
                    "The maps hold numbers that are not finite; the weights are damaged, load others."
                )
            tally.add(images.names[index], item, maps, near_px)
        if on_progress is not None:
            on_progress(done)
    tally.require_images(images)
    return Localization(
        model=model.origin,
        data=images.data,
        objects=images.objects,
        images=len(tally.rows),
        mean_area=float(np.mean(tally.areas)),
        without_object=tally.without_object,
        filled=tally.filled,
        unreadable=tuple(tally.unreadable),
        main=main_key(focus),
        **tally.scored(main_key(focus), resamples, seed),
        size_px=size,
        near_px=near_px,
        resamples=resamples,
        seed=seed,
        notes=tuple(notes),
        seconds=time.monotonic() - started,
    )


def make_view(annotated: AnnotatedImage, number: int, preprocessing: Preprocessing, size_px: int) -> View:
    """Show the whole photo in its own proportions, as the network sees it, with the mask at that size.

    A pixel belongs to the shrunk mask if at least half of it is covered; where an object is so small that no pixel is,
    those count that are covered most. A photo more than 32 times as long as wide is shown smaller, with as many pixels
    as one that is 32 times as long.

    Raises:
        ImageError: If the photo would be too large at that size.
    """
    picture = resize_whole(
        annotated.image, size_px, preprocessing, name=f"'{annotated.name}'", max_pixels=MOST_SEEN_PIXELS,
        longest_aspect=LONGEST_ASPECT,
    )  # fmt: skip
    cover = Image.fromarray(annotated.mask.astype(np.float32)).resize(picture.size, Image.Resampling.BOX)
    covered = np.asarray(cover)
    mask = (covered >= min(0.5, float(covered.max()))) & (covered > 0)
    return View(number, annotated.image, picture, to_tensor(preprocessing)(picture).unsqueeze(0), mask)


class _Tally:
    """A collection of what all methods get on each image."""

    def __init__(self, methods: Sequence[Method]) -> None:
        self.methods = methods
        self.rows: list[np.ndarray] = []
        self.overlaps: list[np.ndarray] = []
        self.names: list[str] = []
        self.indices: list[int] = []
        self.areas: list[float] = []
        self.unreadable: list[str] = []
        self.without_object = self.filled = 0

    def counts(self, mask: np.ndarray) -> bool:
        """Count an image, and tell whether there is something to tell apart in it."""
        self.without_object += not mask.any()
        self.filled += bool(mask.all())
        return bool(mask.any() and not mask.all())

    def add(self, name: str, view: View, maps: np.ndarray, near_px: float) -> None:
        """Score the maps (M, H, W) of one image."""
        near = grown_mask(view.mask, near_px)
        figures = (
            pointing_game(maps, view.mask), pointing_game(maps, near), energy_inside(maps, view.mask),
            pixel_auc(maps, view.mask),
        )  # fmt: skip
        self.rows.append(np.stack(figures, axis=1))
        self.overlaps.append(overlap_by_area(maps, view.mask))
        self.names.append(name)
        self.indices.append(view.number)
        self.areas.append(float(view.mask.mean()))

    def require_images(self, images: AnnotatedImages) -> None:
        """Refuse where nothing could be scored."""
        if self.rows:
            return
        reasons = {
            "show no object": self.without_object,
            "show nothing but the object": self.filled,
            "could not be read": len(self.unreadable),
        }
        counted = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        raise DataError(
            f"No image of {images.data} can be scored on {images.objects}: {counted or 'there is none'}; expected "
            "images with an object and something beside it."
        )

    def scored(self, main: str, resamples: int, seed: int) -> dict[str, tuple]:
        """Give the figures of all methods, what the main one has over the others, and what it gets on each image."""
        rows, overlaps = np.stack(self.rows), np.stack(self.overlaps)
        means, best = bootstrap(rows, overlaps, resamples=resamples, seed=seed)
        mean_overlaps = overlaps.mean(0)
        values = np.concatenate([rows.mean(0), mean_overlaps.max(1, keepdims=True)], axis=1)
        drawn = np.concatenate([means, best[..., None]], axis=2)
        area_fractions = [AREA_FRACTIONS[place] for place in mean_overlaps.argmax(1)]
        place = [method.key for method in self.methods].index(main)
        return {
            "methods": tuple(
                MethodScore(
                    key=method.key, label=method.label, kind=method.kind, iou_area_share=area_fractions[number],
                    block=None if method.block is None else f"{method.block[0]}.{method.block[1]}",
                    **_figures(values[number], drawn[:, number]),
                )
                for number, method in enumerate(self.methods)
            ),
            "differences": tuple(
                Difference(
                    other=method.key, **_figures(values[place] - values[number], drawn[:, place] - drawn[:, number])
                )
                for number, method in enumerate(self.methods)
                if method.kind != "modulator"
            ),
            "per_image": tuple(
                ImageScore(name=name, index=index, area=area, **dict(zip(FIGURES, row.tolist(), strict=False)))
                for name, index, area, row in zip(self.names, self.indices, self.areas, rows[:, place], strict=True)
            ),
        }  # fmt: skip


def _figures(values: np.ndarray, drawn: np.ndarray) -> dict[str, Estimate]:
    return dict(zip(FIGURES, estimates(values, drawn), strict=True))
