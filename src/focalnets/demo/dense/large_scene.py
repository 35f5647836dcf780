"""One large picture looked at twice, by tiles and as a whole, and how far the two are apart.

Axes: H W height and width of the picture [px], h w of a map [tokens], C channels.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.large.looking import LargeOptions, look_at, plan_look
from focalnets.large.plan import Context, Plan
from focalnets.large.sources import Source, open_source
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.large_look import LargeLook
from focalnets.tasks.running import spec_at
from focalnets.tasks.task import Task

__all__ = ["LargeScene", "LargeView", "densest_window", "look_twice", "map_difference"]


@dataclasses.dataclass(frozen=True, eq=False)
class LargeView:
    """What the network says of the large picture in one context.

    Attributes:
        plan: How it was looked at.
        answer: What it says, as the demonstration draws it.
        figures: The task's metrics on this picture, by name.
        seconds: Duration.
    """

    plan: Plan
    answer: Any
    figures: dict[str, float]
    seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class LargeScene:
    """The large picture, looked at twice.

    Attributes:
        known: The picture, and what is in it.
        tile, image: By tiles that stand alone, and as a whole.
        difference: Relative difference of the maps of the last stage but one (h, w) float32.
        stride_px: Pixels a token of that map.
    """

    known: AnnotatedImage
    tile: LargeView
    image: LargeView
    difference: np.ndarray
    stride_px: int


def look_twice(
    task: Task,
    network: nn.Module,
    known: AnnotatedImage,
    *,
    tile_px: int,
    overlap_px: int,
    answer: Callable[[LargeLook, Source, Any], Any],
    on_progress: Callable[[int], None],
) -> LargeScene:
    """Look at a large picture by tiles and as a whole.

    Args:
        task: What the network is for.
        network: In evaluation mode.
        known: The picture, and what is in it.
        tile_px: Side of the tiles.
        overlap_px: By how much they overlap.
        answer: Makes what is kept of what was found.
        on_progress: Called with the number of looks done, of three.
    """
    look = task.large(network).for_measuring()
    views: dict[Context, LargeView] = {}
    with open_source(known.image) as source:
        contexts: tuple[Context, ...] = ("tile", "image")
        for count, context in enumerate(contexts, 1):
            options = LargeOptions(context=context, tile_px=tile_px, overlap_px=overlap_px)
            plan = plan_look(look.backbone, source, options, output_bytes=look.output_bytes(source), stages=look.stages)
            started = time.monotonic()
            found = look.look(source, plan, None, None)
            seconds = time.monotonic() - started
            metrics = look.metrics(task.labels(network))
            look.measure(metrics, found, known)
            figures = {name: float(value) for name, value in metrics.compute().items()}
            views[context] = LargeView(plan, answer(look, source, found), figures, seconds)
            on_progress(count)
        stage = max(0, len(look.backbone.config.depths) - 2)
        difference = map_difference(look.backbone, network, source, views["tile"].plan, views["image"].plan, stage)
        on_progress(3)
    return LargeScene(known, views["tile"], views["image"], difference, look.backbone.config.strides[stage])


@torch.inference_mode()
def map_difference(
    backbone: FocalNet, network: nn.Module, source: Source, tile: Plan, image: Plan, stage: int
) -> np.ndarray:
    """Measure how far the map of tiles is from that of the whole picture, at each token.

    Args:
        backbone: What computes the maps.
        network: Says how the picture is prepared.
        source: The picture.
        tile: How to look at it by tiles.
        image: How to look at it as a whole.
        stage: Whose map is compared, from 0.

    Returns:
        Length of the difference over the root mean square length of the whole picture's tokens, (h, w) float32.
    """
    spec, stride = spec_at(network, None), backbone.config.strides[stage]
    # What is kept of the whole picture must hold this stage.
    whole = dataclasses.replace(image, settings=dataclasses.replace(image.settings, keep=(stage,)))
    result = np.zeros((-(-source.height // stride), -(-source.width // stride)), np.float32)
    total, tokens = 0.0, 0
    with (
        look_at(backbone, source, tile, spec, stages=(stage,)) as alone,
        look_at(backbone, source, whole, spec, stages=(stage,)) as together,
    ):
        for window in alone.windows:
            (ours,), (theirs,) = alone.maps(window), together.maps(window)
            lengths = (ours.cpu() - theirs.cpu()).norm(dim=1)[0].numpy()
            top, bottom, left, right = (-(-place // stride) for place in window.core)
            rows = slice(top - window.top // stride, bottom - window.top // stride)
            columns = slice(left - window.left // stride, right - window.left // stride)
            result[top:bottom, left:right] = lengths[rows, columns]
            squares = theirs.square().sum(1)[0, rows, columns]
            total, tokens = total + float(squares.sum()), tokens + squares.numel()
    return result / max((total / max(1, tokens)) ** 0.5, 1e-12)


def densest_window(changes: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Find the window of a width and height that holds most changed pixels of (H, W) bool: left, top, right, bottom."""
    height, width = changes.shape
    across, down = min(size[0], width), min(size[1], height)
    sums = np.zeros((height + 1, width + 1), np.int64)
    sums[1:, 1:] = changes.cumsum(0).cumsum(1)
    inside = sums[down:, across:] - sums[:-down, across:] - sums[down:, :-across] + sums[:-down, :-across]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(left), int(top), int(left) + across, int(top) + down
