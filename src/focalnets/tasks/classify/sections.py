"""The sections of a page about an evaluation of a classifier."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from focalnets.report.figure import shortened
from focalnets.report.names import list_some
from focalnets.report.parts import (
    Card,
    Chart,
    Column,
    Gallery,
    Paragraph,
    Part,
    Picture,
    Row,
    Section,
    Table,
    WithInterval,
)
from focalnets.report.words import Mark
from focalnets.tasks.classify.classified import Classified
from focalnets.tasks.classify.figures import (
    calibration_figure,
    confusion_figure,
)
from focalnets.tasks.classify.results import Evaluation

__all__ = [
    "calibration_section",
    "classes_section",
    "confusion_section",
    "errors_section",
]

_SHOWN_PX = 224
_LONGEST_NAME = 80


def classes_section(evaluation: Classified) -> Section:
    """Tell how well each class that has images is recognised, the hardest first."""
    seen = sorted(
        (figures for figures in evaluation.per_class if figures.images), key=lambda figures: figures.recall or 0
    )
    rows = []
    for figures in seen:
        recall = WithInterval(figures.recall or 0.0, *(figures.recall_interval or (0.0, 1.0)))
        rows.append(Row((_class_name(figures.name), figures.images, recall, figures.precision)))
    columns = (
        Column("class"), Column(evaluation.unit, "number", ",d"), Column("recall (95 % interval)", "bar", ".1%"),
        Column("precision", "number", ".1%"),
    )  # fmt: skip
    return Section(
        "Class by class",
        [
            Paragraph(
                f"Recall is the fraction of a class's {evaluation.unit} that are recognised, with its 95 % interval; "
                "precision is the fraction of what is called so that is so. The hardest classes come first."
            ),
            *_left_out_classes(evaluation),
            Table(columns, rows),
        ],
    )


def confusion_section(evaluation: Classified) -> Section:
    """Show which classes are taken for which."""
    chart = Chart(
        functools.partial(confusion_figure, evaluation),
        "Confusion matrix: rows are the true classes, columns the predicted ones",
        [f"Each row is a true class, and its cells say what its {evaluation.unit} were taken for."],
    )
    return Section("What is taken for what", [chart])


def _left_out_classes(evaluation: Classified) -> list[Part]:
    """Say in one line which classes have no images."""
    names = [shortened(figures.name, 40) for figures in evaluation.per_class if not figures.images]
    if not names:
        return []
    whole = f"{len(names):,} of {len(evaluation.per_class):,} classes have no {evaluation.unit} here"
    left_out = f"{whole} and are left out of the table and the matrix: "
    return [Paragraph((left_out, Mark(list_some(names)), "."), "note")]


def calibration_section(evaluation: Classified) -> Section:
    """Tell whether the network is right as often as it is sure."""
    calibration, top1 = evaluation.calibration, evaluation.top1
    tendency = "surer than it is right" if calibration.mean_confidence > top1 else "right more often than it is sure"
    words = (
        f"On average the network has a confidence of {calibration.mean_confidence:.1%} and is right in {top1:.1%}: it "
        f"is {tendency}. Expected calibration error: {calibration.ece_equal_width:.2%} with "
        f"{len(calibration.equal_width)} bins of equal width, {calibration.ece_equal_count:.2%} with "
        f"{len(calibration.equal_count)} bins of equal count. Largest gap of a bin of equal width: "
        f"{calibration.largest_gap:.1%}."
    )
    chart = Chart(
        functools.partial(calibration_figure, evaluation),
        "Reliability diagram: accuracy over confidence",
        ["On the dashed line the network is right as often as it is sure; below it, it is too sure."],
    )
    return Section("Is it right as often as it is sure?", [Paragraph(words), chart])


def errors_section(evaluation: Evaluation, pictures: Sequence[Image.Image]) -> Section:
    """Show the most confident errors.

    Args:
        evaluation: What was measured.
        pictures: What the network saw of each of them.
    """
    title = "Most confident errors"
    if not evaluation.mistakes:
        none = "There are none: every image was recognised." if evaluation.top1 == 1.0 else "None were asked for."
        return Section(title, [Paragraph(none)])
    cards = [
        Card(
            [Picture(picture, shortened(mistake.true_class, 40), longest_px=_SHOWN_PX)],
            [
                (Mark(shortened(mistake.predicted_class, 40), "bad"), f" {mistake.confidence:.0%}"),
                ("is ", Mark(shortened(mistake.true_class, 40)), f" {mistake.true_confidence:.0%}"),
                Mark(shortened(Path(mistake.path).name, 40), "soft"),
            ],
        )
        for mistake, picture in zip(evaluation.mistakes, pictures, strict=True)
    ]
    words = (
        "The wrong answers that the network gave with the most confidence, as it saw the images. In red what it said, "
        "below it what the label says, each with the confidence. Labels may be wrong, too."
    )
    return Section(title, [Paragraph(words), Gallery(cards, "medium")])


def _class_name(name: str) -> str:
    return shortened(name, _LONGEST_NAME)
