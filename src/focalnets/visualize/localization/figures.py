"""Pictures of a measurement of maps against masks: block by block, method by method, the best and the worst images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnets.data.annotated.images import AnnotatedImages
from focalnets.models.focalnet import FocalNet
from focalnets.report.figure import save_chart, shortened
from focalnets.visualize.draw import draw_outline, mark_point, overlay
from focalnets.visualize.localization.measure import make_view
from focalnets.visualize.localization.results import FIGURES, ImageScore, Localization, MethodScore
from focalnets.visualize.localization.scores import peak
from focalnets.visualize.localization.sources import main_map
from focalnets.visualize.recording import BlockId

__all__ = ["Example", "best_and_worst", "draw_blocks", "draw_examples", "draw_methods"]

_COLOURS = {
    "modulator": "#D55E00",
    "evidence": "#CC79A7",
    "gradcam": "#0072B2",
    "peer": "#009E73",
    "blind": "#6b7280",
}
_LINES = (("gradcam", "#0072B2", "-."), ("untrained", "#E69F00", ":"), ("centre", "#6b7280", "--"))
_EXAMPLE_PX = 320
_COLUMNS = 3


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
    """The images on which the main map does best and worst by pixel AUC, best and worst first; none is in both."""
    ranked = sorted(result.per_image, key=lambda score: (-score.auc, score.index))
    count = min(most, len(ranked) // 2)
    chosen = ranked[:count], ranked[::-1][:count]
    best, worst = ([_example(model, images, score, result.size_px, focus) for score in some] for some in chosen)
    return best, worst


def draw_blocks(result: Localization, path: str | Path) -> None:
    """Draw the figures of every block's modulator with 95 % intervals, and those of other methods as lines."""
    blocks = [score for score in result.methods if score.kind == "modulator"]
    figure, grid = _figure(2, 2, size=(10.5, 7.0))
    places = np.arange(len(blocks))
    for axes, name in zip(grid.flat, [name for name in FIGURES if name != "near"], strict=True):
        _shade_stages(axes, blocks)
        values, below, above = _with_margins(blocks, name)
        colour = _COLOURS["modulator"]
        axes.errorbar(
            places, values, yerr=[below, above], color=colour, marker="o", markersize=4, linewidth=1.3, elinewidth=0.9,
            capsize=2, label="modulator of the block",
        )  # fmt: skip
        for start, line_colour, style in _LINES:
            other = next((score for score in result.methods if score.key.startswith(start)), None)
            if other is not None:
                value = getattr(other, name).value
                label = shortened(other.label, 48)
                axes.axhline(value, color=line_colour, linestyle=style, linewidth=1.2, label=label)
        axes.set_title(FIGURES[name], fontsize=10)
        axes.set_xticks(places, [str(score.block) for score in blocks], rotation=90, fontsize=8)
        axes.set_xlabel("block, stage.number")
        _percent(axes.yaxis)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    save_chart(figure, path)


def draw_methods(result: Localization, path: str | Path) -> None:
    """Draw the figures of the main block and of all other methods as bars with 95 % intervals."""
    scores = [score for score in result.methods if score.kind != "modulator" or score.key == result.main][::-1]
    figure, grid = _figure(1, len(FIGURES), size=(14.0, 1.4 + 0.42 * len(scores)), sharey=True)
    places = np.arange(len(scores))
    for axes, (name, words) in zip(grid.flat, FIGURES.items(), strict=True):
        values, below, above = _with_margins(scores, name)
        colours = [_COLOURS[score.kind] for score in scores]
        axes.barh(places, values, xerr=[below, above], color=colours, height=0.7, error_kw={"linewidth": 0.9})
        axes.set_title(words, fontsize=9)
        _percent(axes.xaxis)
        axes.set_xlim(left=0)
    grid.flat[0].set_yticks(places, [shortened(score.label, 52) for score in scores], fontsize=8, parse_math=False)
    save_chart(figure, path)


def draw_examples(examples: Sequence[Example], path: str | Path) -> None:
    """Draw images with their maps as a contact sheet."""
    columns = min(_COLUMNS, len(examples))
    rows = -(-len(examples) // columns)
    figure, grid = _figure(rows, columns, size=(4.6 * columns, 2.75 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, example in zip(grid.flat, examples, strict=False):
        axes.imshow(np.concatenate((example.picture, example.heat), axis=1))
        score = example.score
        words = f"{shortened(score.name, 40)}\nAUC {score.auc:.1%}, {score.energy:.1%} of the map on the object"
        axes.set_title(words, fontsize=8, loc="left", parse_math=False)
    save_chart(figure, path)


def _example(model: FocalNet, images: AnnotatedImages, score: ImageScore, size_px: int, focus: BlockId) -> Example:
    view = make_view(images[score.index], score.index, model.preprocessing, size_px)
    heat = main_map(model, view, focus)[0]
    scale = _EXAMPLE_PX / min(view.picture.size)
    size = (max(1, round(view.picture.width * scale)), max(1, round(view.picture.height * scale)))
    picture = np.asarray(view.photo.resize(size, Image.Resampling.LANCZOS))
    row, column = peak(heat)
    drawn = mark_point(draw_outline(overlay(picture, heat), view.mask), (row + 0.5) * scale, (column + 0.5) * scale)
    return Example(score, draw_outline(picture, view.mask), drawn)


def _with_margins(scores: Sequence[MethodScore], name: str) -> tuple[list[float], list[float], list[float]]:
    """Values of a figure, and how far their intervals reach below and above."""
    figures = [getattr(score, name) for score in scores]
    below = [max(0.0, one.value - one.low) for one in figures]
    return [one.value for one in figures], below, [max(0.0, one.high - one.value) for one in figures]


def _shade_stages(axes: Any, blocks: Sequence[MethodScore]) -> None:
    stages = [str(score.block).split(".")[0] for score in blocks]
    for stage in sorted(set(stages), key=int)[1::2]:
        first = stages.index(stage)
        axes.axvspan(first - 0.5, first + stages.count(stage) - 0.5, color="#9ca3af", alpha=0.15, linewidth=0)


def _figure(rows: int, columns: int, *, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, **options)
    for axes in grid.flat:
        axes.grid(alpha=0.3)
    return figure, grid


def _percent(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=None))
