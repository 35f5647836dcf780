"""Pictures of an evaluation as PNG files, in colours that colour-blind people can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from focalnets.intervals import wilson_interval
from focalnets.report.figure import new_figure, percent_axis, save_chart, shortened
from focalnets.tasks.classify.results import Evaluation, Mistake
from focalnets.tasks.robustness import CorruptionStudy, ResolutionStudy

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "draw_calibration",
    "draw_confusion",
    "draw_corruptions",
    "draw_mistakes",
    "draw_resolutions",
]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#6b7280"
_COLUMNS = 6


def draw_calibration(evaluation: Evaluation, path: str | Path) -> None:
    """Draw accuracy against confidence in bins of both kinds, and how many images each confidence has."""
    figure, (reliability, counts) = new_figure(2, 1, size=(5.6, 6.6), height_ratios=[3, 1], sharex=True)
    calibration = evaluation.calibration
    reliability.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="as sure as right")
    kinds = (
        (calibration.equal_width, _BLUE, "o", f"bins of equal width: ECE {calibration.ece_equal_width:.1%}"),
        (calibration.equal_count, _ORANGE, "s", f"bins of equal count: ECE {calibration.ece_equal_count:.1%}"),
    )
    for bins, colour, marker, label in kinds:
        filled = [(one, wilson_interval(round(one.accuracy * one.images), one.images)) for one in bins if one.images]  # type: ignore[operator]
        heights = [one.accuracy for one, _ in filled]
        below = [max(0.0, one.accuracy - low) for one, (low, _) in filled]  # type: ignore[operator]
        above = [max(0.0, high - one.accuracy) for one, (_, high) in filled]  # type: ignore[operator]
        reliability.errorbar(
            [one.confidence for one, _ in filled], heights, yerr=[below, above], color=colour, marker=marker,
            markersize=4, linewidth=1.2, elinewidth=0.8, capsize=2, label=label,
        )  # fmt: skip
    percent_axis(reliability.yaxis)
    reliability.set_ylim(-0.03, 1.03)
    reliability.set_ylabel("share that is right, 95 % intervals")
    reliability.set_title(
        f"mean confidence {calibration.mean_confidence:.1%}, top-1 {evaluation.top1:.1%}, {evaluation.images:,} images",
        fontsize=10,
    )
    figure.legend(fontsize=8, loc="outside lower center")
    width = 1 / len(calibration.equal_width)
    middles = [(one.low + one.high) / 2 for one in calibration.equal_width]
    counts.bar(middles, [one.images for one in calibration.equal_width], width=0.92 * width, color=_BLUE)
    percent_axis(counts.xaxis)
    counts.set_xlim(0, 1)
    counts.set_xlabel("confidence in the likeliest class")
    counts.set_ylabel("images")
    save_chart(figure, path)


def draw_resolutions(study: ResolutionStudy, path: str | Path) -> None:
    """Draw accuracy over the input size, with 95 % intervals."""
    figure, axes = new_figure(size=(7.2, 4.2))
    for key, colour, marker, label in (("top5", _ORANGE, "s", "top-5"), ("top1", _BLUE, "o", "top-1")):
        intervals = [getattr(figures, f"{key}_interval") for figures in study.figures]
        lows, highs = [low for low, _ in intervals], [high for _, high in intervals]
        axes.fill_between(study.sizes_px, lows, highs, color=colour, alpha=0.15, linewidth=0)
        axes.plot(study.sizes_px, [getattr(f, key) for f in study.figures], color=colour, marker=marker, label=label)
    axes.axvline(study.own_size_px, color=_GREY, linestyle="--", linewidth=1, label="the network's own size")
    axes.set_xticks(
        study.sizes_px, [str(size) for size in study.sizes_px], rotation=90 if len(study.sizes_px) > 12 else 0
    )
    axes.set_xlabel("input size [px]")
    axes.set_ylabel("accuracy, 95 % intervals")
    percent_axis(axes.yaxis)
    axes.set_ylim(0, 1.03)
    axes.legend(fontsize=8)
    save_chart(figure, path)


def draw_corruptions(study: CorruptionStudy, clean: Evaluation, path: str | Path) -> None:
    """Draw top-1 accuracy as a table: one row a corruption, one column a severity, unspoiled pictures at the left."""
    import numpy as np

    measured = np.array([trial.figures.top1 for trial in study.trials])
    measured = measured.reshape(len(study.corruptions), len(study.severities))
    table = np.concatenate([np.full((len(measured), 1), clean.top1), measured, measured.mean(1, keepdims=True)], axis=1)
    figure, axes = new_figure(size=(3.2 + 0.8 * table.shape[1], 1.6 + 0.36 * len(table)))
    image = axes.imshow(table, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
    for (row, column), share in np.ndenumerate(table):
        colour = "black" if share > 0.55 else "white"
        axes.text(column, row, f"{share:.1%}", ha="center", va="center", fontsize=8, color=colour)
    heads = ["clean", *(f"severity {severity}" for severity in study.severities), "mean"]
    axes.set_xticks(range(len(heads)), heads, fontsize=8)
    axes.set_yticks(range(len(table)), [name.replace("_", " ") for name in study.corruptions], fontsize=9)
    axes.set_title(f"top-1 {study.mean_top1():.1%} on average, {clean.top1:.1%} on unspoiled pictures", fontsize=10)
    figure.colorbar(image, ax=axes, label="top-1")
    axes.grid(visible=False)
    save_chart(figure, path)


def draw_mistakes(mistakes: Sequence[Mistake], pictures: Sequence[Image.Image], path: str | Path) -> None:
    """Draw the most confident wrong predictions as a contact sheet.

    Args:
        mistakes: The surest first; at least one.
        pictures: What the network saw of each.
        path: The PNG file.
    """
    columns = min(_COLUMNS, len(mistakes))
    rows = -(-len(mistakes) // columns)
    figure, grid = new_figure(rows, columns, size=(max(3.4, 2.1 * columns), 2.75 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, mistake, picture in zip(grid.flat, mistakes, pictures, strict=False):
        axes.imshow(picture)
        true, predicted, file = map(shortened, (mistake.true_class, mistake.predicted_class, Path(mistake.path).name))
        words = f"is {true}\ncalled {predicted}, {mistake.confidence:.0%}\n{file}"
        axes.set_title(words, fontsize=8, loc="left", parse_math=False)
    save_chart(figure, path)


_MOST_LABELLED_CLASSES = 60


_MOST_NUMBERED_CLASSES = 20


def draw_confusion(evaluation: Evaluation, path: str | Path) -> None:
    """Draw which classes are taken for which, each row as shares of its true class, into a PNG file.

    Up to 60 classes are named and up to 20 carry their counts. Classes without images stay blank.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.asarray(evaluation.confusion)
    names = [figures.name for figures in evaluation.per_class]
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    side = min(16.0, 4.0 + 0.35 * len(names))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"top-1 {evaluation.top1:.2%} on {evaluation.images:,} images")
    if len(names) <= _MOST_LABELLED_CLASSES:
        # Dollar signs in names are no formulas.
        labels = [shortened(name, 40) for name in names]
        axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(len(names)), labels, fontsize=8, parse_math=False)
    if len(names) <= _MOST_NUMBERED_CLASSES:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=colour)
    save_chart(figure, path)
