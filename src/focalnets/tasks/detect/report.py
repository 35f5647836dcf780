"""The files and sections that finding objects adds to predictions and evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.files import csv_text, write_json, write_text
from focalnets.report.figure import shortened
from focalnets.report.overlay import class_colours
from focalnets.report.parts import Card, Column, Gallery, Paragraph, Part, Picture, Row, Section, Table
from focalnets.report.words import Mark
from focalnets.tasks.detect.drawing import cut_around, draw_box
from focalnets.tasks.detect.results import ClassResult, Detections, Evaluation, Mistake

__all__ = ["evaluation_sections", "write_coco_results", "write_evaluation_files"]

_SHOWN_PX = 240


def write_coco_results(results: Sequence[Detections], folder: Path) -> list[str]:
    """Write ``coco_results.json``, an entry for each object; returns the files' names.

    The number of an image is the one in its name, as COCO's photos have it; photos without one are named.
    """
    entries = [entry for result in results for entry in result.to_coco(_image_id(result.path))]
    write_json(folder / "coco_results.json", entries)
    return ["coco_results.json"]


def _image_id(path: Path) -> int | str:
    return int(path.stem) if path.stem.isascii() and path.stem.isdecimal() else path.name


def write_evaluation_files(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write figures as CSV; returns the files' names."""
    write_text(folder / "per_class.csv", csv_text(*evaluation.per_class_table()))
    heading = ["path", "kind", "class", "score", "left", "top", "right", "bottom", "truth"]
    rows = [
        [str(mistake.path), mistake.kind, mistake.class_name, mistake.score, *mistake.box, mistake.truth or ""]
        for mistake in evaluation.mistakes
    ]
    write_text(folder / "mistakes.csv", csv_text(heading, rows))
    return ["per_class.csv", "mistakes.csv"]


def evaluation_sections(evaluation: Evaluation, data: Any) -> list[Section]:
    """Make the sections of an evaluation's page; pictures are read from the data."""
    return [_classes_section(evaluation), _sizes_section(evaluation), _mistakes_section(evaluation, data)]


def _classes_section(evaluation: Evaluation) -> Section:
    names = [name for name in (evaluation.classes[0].figures if evaluation.classes else ()) if name.endswith("map50")]
    columns = [
        Column("class"), *(Column("mask AP50" if name.startswith("mask") else "AP50", "bar", ".1%") for name in names),
        Column("objects", "number", ","), Column("found", "number", ".1%"), Column("missed", "number", ","),
        Column("spurious", "number", ","), Column("found twice", "number", ","),
    ]  # fmt: skip
    known = sorted((each for each in evaluation.classes if each.objects), key=lambda each: _rank(each, names))
    rows = [
        Row((
            shortened(each.class_name, 60), *(each.figures[name] for name in names), each.objects, each.recall,
            each.missed, each.spurious, each.doubled,
        ))
        for each in known
    ]  # fmt: skip
    parts: list[Part] = [
        Paragraph(
            "AP50 is the average precision of detections that overlap an object by half or more (intersection over "
            "union), over all scores. What was found, missed, spurious or found twice counts detections from score "
            f"{evaluation.counted_from:g} on. The classes that are found worst come first."
        ),
        Table(columns, rows),
    ]
    absent = [shortened(each.class_name, 40) for each in evaluation.classes if not each.objects]
    if absent:
        parts.append(Paragraph(f"Of these classes the data shows no object: {', '.join(absent[:40])}.", "note"))
    return Section("Class by class", parts)


def _rank(result: ClassResult, names: Sequence[str]) -> float:
    value = result.figures[names[0]] if names else None
    return 2.0 if value is None else value


def _sizes_section(evaluation: Evaluation) -> Section:
    figures = evaluation.metrics
    columns = [Column("objects"), Column("AP", "bar", ".1%")]
    kinds = [("", "box")]
    if "mask_map" in figures:
        columns, kinds = [Column("objects"), Column("AP", "bar", ".1%"), Column("mask AP", "bar", ".1%")], [
            ("", "box"), ("mask_", "mask")]  # fmt: skip
    words = {
        "small": "small, below 32 x 32 px", "medium": "medium, to 96 x 96 px", "large": "large, from there on",
    }  # fmt: skip
    rows = [
        Row((words[size], *(figures[f"{prefix}map_{size}"] for prefix, _ in kinds)))
        for size in ("small", "medium", "large")
    ]
    text = (
        "Average precision over overlaps from 0.5 to 0.95, by the size of objects in the photos. Where the data shows "
        "none of a size it is 0."
    )
    return Section("By size", [Paragraph(text), Table(columns, rows)])


def _mistakes_section(evaluation: Evaluation, data: Any) -> Section:
    title = "Confident errors"
    if not evaluation.mistakes:
        return Section(title, [Paragraph("None were asked for, or there are none.")])
    words = (
        "Detections that lie on no object of their class, the surest first, and then objects that were missed, drawn "
        "in broken lines. The data may be wrong, too."
    )
    names = [each.class_name for each in evaluation.classes]
    return Section(title, [Paragraph(words), Gallery([_card(each, data, names) for each in evaluation.mistakes])])


def _card(mistake: Mistake, data: Any, names: Sequence[str]) -> Card:
    photo, _ = data[mistake.index]
    colour = tuple(class_colours(len(names))[names.index(mistake.class_name)].tolist())
    cut, box = cut_around(photo, mistake.box)
    draw_box(cut, box, colour, dashed=mistake.kind == "missed")
    name = shortened(mistake.class_name, 30)
    if mistake.kind == "missed":
        hint = f"; at most {mistake.score:.0%} sure of it" if mistake.score else ""
        line = (Mark(f"missed {name}", "bad"), hint)
    else:
        on = f" on a {shortened(mistake.truth, 30)}" if mistake.truth else ""
        line = (Mark(f"{mistake.kind}: {name}{on}", "bad"), f", {mistake.score:.0%} sure")
    return Card(
        [Picture(cut, f"{mistake.kind} in {shortened(mistake.path.name, 40)}", longest_px=_SHOWN_PX)],
        [line, Mark(shortened(mistake.path.name, 40), "soft")],
    )
