"""Charts of an evaluation: each can be drawn for a light or a dark page, and written as a PNG file.

A function ``..._figure`` returns a matplotlib figure in the colours of a theme; ``draw_...`` writes it in light ones.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focalnets.intervals import wilson_interval
from focalnets.report.colours import LIGHT, Theme
from focalnets.report.figure import fraction_map, ink_on, new_figure, percent_axis, shortened, write_chart
from focalnets.tasks.classify.classified import Classified, ConfidentError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

__all__ = [
    "calibration_figure",
    "confusion_figure",
    "draw_calibration",
    "draw_confident_errors",
    "draw_confusion",
]

_COLUMNS = 6
_MOST_LABELLED_CLASSES = 60
_MOST_NUMBERED_CLASSES = 20
_LONGEST_LABEL = 28


def calibration_figure(evaluation: Classified, theme: Theme = LIGHT) -> Figure:
    """Draw accuracy against confidence in bins of both kinds, and how many images each confidence has."""
    figure, (reliability, counts) = new_figure(2, 1, size=(5.6, 6.6), height_ratios=[3, 1], sharex=True)
    calibration = evaluation.calibration
    reliability.plot([0, 1], [0, 1], color=theme.grey, linestyle="--", linewidth=1, label="as sure as right")
    kinds = (
        (calibration.equal_width, theme.blue, "o", f"bins of equal width: ECE {calibration.ece_equal_width:.1%}"),
        (calibration.equal_count, theme.orange, "s", f"bins of equal count: ECE {calibration.ece_equal_count:.1%}"),
    )
    for bins, colour, marker, label in kinds:
        points = [
            (bin_.confidence, bin_.accuracy, wilson_interval(round(bin_.accuracy * bin_.images), bin_.images))
            for bin_ in bins
            if bin_.confidence is not None and bin_.accuracy is not None
        ]
        margins = [
            [max(0.0, accuracy - low) for _, accuracy, (low, _) in points],
            [max(0.0, high - accuracy) for _, accuracy, (_, high) in points],
        ]
        reliability.errorbar(
            [confidence for confidence, _, _ in points], [accuracy for _, accuracy, _ in points], yerr=margins,
            color=colour, marker=marker, markersize=4, linewidth=1.2, elinewidth=0.8, capsize=2, label=label,
        )  # fmt: skip
    percent_axis(reliability.yaxis)
    reliability.set_ylim(-0.03, 1.03)
    reliability.set_ylabel("fraction that is right, 95 % intervals")
    reliability.set_title(
        f"mean confidence {calibration.mean_confidence:.1%}, top-1 {evaluation.top1:.1%}, "
        f"{evaluation.images:,} {evaluation.unit}",
        fontsize=10,
    )
    figure.legend(fontsize=8, loc="outside lower center")
    width = 1 / len(calibration.equal_width)
    middles = [(bin_.low + bin_.high) / 2 for bin_ in calibration.equal_width]
    counts.bar(middles, [bin_.images for bin_ in calibration.equal_width], width=0.92 * width, color=theme.blue)
    percent_axis(counts.xaxis)
    counts.set_xlim(-0.015, 1.015)
    counts.yaxis.get_major_locator().set_params(integer=True)
    counts.set_xlabel("confidence in the likeliest class")
    counts.set_ylabel(evaluation.unit)
    return figure


def confusion_figure(evaluation: Classified, theme: Theme = LIGHT) -> Figure:
    """Draw which classes are taken for which, each row as fractions of its true class.

    Classes without images have no row and no column. Images that are taken for one of them are counted in a last
    column. Up to 60 classes are named, and up to 20 carry their counts.
    """
    import numpy as np

    counts, rows, columns = _confusion_with_images(evaluation)
    totals = counts.sum(1, keepdims=True)
    fractions = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    named = len(rows) <= _MOST_LABELLED_CLASSES
    labels_width = 0.068 * max(map(len, columns), default=0) if named else 0.3
    side = min(16.0, 2.4 + 0.35 * len(rows))
    figure, axes = new_figure(size=(side + labels_width + 1.0, side + labels_width + 0.2))
    image = axes.imshow(fractions, cmap=fraction_map(theme), vmin=0.0, vmax=1.0, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, label="fraction of the true class", fraction=0.046)
    percent_axis(bar.ax.yaxis)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"top-1 {evaluation.top1:.2%} on {evaluation.images:,} {evaluation.unit}", fontsize=10)
    axes.grid(visible=False)
    if named:
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
    if len(rows) <= _MOST_NUMBERED_CLASSES:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = ink_on(image.cmap(image.norm(fractions[row, column])))
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=colour)
    return figure


def draw_calibration(evaluation: Classified, path: str | Path) -> None:
    """Draw :func:`calibration_figure` into a PNG file."""
    write_chart(functools.partial(calibration_figure, evaluation), path)


def draw_confusion(evaluation: Classified, path: str | Path) -> None:
    """Draw :func:`confusion_figure` into a PNG file."""
    write_chart(functools.partial(confusion_figure, evaluation), path)


def draw_confident_errors(
    mistakes: Sequence[ConfidentError], pictures: Sequence[Image.Image], path: str | Path
) -> None:
    """Draw the most confident wrong predictions as a contact sheet.

    Args:
        mistakes: The most confident first; at least one.
        pictures: What the network saw of each.
        path: The PNG file.
    """
    columns = min(_COLUMNS, len(mistakes))
    rows = -(-len(mistakes) // columns)

    def draw(_theme: Theme) -> Figure:
        figure, grid = new_figure(rows, columns, size=(max(3.4, 2.1 * columns), 2.75 * rows), squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, mistake, picture in zip(grid.flat, mistakes, pictures, strict=False):
            axes.imshow(picture)
            names = (mistake.true_class, mistake.predicted_class, Path(mistake.path).name)
            true, predicted, file = map(shortened, names)
            axes.set_title(f"is {true}\ncalled {predicted}, {mistake.confidence:.0%}\n{file}", fontsize=8, loc="left")
        return figure

    write_chart(draw, path)


def _confusion_with_images(evaluation: Classified) -> tuple[Any, list[str], list[str]]:
    """Select the counts of the classes that have images, and name their rows and columns."""
    import numpy as np

    counts = np.asarray(evaluation.confusion)
    seen = np.array([figures.images > 0 for figures in evaluation.per_class])
    rows = [shortened(figures.name, _LONGEST_LABEL) for figures in evaluation.per_class if figures.images]
    chosen, elsewhere = counts[seen][:, seen], counts[seen][:, ~seen].sum(1, keepdims=True)
    if not elsewhere.any():
        return chosen, rows, rows
    return np.concatenate([chosen, elsewhere], axis=1), rows, [*rows, f"a class without {evaluation.unit}"]
