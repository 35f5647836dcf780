"""The report of a demonstration of a dense task: one HTML file with everything inside.

Axes: H W height and width [px].
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from focalnets.demo.dense.drawing import DenseDrawing
from focalnets.demo.dense.large_scene import LargeView, densest_window
from focalnets.demo.dense.result import DenseResult, Seen, picture_path
from focalnets.demo.dense.scenes import close_up
from focalnets.demo.words import command_line, duration_in_words, made_where
from focalnets.large.plan import format_bytes
from focalnets.report.overlay import class_colours
from focalnets.report.page import write_page
from focalnets.report.parts import (
    Card,
    CodeBlock,
    Column,
    Curve,
    Details,
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
)
from focalnets.visualize.draw import overlay, robust_limits

__all__ = ["draw_large_pictures", "write_report"]

_SHOWN_PX = 384
_GAP_PX = 6
_LARGE_PX = 1400
_WINDOW_PX = (480, 360)
_FRAMED_PX, _FRAME_PX = 184, 12


def draw_large_pictures(drawing: DenseDrawing, result: DenseResult) -> dict[str, Image.Image]:
    """Draw the large picture: as it is, as answered by tiles and as a whole, and how far the two are apart.

    Returns:
        Pictures of one size by name: ``picture``, ``tile``, ``image``, ``difference`` of the answers and ``maps``, the
        difference of the network's maps.
    """
    large, classes = result.large, result.task.labels(result.network)
    picture = large.known.image
    limits = (0.0, max(float(np.percentile(large.difference, 99)), 1e-6))
    # A map may reach a few pixels beyond the picture.
    whole = (large.difference.shape[1] * large.stride_px, large.difference.shape[0] * large.stride_px)
    heat = Image.fromarray(large.difference).resize(whole, Image.Resampling.BILINEAR).crop((0, 0, *picture.size))
    return {
        "picture": picture,
        "tile": drawing.draw_large(large.tile.answer, picture, classes),
        "image": drawing.draw_large(large.image.answer, picture, classes),
        "difference": drawing.draw_changes(large, drawing.changes(large)),
        "maps": Image.fromarray(overlay(picture, np.asarray(heat), limits=limits)),
    }


def write_report(drawing: DenseDrawing, result: DenseResult, large: Mapping[str, Image.Image], path: Path) -> Path:
    """Write the report, complete or not at all; ``large`` is of :func:`draw_large_pictures`. Returns the file."""
    return write_page(
        path,
        title=drawing.title,
        opening=_opening(drawing, result),
        sections=[
            _task(drawing, result),
            _training(drawing, result),
            _gallery(drawing, result),
            _large_picture(drawing, result, large),
            _differences(drawing, result, large),
            *result.task.sections(result.report),
            _next_steps(result),
        ],
        footer=[Details("How this was made", [Paragraph(text) for text in _made(result)])],
    )


def _opening(drawing: DenseDrawing, result: DenseResult) -> list[Part]:
    best = _best(result)
    card = Card(
        [
            Picture(drawing.draw_result(best.result, _enlarged(best)), "What the network says of a scene"),
            Picture(_heat(best), "Its modulator in the same scene"),
        ],
        ["Left: what the network says of a new scene. Right: the length of its modulator in it."],
    )
    took = Fact(
        duration_in_words(result.seconds["training"], short=True),
        f"of training on {os.cpu_count()} CPU cores, nothing downloaded",
    )
    return [
        Opening(
            f"{drawing.title}, after {duration_in_words(result.seconds['training'])}",
            drawing.lead,
            f"Measured on {result.report.evaluation.inputs} scenes that played no part in training.",
            card,
        ),
        Facts([*result.task.facts(result.report.evaluation)[:3], took]),
    ]


def _task(drawing: DenseDrawing, result: DenseResult) -> Section:
    data = result.report.dataset
    scenes = [data[number][1] for number in range(len(data))]
    names = result.task.labels(result.network)
    cards = []
    for name, colour in zip(names, class_colours(len(names)).tolist(), strict=True):
        # The frame has the colour that the class has in all pictures below.
        shown = close_up(scenes, name) or Image.new("RGB", (_FRAMED_PX, _FRAMED_PX), tuple(colour))
        framed = ImageOps.expand(shown.resize((_FRAMED_PX, _FRAMED_PX)), _FRAME_PX, tuple(colour))
        cards.append(Card([Picture(framed, name)], [name]))
    return Section("What is to be learned", [Paragraph(drawing.task_in_words), Gallery(cards, "small")])


def _training(drawing: DenseDrawing, result: DenseResult) -> Section:
    settings, watch = result.settings, result.task.watch
    label = result.task.metric_labels[watch.metric].label
    values = [float(row[watch.column]) for row in result.training.history if row["epoch"]]
    description = f"{label} after each pass over the scenes"
    start = "random numbers" if settings.toy else "the small network in the package, which knows ten kinds of photos"
    words = (
        f"The backbone started from {start}; the head from random numbers. Both learned from {settings.train_scenes} "
        f"scenes, shown in {settings.epochs} passes, each time in another size, in other colours, and mirrored or not. "
        f"The curve shows {label} on {settings.choice_scenes} other scenes after each pass."
    )
    curve = Curve([("passes over the scenes", values)], result.level, drawing.level_in_words, description)
    return Section("How it learned", [Paragraph(words), curve])


def _gallery(drawing: DenseDrawing, result: DenseResult) -> Section:
    classes = result.task.labels(result.network)
    words = f"The first {len(result.gallery)} of the scenes it was measured on, not picked by anyone. "
    parts: list[Part] = [Paragraph(words + drawing.gallery_in_words)]
    for seen in result.gallery:
        large = _enlarged(seen)
        sides = [
            drawing.draw_known(seen.known, large, classes), drawing.draw_result(seen.result, large),
            Image.fromarray(_heat(seen)),
        ]  # fmt: skip
        alt = "The truth, what the network says, and its modulator"
        parts.append(Picture(_side_by_side(sides), f"{alt}: {seen.known.name}"))
    return Section("New scenes, answers and modulators", parts)


def _large_picture(drawing: DenseDrawing, result: DenseResult, pictures: Mapping[str, Image.Image]) -> Section:
    large, settings = result.large, result.settings
    width, height = large.known.size
    scenes = width * height / settings.scene_px**2
    words = (
        f"A picture of {width} × {height} px, as large as {scenes:.0f} scenes, with things of the same size. Nobody "
        "needs the whole of it in the network at once: it is looked at by tiles that stand alone, as most programs do, "
        "and as a whole, by bands of rows, which gives exactly what the network would say of all of it at once."
    )
    metrics = list(result.task.metric_labels.items())[:2]
    columns = [
        Column("looked at"), *(Column(metric.label, "number", ".1%") for _, metric in metrics),
        Column("memory at most", "number"), Column("time", "number"),
    ]  # fmt: skip
    rows = [
        Row((name, *(view.figures[key] for key, _ in metrics), *_cost(view)))
        for name, view in (
            (f"by tiles of {large.tile.plan.tile_px} px, overlap {large.tile.plan.overlap_px} px", large.tile),
            ("as a whole, by bands", large.image),
        )
    ]
    note = (
        "One picture shows no more than one picture: which of the two is better was not decided here. The network "
        "learned on small scenes, and the mean over a large picture is not the mean over a small one."
    )
    return Section(
        "One large picture, twice",
        [
            Paragraph(words),
            Picture(pictures["image"], "The answer, as a whole", ["As a whole."], _LARGE_PX),
            Table(columns, rows),
            Paragraph(note, "note"),
        ],
    )


def _cost(view: LargeView) -> tuple[str, str]:
    return format_bytes(view.plan.memory_bytes), duration_in_words(view.seconds, short=True)


def _differences(drawing: DenseDrawing, result: DenseResult, pictures: Mapping[str, Image.Image]) -> Section:
    large = result.large
    box = densest_window(drawing.changes(large), _WINDOW_PX)
    titles = {"picture": "The picture", "tile": "By tiles", "image": "As a whole"}
    cuts = [Card([Picture(pictures[name].crop(box), title)], [title], framed=True) for name, title in titles.items()]
    words = (
        f"Of the same picture {drawing.change_in_words(large)}. The network gathers context in two ways: by "
        "convolutions, which see a little beyond a tile's edge, and by a mean over everything it sees, which no "
        "overlap of tiles can replace."
    )
    maps = (
        f"The maps that these answers rest on, every {large.stride_px} px: bright where that of a tile is far from "
        f"that of the whole picture. On average the difference is {large.difference.mean():.0%} of what a place holds; "
        "each tile is off by as much as its mean is from that of the picture, and most at its edges."
    )
    return Section(
        "Where the two differ",
        [
            Paragraph(words),
            Picture(pictures["difference"], "Where the answers differ", [drawing.changes_in_words], _LARGE_PX),
            Paragraph("The window where most differs, in its own pixels:"),
            Gallery(cuts, "large"),
            Paragraph(maps),
            Picture(pictures["maps"], "Where the maps differ", (), _LARGE_PX),
        ],
    )


def _next_steps(result: DenseResult) -> Section:
    picture, run = picture_path(result, result.gallery[0]), result.run.name
    commands = (
        command_line("predict", "pictures", "--model", run, "--output", "answers"),
        command_line("explain", f"pictures/{picture.name}", "--model", run),
        command_line("predict", "large/picture.png", "--model", run, "--context", "tile", "--tile", "512"),
        f"focalnets train MY_DATA --task {result.task.name}        # photos with annotations, see docs/data.md",
    )
    words = "The network is kept, and so are the pictures above. In the folder of this page:"
    return Section("Go on", [Paragraph(words), CodeBlock("\n".join(commands))])


def _made(result: DenseResult) -> list[str]:
    settings, parameters = result.settings, sum(weight.numel() for weight in result.network.parameters())
    return [
        made_where(result.seconds, settings.seed),
        f"Network: {parameters / 1e6:.2f} M parameters, {result.report.evaluation.model}. Training: AdamW, rate "
        f"{settings.learning_rate:g}, batches of {settings.batch_size}, scenes at {settings.scene_px} px. Best pass by "
        f"{settings.choice_scenes} scenes of their own. The large picture has number {settings.large_index}.",
    ]


def _best(result: DenseResult) -> Seen:
    """Choose the scene of the gallery with most things in it."""
    return max(result.gallery, key=lambda seen: len(seen.known.objects))


def _enlarged(seen: Seen) -> Image.Image:
    return seen.known.image.resize((_SHOWN_PX, _SHOWN_PX), Image.Resampling.LANCZOS)


def _heat(seen: Seen) -> np.ndarray:
    return overlay(_enlarged(seen), seen.heat, limits=(0.0, max(robust_limits(seen.heat)[1], 1e-30)))


def _side_by_side(pictures: list[Image.Image]) -> Image.Image:
    width = sum(picture.width for picture in pictures) + _GAP_PX * (len(pictures) - 1)
    page = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        page.paste(picture, (left, 0))
        left += picture.width + _GAP_PX
    return page
