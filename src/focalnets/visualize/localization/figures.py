"""Pictures of a measurement of maps against masks: block by block, method by method, the best and the worst images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from focalnets.data.annotated.images import AnnotatedImages
from focalnets.intervals import Estimate
from focalnets.models.focalnet import FocalNet
from focalnets.report.colours import LIGHT, Theme
from focalnets.report.figure import new_figure, percent_axis, shortened, write_chart
from focalnets.visualize.draw import draw_outline, mark_point, overlay
from focalnets.visualize.localization.measure import make_view
from focalnets.visualize.localization.results import CURVES, FIGURES, ImageScore, Localization, MethodScore
from focalnets.visualize.localization.scores import peak
from focalnets.visualize.localization.sources import draw_map
from focalnets.visualize.recording import BlockId

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Example",
    "best_and_worst",
    "blocks_figure",
    "describe_example",
    "draw_blocks",
    "draw_examples",
    "draw_methods",
    "methods_figure",
]

_COLOURS = {"modulator": "orange", "evidence": "purple", "gradcam": "blue", "peer": "green", "blind": "grey"}
"""Which colour of a theme the methods of each kind have."""

_LINES = (("gradcam", "blue", "-."), ("untrained", "yellow", ":"), ("centre", "grey", "--"))
"""Methods to compare blocks with: how their keys begin, their colour and the style of their line."""

_EXAMPLE_PX, _LONGEST_EXAMPLE_PX = 320, 1600
"""Shorter side of an example, and its longer side beyond which it is smaller [px]."""

_COLUMNS = 3

_NOT_MEASURED = Estimate(0.0, 0.0, 0.0)
"""Drawn as no bar."""


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One image, and the main map over it; both with the outline of the object.

    Attributes:
        score: Its name and figures.
        picture, heat: (H, W, 3) uint8, of equal size; the cross in ``heat`` marks the highest point.
    """

    score: ImageScore
    picture: np.ndarray
    heat: np.ndarray


def best_and_worst(
    model: FocalNet, images: AnnotatedImages, result: Localization, focus: BlockId, most: int = 6
) -> tuple[list[Example], list[Example]]:
    """Find the images on which the main map does best and worst, best and worst first; none is in both.

    By pixel AUC, or where nothing is annotated by insertion minus deletion.
    """
    ranked = sorted(result.per_image, key=lambda score: (-_worth(score), score.index))
    count = min(most, len(ranked) // 2)
    chosen = ranked[:count], ranked[::-1][:count]
    best, worst = ([_example(model, images, score, result, focus) for score in some] for some in chosen)
    return best, worst


def blocks_figure(result: Localization, theme: Theme = LIGHT) -> Figure:
    """Draw the figures of every block's modulator with 95 % intervals, and those of other methods as lines."""
    blocks = [score for score in result.methods if score.kind == "modulator"]
    figure, grid = new_figure(2, 2, size=(10.5, 7.0))
    places = np.arange(len(blocks))
    for axes, name in zip(grid.flat, [name for name in FIGURES if name != "near"], strict=True):
        _shade_stages(axes, blocks, theme)
        values, below, above = _with_margins(blocks, name)
        axes.errorbar(
            places, values, yerr=[below, above], color=theme.orange, marker="o", markersize=4, linewidth=1.3,
            elinewidth=0.9, capsize=2, label="modulator of the block",
        )  # fmt: skip
        for start, colour, style in _LINES:
            other = next((score for score in result.methods if score.key.startswith(start)), None)
            if other is not None:
                value = getattr(other, name).value
                label = shortened(other.label, 48)
                axes.axhline(value, color=getattr(theme, colour), linestyle=style, linewidth=1.2, label=label)
        axes.set_title(FIGURES[name], fontsize=10)
        axes.set_xlim(-0.6, len(blocks) - 0.4)
        axes.set_xticks(places, [str(score.block) for score in blocks], rotation=90, fontsize=8)
        axes.set_xlabel("block, stage.number")
        percent_axis(axes.yaxis, None)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def methods_figure(result: Localization, theme: Theme = LIGHT, *, columns: int = len(FIGURES | CURVES)) -> Figure:
    """Draw the figures of the main block and of all other methods as bars with 95 % intervals, in so many columns."""
    scores = [score for score in result.methods if score.kind != "modulator" or score.key == result.main][::-1]
    names = result.figures
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    size = (2.0 + 2.4 * columns, rows * (1.4 + (0.42 if rows == 1 else 0.3) * len(scores)))
    figure, grid = new_figure(rows, columns, size=size, sharey=True, squeeze=False)
    places = np.arange(len(scores))
    for axes in grid.flat[len(names) :]:
        axes.remove()
    for axes, (name, words) in zip(grid.flat, names.items(), strict=False):
        values, below, above = _with_margins(scores, name)
        colours = [getattr(theme, _COLOURS[score.kind]) for score in scores]
        bars = {"linewidth": 0.9, "ecolor": theme.ink}
        axes.barh(places, values, xerr=[below, above], color=colours, height=0.7, error_kw=bars)
        axes.set_title(words, fontsize=9)
        percent_axis(axes.xaxis, None)
        axes.set_xlim(left=0)
    for axes in grid[:, 0]:
        axes.set_yticks(places, [shortened(score.label, 52) for score in scores], fontsize=8)
    return figure


def draw_blocks(result: Localization, path: str | Path) -> None:
    """Draw :func:`blocks_figure` into a PNG file."""
    write_chart(functools.partial(blocks_figure, result), path)


def draw_methods(result: Localization, path: str | Path) -> None:
    """Draw :func:`methods_figure` into a PNG file."""
    write_chart(functools.partial(methods_figure, result), path)


def draw_examples(examples: Sequence[Example], path: str | Path) -> None:
    """Draw images with their maps as a contact sheet."""
    columns = min(_COLUMNS, len(examples))
    rows = -(-len(examples) // columns)

    def draw(_theme: Theme) -> Figure:
        figure, grid = new_figure(rows, columns, size=(4.6 * columns, 2.75 * rows), squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, example in zip(grid.flat, examples, strict=False):
            axes.imshow(np.concatenate((example.picture, example.heat), axis=1))
            score = example.score
            words = f"{shortened(score.name, 40)}\n{describe_example(score)}"
            axes.set_title(words, fontsize=8, loc="left")
        return figure

    write_chart(draw, path)


def describe_example(score: ImageScore) -> str:
    """Say what the main map gets on an image."""
    if score.auc is None:
        return f"insertion {score.insertion:.1%}, deletion {score.deletion:.1%}"
    return f"AUC {score.auc:.1%}, {score.energy:.1%} of the map on the object"


def _worth(score: ImageScore) -> float:
    if score.auc is not None:
        return score.auc
    assert score.insertion is not None, "an image is scored by something"
    assert score.deletion is not None, "an image is scored by something"
    return score.insertion - score.deletion


def _example(
    model: FocalNet, images: AnnotatedImages, score: ImageScore, result: Localization, focus: BlockId
) -> Example:
    view = make_view(images[score.index], score.index, model.preprocessing, result.size_px)
    heat = draw_map(model, view, result.main, focus)[0]
    scale = min(_EXAMPLE_PX / min(view.picture.size), _LONGEST_EXAMPLE_PX / max(view.picture.size))
    size = (max(1, round(view.picture.width * scale)), max(1, round(view.picture.height * scale)))
    picture = np.asarray(view.photo.resize(size, Image.Resampling.LANCZOS))
    row, column = peak(heat)
    drawn = mark_point(draw_outline(overlay(picture, heat), view.mask), (row + 0.5) * scale, (column + 0.5) * scale)
    return Example(score, draw_outline(picture, view.mask), drawn)


def _with_margins(scores: Sequence[MethodScore], name: str) -> tuple[list[float], list[float], list[float]]:
    """Return values of a figure, and how far their intervals reach below and above."""
    figures = [getattr(score, name) or _NOT_MEASURED for score in scores]
    below = [max(0.0, estimate.value - estimate.low) for estimate in figures]
    above = [max(0.0, estimate.high - estimate.value) for estimate in figures]
    return [estimate.value for estimate in figures], below, above


def _shade_stages(axes: Any, blocks: Sequence[MethodScore], theme: Theme) -> None:
    stages = [str(score.block).split(".")[0] for score in blocks]
    for stage in sorted(set(stages), key=int)[1::2]:
        first = stages.index(stage)
        axes.axvspan(first - 0.5, first + stages.count(stage) - 0.5, color=theme.grey, alpha=0.12, linewidth=0)
