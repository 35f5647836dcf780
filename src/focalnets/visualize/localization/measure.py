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
from focalnets.engine.forms import inference_form
from focalnets.errors import CheckpointError, ConfigError, DataError, ImageError
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.visualize.explain import MOST_SEEN_PIXELS, shorter_side
from focalnets.visualize.localization.curves import CurveMeter
from focalnets.visualize.localization.gradcam import has_grad_cam
from focalnets.visualize.localization.results import Localization
from focalnets.visualize.localization.sources import (
    BlindSource,
    FocalSource,
    GradCamSource,
    MapSource,
    UntrainedSource,
    View,
    main_key,
)
from focalnets.visualize.localization.tally import Tally
from focalnets.visualize.map_names import DEFAULT_MAP, choose_map
from focalnets.visualize.maps import default_focus
from focalnets.visualize.recording import BlockId, token_grids

__all__ = ["STEPS", "make_view", "map_sources", "measure_localization"]

STEPS = 16
"""Steps of the curves; with 128 areas differ by at most about .01."""
_READ_AHEAD = 4


def map_sources(
    model: FocalNet,
    *,
    focus: BlockId | None = None,
    seed: int = 0,
    grad_cam: bool | None = None,
    evidence: str = DEFAULT_MAP,
) -> list[MapSource]:
    """List the maps of a network and those that it is compared with.

    Args:
        model: The network, on the device to use.
        focus: The main block; None takes :func:`focalnets.visualize.default_focus`.
        seed: Of what is drawn at random.
        grad_cam: Whether Grad-CAM takes part; None takes it where captum is installed.
        evidence: Which of :data:`focalnets.visualize.map_names.MAPS` is also drawn by weights drawn at random.

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
    untrained = UntrainedSource(model, focus, seed, None if evidence == "modulator" else evidence)
    return [*sources, untrained, BlindSource(model, focus, seed)]


def measure_localization(
    model: FocalNet,
    images: AnnotatedImages,
    *,
    focus: BlockId | None = None,
    map_name: str | None = None,
    size_px: int | None = None,
    sources: Sequence[MapSource] | None = None,
    steps: int = STEPS,
    resamples: int = 2000,
    seed: int = 0,
    skip_unreadable: bool = False,
    notes: Sequence[str] = (),
    on_progress: Callable[[int], None] | None = None,
) -> Localization:
    """Score every map of every image against its mask and by deletion and insertion, and say how sure the means are.

    Every image counts once and alike, however many objects it shows. Everything is scored at the size at which the
    network sees the image; the mask is shrunk with it, see :func:`make_view`. Images of which nothing is known are
    scored by deletion and insertion alone. The curves of modulators of other blocks, and of peers, whose maps are about
    the answers of other networks, are left out.

    Args:
        model: The network, on the device to use. It runs in evaluation mode.
        images: See :func:`focalnets.data.annotated.open.open_annotated_images` and
            :func:`focalnets.data.annotated.open.open_with_or_without`.
        focus: The main block; None takes :func:`focalnets.visualize.default_focus`, which was chosen beforehand.
        map_name: The main map, of :data:`focalnets.visualize.map_names.MAPS`; None takes the one that explain draws,
            and where a block is named its modulator.
        size_px: Shorter side of the pictures [px]; None takes the scale of the network's evaluation.
        sources: What draws the maps; None takes :func:`map_sources`.
        steps: In how many steps pixels go and come, see :mod:`.curves`; 0 measures no curves, and so does a network
            without classes.
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
    limits = (("size_px", size, 1), ("steps", steps, 0), ("resamples", resamples, 1), ("seed", seed, 0))
    for name, value, least in limits:
        if value < least:
            raise ConfigError(f"{name} must be a whole number from {least} up, got {value}.")
    annotated = bool(images.objects)
    if not model.config.num_classes:
        steps = 0  # There is no answer whose probability could fall.
    if not annotated and not steps:
        raise ConfigError(
            "Images without annotation can only be measured by deletion and insertion, which need a network with "
            "classes and steps from 1 up."
        )
    started = time.monotonic()
    name = ("modulator" if focus is not None else DEFAULT_MAP) if map_name is None else choose_map(map_name, focus)
    focus = default_focus(model) if focus is None else focus
    used = map_sources(model, focus=focus, seed=seed, evidence=name) if sources is None else sources
    methods = [method for source in used for method in source.methods]
    main = main_key(focus) if name == "modulator" or all(method.key != name for method in methods) else name
    near_px = 0.5 * token_grids(model)[focus[0]].stride_px
    tally = Tally(methods, main, annotated)
    meter = None
    if steps:
        pixels = 2.0 * steps * size * size * len(images) * len(tally.on_curves)
        meter = CurveMeter(inference_form(model.eval(), pixels=pixels), next(model.parameters()).device, steps, seed)

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
            curves = None if meter is None else meter.areas(item.inputs, maps[tally.on_curves], index)
            tally.add(images.names[index], item, maps, near_px, curves)
        if on_progress is not None:
            on_progress(done)
    tally.require_images(images)
    return Localization(
        model=model.origin,
        data=images.data,
        objects=images.objects,
        images=len(tally.rows),
        mean_area=float(np.mean(tally.areas)) if annotated else None,
        without_object=tally.without_object,
        filled=tally.filled,
        unreadable=tuple(tally.unreadable),
        main=main,
        **tally.scored(resamples, seed),
        steps=steps,
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
