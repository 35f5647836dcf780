"""The pictures, files and sections of finding every object and every kind of ground."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnets.files import csv_text, replacing, write_json, write_text
from focalnets.report.figure import shortened
from focalnets.report.names import list_some, unique_names
from focalnets.report.overlay import class_colours, laid_over, with_key
from focalnets.report.parts import Card, Column, Gallery, Paragraph, Picture, Row, Section, Table
from focalnets.report.words import Mark
from focalnets.tasks.panoptic.results import Evaluation, ImageQuality, Panoptic
from focalnets.tasks.panoptic.segments import segments_of_annotation

__all__ = ["drawn_segments", "evaluation_sections", "write_evaluation_files", "write_segment_maps"]


def drawn_segments(picture: Image.Image, ids: np.ndarray, labels: Sequence[int], colours: np.ndarray) -> Image.Image:
    """Tint each segment in the colour of its class, brighter and darker in turn, with a line around it."""
    shades = [colours[label].astype(np.float32) * (1.0, 0.75, 0.55)[number % 3] for number, label in enumerate(labels)]
    table = np.stack([np.zeros(3, np.float32), *shades]).astype(np.uint8)
    return laid_over(picture, ids.astype(np.int64), table, ignored=0)


def write_segment_maps(results: Sequence[Panoptic], folder: Path) -> list[str]:
    """Write segments in COCO's panoptic format: ``panoptic.json`` and ``NAME_panoptic.png``; returns the files' names.

    In the pictures a segment has the number red + 256 green + 65536 blue.
    """
    if not results:
        return []
    names = unique_names([result.path for result in results], "_panoptic.png")
    annotations, images = [], []
    for number, (result, name) in enumerate(zip(results, names, strict=True)):
        ids = result.ids.astype(np.uint32)
        pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        with replacing(folder / name) as temporary:
            Image.fromarray(pixels).save(temporary, format="png")
        images.append({"id": number, "file_name": result.path.name, "width": result.size[0], "height": result.size[1]})
        segments = [
            {
                "id": segment.id, "category_id": result.numbers[segment.class_name], "area": segment.pixels,
                "bbox": list(segment.box), "iscrowd": 0, "score": segment.score,
            }
            for segment in result.segments
        ]  # fmt: skip
        annotations.append({"image_id": number, "file_name": name, "segments_info": segments})
    things = {segment.class_name: segment.is_thing for result in results for segment in result.segments}
    categories = [
        {"id": number, "name": name, "isthing": int(things.get(name, True))}
        for name, number in results[0].numbers.items()
    ]
    write_json(folder / "panoptic.json", {"images": images, "annotations": annotations, "categories": categories})
    return [*names, "panoptic.json"]


def write_evaluation_files(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write figures as CSV; returns the files' names."""
    write_text(folder / "per_class.csv", csv_text(*evaluation.per_class_table()))
    rows = [
        [str(image.path), len(image.spurious), image.spurious[0][1] if image.spurious else None, len(image.missed)]
        for image in evaluation.worst
    ]
    write_text(folder / "worst.csv", csv_text(["path", "spurious", "surest", "missed"], rows))
    return ["per_class.csv", "worst.csv"]


def evaluation_sections(evaluation: Evaluation, data: Any) -> list[Section]:
    """Make the sections of an evaluation's page; pictures are read from the data."""
    return [_classes_section(evaluation), _worst_section(evaluation, data)]


def _classes_section(evaluation: Evaluation) -> Section:
    columns = [
        Column("class"), Column("kind"), Column("PQ", "bar", ".1%"), Column("SQ", "number", ".1%"),
        Column("RQ", "number", ".1%"), Column("matched", "number", ","), Column("spurious", "number", ","),
        Column("missed", "number", ","),
    ]  # fmt: skip
    known = sorted((each for each in evaluation.classes if each.pq is not None), key=lambda each: each.pq or 0.0)
    rows = [
        Row((
            shortened(each.class_name, 60), "objects" if each.is_thing else "ground", each.pq, each.sq, each.rq,
            each.matched, each.spurious, each.missed,
        ))
        for each in known
    ]  # fmt: skip
    words = (
        "A segment of the answer and one of the data match if they are of one class and share more than half of their "
        "union. Recognition quality (RQ) says how many match, segmentation quality (SQ) how well, and panoptic quality "
        "(PQ) is their product. The classes that are found worst come first."
    )
    return Section("Class by class", [Paragraph(words), Table(columns, rows)])


def _worst_section(evaluation: Evaluation, data: Any) -> Section:
    title = "Confident errors"
    if not evaluation.worst:
        return Section(title, [Paragraph("None were asked for, or nothing is spurious or missed.")])
    words = (
        "The images with the surest segments that the data do not have. At the left what the network said, at the "
        "right what the data says. The data may be wrong, too."
    )
    names = [each.class_name for each in evaluation.classes]
    stuff = frozenset(label for label, each in enumerate(evaluation.classes) if not each.is_thing)
    cards = [_card(image, data, names, stuff) for image in evaluation.worst]
    return Section(title, [Paragraph(words), Gallery(cards, "large")])


def _card(image: ImageQuality, data: Any, names: Sequence[str], stuff: frozenset[int]) -> Card:
    photo, known = data[image.index]
    height, width = image.said.shape
    small = photo.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    truth = segments_of_annotation(known, stuff)
    shrunk = np.asarray(Image.fromarray(truth.ids).resize((width, height), Image.Resampling.NEAREST))
    colours = class_colours(len(names))
    page = Image.new("RGB", (2 * width + 4, height), (255, 255, 255))
    page.paste(drawn_segments(small, image.said, image.labels, colours), (0, 0))
    page.paste(drawn_segments(small, shrunk, truth.labels, colours), (width + 4, 0))
    there = sorted({*image.labels, *truth.labels})
    keyed = with_key(page, [(shortened(names[label], 20), colours[label]) for label in there])
    spurious = ", ".join(f"{name} {score:.0%}" for name, score in image.spurious[:4])
    lines: list[Any] = [(Mark("spurious: ", "bad"), spurious)] if spurious else []
    lines += [(Mark("missed: ", "bad"), list_some(list(image.missed), 4))] if image.missed else []
    picture = Picture(keyed, f"answer and truth of {shortened(image.path.name, 40)}", longest_px=960)
    return Card([picture], [*lines, Mark(shortened(image.path.name, 40), "soft")])
