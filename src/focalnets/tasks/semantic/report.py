"""The files and sections that naming pixels adds to predictions and evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnets.files import csv_text, replacing, write_json, write_text
from focalnets.report.figure import shortened
from focalnets.report.names import unique_names
from focalnets.report.overlay import (
    class_colours,
    class_numbers,
    colours_by_number,
    indexed_picture,
    laid_over,
    with_key,
)
from focalnets.report.parts import Card, Column, Gallery, Matrix, Paragraph, Part, Picture, Row, Section, Table
from focalnets.report.words import Mark
from focalnets.tasks.semantic.results import Evaluation, ImageResult, Segmentation

__all__ = ["evaluation_sections", "write_class_maps", "write_evaluation_files"]

_MOST_IN_MATRIX = 30
_SHOWN_PX = 320
_IGNORED = 255


def write_class_maps(results: Sequence[Segmentation], folder: Path) -> list[str]:
    """Write the class map of each photo as ``NAME_classes.png``, and ``classes.json``; returns the files' names.

    Numbers up to 255 make a picture with a palette, larger ones 16 bits.
    """
    names = []
    files = unique_names([result.path for result in results], "_classes.png")
    for result, name in zip(results, files, strict=True):
        numbers = class_numbers(result.class_ids, len(result.class_names))
        values = numbers[result.labels]
        picture = Image.fromarray(values)
        if values.dtype == np.uint8:
            picture = indexed_picture(values, colours_by_number(numbers))
        with replacing(folder / name) as temporary:
            picture.save(temporary, format="png")
        names.append(name)
    if results:
        class_names, ids = results[0].class_names, results[0].class_ids
        if ids is None:
            write_json(folder / "classes.json", list(class_names))
        else:
            entries = [{"id": number, "name": name} for number, name in zip(ids, class_names, strict=True)]
            write_json(folder / "classes.json", entries)
        names.append("classes.json")
    return names


def write_evaluation_files(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write figures as CSV; returns the files' names."""
    names = [each.class_name for each in evaluation.classes]
    write_text(folder / "per_class.csv", csv_text(*evaluation.per_class_table()))
    rows = [[name, *counts] for name, counts in zip(names, evaluation.confusion, strict=True)]
    write_text(folder / "confusion.csv", csv_text(["true class", *names], rows))
    heading = ["path", "miou", "wrong", "confidence"]
    worst = [[str(image.path), image.miou, image.wrong, image.confidence] for image in evaluation.worst]
    write_text(folder / "worst.csv", csv_text(heading, worst))
    return ["per_class.csv", "confusion.csv", "worst.csv"]


def evaluation_sections(evaluation: Evaluation, data: Any) -> list[Section]:
    """Make the sections of an evaluation's page; pictures are read from the data."""
    return [_classes_section(evaluation), _confusion_section(evaluation), _worst_section(evaluation, data)]


def _classes_section(evaluation: Evaluation) -> Section:
    columns = [
        Column("class"), Column("IoU", "bar", ".1%"), Column("recall", "number", ".1%"),
        Column("precision", "number", ".1%"), Column("pixels", "number", ","), Column("most often taken for"),
    ]  # fmt: skip
    known = sorted((each for each in evaluation.classes if each.iou is not None), key=lambda each: each.iou or 0.0)
    rows = [
        Row((
            shortened(each.class_name, 60), each.iou, each.recall, each.precision, each.pixels,
            shortened(each.confused_with or "–", 60),
        ))
        for each in known
    ]  # fmt: skip
    parts: list[Part] = [
        Paragraph(
            "Of all pixels that are of a class or named so, IoU (intersection over union) is the fraction that is "
            "both. Pixels are counted at the size of the photos, over all images together; those of which the data "
            "says nothing do not count. The classes that are found worst come first."
        ),
        Table(columns, rows),
    ]
    absent = [shortened(each.class_name, 40) for each in evaluation.classes if each.iou is None]
    if absent:
        parts.append(Paragraph(f"Neither in the data nor in the answers: {', '.join(absent[:40])}.", "note"))
    return Section("Class by class", parts)


def _confusion_section(evaluation: Evaluation) -> Section:
    title = "What is taken for what"
    shown = [label for label, each in enumerate(evaluation.classes) if each.pixels]
    if len(shown) > _MOST_IN_MATRIX:
        return Section(title, [Paragraph(f"With {len(shown)} classes the matrix is in the file confusion.csv.")])
    counts = np.array(evaluation.confusion, dtype=np.float64)[np.ix_(shown, shown)]
    percent = np.rint(100 * counts / counts.sum(1, keepdims=True).clip(1)).astype(int).tolist()
    names = [shortened(evaluation.classes[label].class_name, 24) for label in shown]
    words = "Each row is a true class, and its cells say what percentage of its pixels was named what."
    return Section(title, [Paragraph(words), Matrix(names, percent)])


def _worst_section(evaluation: Evaluation, data: Any) -> Section:
    title = "Confident errors"
    if not evaluation.worst:
        return Section(title, [Paragraph("None were asked for, or no pixel is wrong.")])
    words = (
        "The images of which most is wrong and was said with confidence. From left to right what the network said, "
        "what the data says, and in red what differs. The data may be wrong, too."
    )
    names = [each.class_name for each in evaluation.classes]
    return Section(
        title, [Paragraph(words), Gallery([_card(image, data, names) for image in evaluation.worst], "large")]
    )


def _card(image: ImageResult, data: Any, names: Sequence[str]) -> Card:
    photo, known = data[image.index]
    height, width = image.said.shape
    small = photo.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    numbers = Image.fromarray(known.semantic.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
    truth = np.asarray(numbers)
    colours = class_colours(len(names))
    wrong = np.where(truth == _IGNORED, 0, truth != image.said)
    sides = [
        laid_over(small, image.said, colours),
        laid_over(small, truth, colours, ignored=_IGNORED),
        laid_over(small, wrong.astype(np.int64), np.array([[255, 255, 255], [214, 40, 40]], np.uint8), strength=0.6),
    ]
    page = Image.new("RGB", (3 * width + 8, height), (255, 255, 255))
    for place, side in enumerate(sides):
        page.paste(side, (place * (width + 4), 0))
    there = np.unique(np.concatenate([image.said.ravel(), truth[truth != _IGNORED].ravel()]))
    keyed = with_key(page, [(shortened(names[label], 20), colours[label]) for label in there.tolist()])
    confidence = "" if image.confidence is None else f", said with {image.confidence:.0%}"
    return Card(
        [Picture(keyed, f"answer, truth and errors of {shortened(image.path.name, 40)}", longest_px=3 * _SHOWN_PX)],
        [
            (Mark(f"{image.wrong:.0%} wrong", "bad"), confidence, f"; mIoU {image.miou:.0%}"),
            Mark(shortened(image.path.name, 40), "soft"),
        ],
    )
