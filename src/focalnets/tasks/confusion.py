"""A confusion matrix as a picture."""

from __future__ import annotations

from pathlib import Path

from focalnets.tasks.figures import save_chart, shortened
from focalnets.tasks.results import Evaluation

__all__ = ["draw_confusion"]

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
