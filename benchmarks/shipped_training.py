"""The training of the network in the package, told from the files that lie beside its weights."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

from benchmarks.markdown import table
from focalnets.compare.charts import draw_progress
from focalnets.weights.shipped import DEFAULT, SHIPPED

__all__ = ["DESCRIPTION", "show"]

DESCRIPTION = """\
From random weights on two cores, one process on each; the last 17 epochs, beside pictures of none of the classes, on
one core. `log.txt`, `config.yaml`, `metrics.csv` and the card with the commands lie beside the weights in the package.
Top-1 in the table and the picture is that of the weights' moving average on the part of the validation images that
judged while training ran; the last line says what all of them give."""


def show(document: Path) -> list[str]:
    """Write paragraphs of what it reached by its epochs and by the clock, with a picture beside ``document``."""
    folder = SHIPPED[DEFAULT].folder
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as lines:
        epochs = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]
    minutes = list(itertools.accumulate(row["seconds"] / 60 for row in epochs))
    growing = [row["image_size"] != after["image_size"] for row, after in itertools.pairwise(epochs)]
    shown = [(row["epoch"] % 10 == 0) or change for row, change in zip(epochs, [*growing, True], strict=True)]
    rows = [["epochs", "trained at [px]", "minutes so far", "top-1 [%]", "validation loss"]]
    for row, passed, is_shown in zip(epochs, minutes, shown, strict=True):
        if is_shown:
            top1, loss = f"{100 * row['val_top1']:.1f}", f"{row['val_loss']:.3f}"
            rows.append([f"{row['epoch']:.0f}", f"{row['image_size']:.0f}", f"{passed:.0f}", top1, loss])
    draw_progress(
        [row["epoch"] for row in epochs],
        minutes,
        [row["val_top1"] for row in epochs],
        document.parent / "images" / "shipped_training.png",
    )
    card = (folder / "README.md").read_text(encoding="utf-8")
    judged = card.partition("## Metrics\n")[2].partition("\n## ")[0].partition("\n\n")[0].removesuffix(":")
    return [
        f"{DEFAULT}:",
        table(rows),
        "![top-1 by epochs and by minutes](images/shipped_training.png)",
        f"By all images: {judged}",
    ]
