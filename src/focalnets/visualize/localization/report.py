"""All files of a measurement of maps against masks in one folder, with one HTML page that loads nothing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path, PurePath

from focalnets.files import write_json, write_text
from focalnets.intervals import Estimate
from focalnets.report.figure import shortened
from focalnets.report.names import without_folders
from focalnets.report.page import write_page
from focalnets.report.parts import (
    Bullets,
    Card,
    Chart,
    Column,
    Emphasis,
    Fact,
    Facts,
    Gallery,
    Opening,
    Paragraph,
    Part,
    Picture,
    Row,
    Section,
    Table,
    WithInterval,
)
from focalnets.report.words import Mark
from focalnets.version import __version__
from focalnets.visualize.localization.figures import (
    Example,
    blocks_figure,
    describe_example,
    draw_blocks,
    draw_examples,
    draw_methods,
    methods_figure,
)
from focalnets.visualize.localization.results import Localization, MethodScore
from focalnets.visualize.localization.verdicts import describe_verdicts, summarise

__all__ = ["LOCALIZATION_FILES", "write_localization"]

_EXAMPLES = ("best.png", "worst.png")
_OPTIONAL_FILES = ("blocks.png", *_EXAMPLES)
LOCALIZATION_FILES = (
    "localization.json",
    "methods.csv",
    "images.csv",
    "methods.png",
    *_OPTIONAL_FILES,
    "report.html",
)
"""What :func:`write_localization` may write or remove."""
_DRAWN_FIGURE = "auc"


def write_localization(
    result: Localization, best: Sequence[Example], worst: Sequence[Example], folder: str | Path
) -> list[str]:
    """Write figures as JSON and CSV, pictures as PNG and ``report.html`` with all of it; returns the files' names.

    Pictures of examples that an earlier measurement left there are removed where this one has none.
    """
    folder = Path(folder)
    write_json(folder / "localization.json", result.to_dict())
    write_text(folder / "methods.csv", result.methods_csv())
    write_text(folder / "images.csv", result.images_csv())
    draw_methods(result, folder / "methods.png")
    names = ["localization.json", "methods.csv", "images.csv", "methods.png"]
    if result.mean_area is not None:
        draw_blocks(result, folder / "blocks.png")
        names.append("blocks.png")
    else:
        (folder / "blocks.png").unlink(missing_ok=True)
    for name, examples in zip(_EXAMPLES, (best, worst), strict=True):
        if examples:
            draw_examples(examples, folder / name)
            names.append(name)
        else:
            (folder / name).unlink(missing_ok=True)
    sections = [_methods(result), _differences(result), _blocks(result)]
    sections += [_gallery("Where it does best", best), _gallery("Where it does worst", worst)]
    write_page(
        folder / "report.html",
        title=_title(result),
        opening=_opening(result),
        sections=sections,
        footer=_footer(result),
    )
    return [*names, "report.html"]


def _opening(result: Localization) -> list[Part]:
    main, centre = result.method(result.main), _find_method(result, "centre")
    facts = []
    for name, words in result.figures.items():
        beside = f"; the centre gets {getattr(centre, name).value:.1%}" if centre is not None else ""
        facts.append(Fact(f"{getattr(main, name).value:.1%}", f"{words}{beside}"))
    known = ""
    if result.mean_area is not None:
        known = f" The object is {result.objects}; it covers {result.mean_area:.1%} of a picture on average."
    lead = (
        f"{without_folders(result.model)} on {result.images:,} images: {without_folders(result.data)}.{known} Figures "
        f"below are of this map, chosen before measuring: {main.label}. {summarise(result)}"
    )
    title = _title(result)
    return [Opening(title, lead), Facts(facts), Bullets(describe_verdicts(result))]


def _title(result: Localization) -> str:
    return "Do the maps show what decides?" if result.mean_area is None else "Do the maps lie on the object?"


def _methods(result: Localization) -> Section:
    others = [score for score in result.methods if score.kind != "modulator" and score.key != result.main]
    scores = [result.method(result.main), *others]
    chart = Chart(functools.partial(methods_figure, result, columns=3), "The figures of all methods as bars")
    return Section("Beside others on the same images", [_table(result, scores), chart])


def _differences(result: Localization) -> Section:
    rows = [
        Row(
            (
                result.method(difference.other).label,
                *(_cell(getattr(difference, name), 100) for name in result.figures),
            )
        )
        for difference in result.differences
        if difference.other != result.main
    ]
    text = (
        f"{result.method(result.main).label} minus each other method in percentage points, image by image. Where the "
        "interval holds zero, these images leave open which is better."
    )
    columns = (Column("compared with"), *(Column(words, "number", "+.1f") for words in result.figures.values()))
    return Section("By how much the map is ahead", [Paragraph(text), Table(columns, rows)])


def _blocks(result: Localization) -> Section:
    if result.mean_area is None:
        return Section("Block by block", [])
    words = "Which block does best here was not known beforehand: the best of many is a little too good by chance."
    chart = Chart(functools.partial(blocks_figure, result), "The figures of every block with intervals")
    table = _table(result, [score for score in result.methods if score.kind == "modulator"])
    return Section("Block by block", [Paragraph(words), chart, table])


def _table(result: Localization, scores: Sequence[MethodScore]) -> Table:
    names = [name for name in (_DRAWN_FIGURE, *result.figures) if name in result.figures]
    names = [name for name in dict.fromkeys(names) if any(getattr(score, name) is not None for score in scores)]
    rows = []
    for score in scores:
        emphasis: Emphasis = "strong" if score.key == result.main else "soft" if score.kind == "blind" else ""
        rows.append(Row((score.label, *(_cell(getattr(score, name)) for name in names)), emphasis))
    columns = (
        Column("map"),
        *(Column(result.figures[name], "bar" if name == names[0] else "number", ".1%") for name in names),
    )
    return Table(columns, rows, "Below each figure its 95 % interval.")


def _gallery(title: str, examples: Sequence[Example]) -> Section:
    if not examples:
        return Section(title, [])
    cards = [
        Card(
            [Picture(example.picture, "The picture"), Picture(example.heat, "The map over it")],
            [Mark(shortened(PurePath(example.score.name).name, 40)), Mark(describe_example(example.score), "soft")],
            framed=True,
        )
        for example in examples
    ]
    words = "White is the outline of the object, the cross the highest point of the map."
    if examples[0].score.auc is None:
        words = "By insertion minus deletion. The cross is the highest point of the map."
    return Section(title, [Paragraph(words), Gallery(cards, "large")])


def _footer(result: Localization) -> list[Part]:
    left_out = [
        (result.without_object, "show no object"),
        (result.filled, "show nothing beside the object"),
        (len(result.unreadable), "cannot be read"),
    ]
    counted = ", ".join(f"{count} {reason}" for count, reason in left_out if count)
    main = result.method(result.main)
    agreement = curves = ""
    if main.iou_area_share is not None:
        agreement = (
            f" Just beside the object: at most {result.near_px:g} px. The threshold of the overlap is the same for all "
            "images, chosen for each method as best on these images; for the first in the table the highest "
            f"{main.iou_area_share:.1%} of each picture."
        )
    if result.steps:
        curves = (
            " Deletion and insertion: area under the curve of the probability of the network's answer while the most "
            f"relevant pixels go, or come, in {result.steps} steps; deleted pixels become the mean colour, insertion "
            "begins with a blurred picture."
        )
    words = (
        "Everything is measured at the size at which the network sees a picture, shorter side "
        f"{result.size_px} px.{agreement}{curves} Intervals: 95 %, {result.resamples:,} bootstrap samples of the "
        f"images, seed {result.seed}. {f'Left out: {counted}. ' if counted else ''}focalnets {__version__}, "
        f"{result.seconds:.0f} s."
    )
    notes = [without_folders(note) for note in (*result.notes, *result.unreadable)]
    return [Paragraph(words), *([Bullets(notes)] if notes else [])]


def _cell(estimate: Estimate | None, scale: float = 1.0) -> WithInterval | None:
    return (
        None if estimate is None else WithInterval(scale * estimate.value, scale * estimate.low, scale * estimate.high)
    )


def _find_method(result: Localization, key: str) -> MethodScore | None:
    return next((score for score in result.methods if score.key == key), None)
