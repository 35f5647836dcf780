"""The report of the demonstration: one HTML file with everything inside, to read on any device."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from focalnets.data.transforms import evaluation_transform
from focalnets.demo.classification.charts import confusion_table, learning_curve, score_table
from focalnets.demo.classification.run import DemoResult, chosen_example, picture_path
from focalnets.demo.classification.scenes import DrawnScene
from focalnets.demo.classification.scores import Look
from focalnets.demo.words import command_line, duration_in_words, made_where
from focalnets.report.page import write_page
from focalnets.report.parts import (
    Card,
    CodeBlock,
    Column,
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
from focalnets.report.sheet import Panel
from focalnets.report.words import Mark
from focalnets.training.console import short_duration
from focalnets.visualize.draw import draw_outline, gate_panels, mark_point, overlay, stage_panels
from focalnets.visualize.evidence import look_inside
from focalnets.visualize.maps import default_focus

__all__ = ["write_report"]

_SHOWN_PX = 384


def write_report(result: DemoResult, path: str | Path) -> Path:
    """Write the report, complete or not at all; returns the file."""
    sections = [
        _task(result), _lessons(result), _accuracy(result), _gallery(result), _localization(result), _inside(result),
        _next_steps(result),
    ]  # fmt: skip
    return write_page(
        path,
        title="What a small FocalNet learned",
        opening=_opening(result),
        sections=sections,
        footer=_footer(result),
    )


def _opening(result: DemoResult) -> list[Part]:
    index = chosen_example(result.looks, result.scenes)
    scene, look = result.scenes[index], result.looks[index]
    accuracy, drawn = result.evaluation, result.scores[0]
    parameters = sum(parameter.numel() for parameter in result.model.parameters())
    low, high = accuracy.top1_interval
    facts = (
        Fact(
            f"{accuracy.top1:.1%}",
            f"of {accuracy.images} new scenes named rightly; guessing gets {1 / len(result.classes):.1%}",
        ),
        Fact(
            f"{drawn.near:.0%}",
            f"of its maps peak on the object or just beside it; at random {result.scores[-1].near:.0%} would",
        ),
        Fact(
            duration_in_words(result.seconds["training"], short=True),
            f"of training on {os.cpu_count()} CPU cores, nothing downloaded",
        ),
        Fact(f"{parameters / 1e6:.2f} M", "parameters: a focal modulation network in three stages"),
    )
    card = Card(
        [
            Picture(_large(scene.picture), f"A scene with {_with_article(result.classes[scene.label])}"),
            Picture(_heat(scene, look, outline=False), "Where the network looks in it"),
        ],
        [f"Left: a new scene. Right: where the network looked before it said “{_answer(result, look)}”."],
    )
    opening = Opening(
        f"What a small network learned in {duration_in_words(result.seconds['training'])}",
        "It names one small thing in a cluttered picture, and shows where it looked. All pictures were drawn by the "
        "program a moment ago; the network started from random numbers.",
        f"95 % interval of the accuracy: {low:.1%} to {high:.1%}. The scenes it is measured on played no part in "
        "training.",
        card,
    )
    return [opening, Facts(facts)]


def _task(result: DemoResult) -> Section:
    cards = []
    for label, name in enumerate(result.classes):
        scene = next((scene for scene in result.scenes if scene.label == label), None)
        if scene is not None:
            cards.append(Card([Picture(_close_up(scene), _with_article(name))], [name]))
    low, high = result.settings.target_size
    area = float(np.mean([scene.target.mean() for scene in result.scenes]))
    words = (
        f"Every scene holds exactly one of {len(result.classes)} things, {low:.0%} to {high:.0%} as long as the "
        f"picture and on average {area:.1%} of its area. All of them come in the same colours, sizes and places: only "
        "the shape tells them apart. Balls, rings, leaves, stars and sheets float around them, in cooler colours, to "
        "distract."
    )
    return Section("The task: find the one thing that counts", [Paragraph(words), Gallery(cards, "small")])


def _lessons(result: DemoResult) -> Section:
    curve = learning_curve(
        [
            (lesson.name, [row["val_top1"] for row in trained.history if row["epoch"]])
            for lesson, trained, _ in result.lessons
        ],
        1 / len(result.classes),
    )
    rows = [
        Row(
            (
                f"{number}. {lesson.name}",
                f"{lesson.window_px} × {lesson.window_px} px",
                lesson.epochs,
                short_duration(seconds),
                trained.best,
            )
        )
        for number, (lesson, trained, seconds) in enumerate(result.lessons, 1)
    ]
    columns = (
        Column("lesson"), Column("the network sees", "number"), Column("passes", "number"), Column("time", "number"),
        Column("best accuracy", "number", ".1%"),
    )  # fmt: skip
    settings = result.settings
    words = (
        f"The {settings.train_scenes:,} training scenes were shown through a window that always holds the object: at "
        "first a small one, at last the whole scene. Shapes learned from close-ups are then found again in the "
        f"clutter. The curve shows the fraction of {settings.choice_scenes} other scenes named rightly after each "
        "pass, through the same window."
    )
    title = f"{_number_word(len(result.lessons)).capitalize()} lessons, close-ups first"
    return Section(title, [Paragraph(words), curve, Table(columns, rows)])


def _accuracy(result: DemoResult) -> Section:
    evaluation = result.evaluation
    low, high = evaluation.top1_interval
    seen = [figures for figures in evaluation.per_class if figures.recall is not None]
    weakest = min(seen, key=lambda figures: figures.recall or 0)
    words = (
        f"On {evaluation.images} scenes that nobody looked at before, {evaluation.top1:.1%} are named rightly (95 % "
        f"interval {low:.1%} to {high:.1%}); guessing gets {1 / len(result.classes):.1%}. Rows are what is in the "
        f"scene, columns what the network said. It finds “{weakest.name}” hardest ({weakest.recall:.0%})."
    )
    return Section("How often it is right", [Paragraph(words), confusion_table(result.classes, evaluation.confusion)])


def _gallery(result: DemoResult) -> Section:
    cards = []
    for scene, look in list(zip(result.scenes, result.looks, strict=True))[: result.settings.gallery]:
        truth, answer = result.classes[scene.label], _answer(result, look)
        verdict = Mark("right", "good") if answer == truth else Mark(f"no, {truth}", "bad")
        pictures = [
            Picture(draw_outline(_large(scene.picture), scene.target), f"Scene with {_with_article(truth)}"),
            Picture(_heat(scene, look, outline=True), "Where the network looks"),
        ]
        place = "on it" if look.hit else "not on it"
        lines = [
            (Mark(answer, "strong"), " ", Mark(f"{max(look.probabilities):.0%}", "soft")),
            (verdict, Mark(f" · {place}", "soft")),
        ]
        cards.append(Card(pictures, lines, framed=True))
    words = (
        f"The first {len(cards)} of the scenes it was measured on, not picked by anyone. The white outline is the true "
        "object, which the network was never shown: it learned from names, and from windows that hold the object "
        "somewhere. The cross marks the brightest point of the map, which is “on it” or not."
    )
    return Section("New scenes, and where it looks", [Paragraph(words), Gallery(cards, "large")])


def _localization(result: DemoResult) -> Section:
    drawn, blind = result.scores[0], result.scores[-1]
    energy = f", {drawn.energy / blind.energy:.0f} times its fraction of the area" if blind.energy > 0 else ""
    words = (
        f"Measured on all {len(result.scenes)} scenes. The brightest point of the map in the gallery lies on the "
        f"object in {drawn.hits:.1%} of them, and on it or at most {result.near_px:.0f} px beside it, which is half a "
        f"step of the modulator's grid, in {drawn.near:.1%}. {drawn.energy:.0%} of the map lies on the object{energy}."
    )
    note = (
        "Modulator: what a block multiplies into each place after gathering its surroundings; its length is drawn. "
        "Evidence: how much the answer would change with the modulator of a place, or with what its focal levels add "
        "to it. Which map is drawn was chosen once on other networks and pictures, not for this run. Behind the last "
        "stage only the mean over the whole picture counts, so its modulators need not lie where the object is, and "
        "do not."
    )
    title = "Do the maps lie on the object?"
    return Section(title, [Paragraph(words), score_table(result.scores), Paragraph(note, "note")])


def _inside(result: DemoResult) -> Section:
    scene = result.scenes[chosen_example(result.looks, result.scenes)]
    focus = default_focus(result.model)
    transform = evaluation_transform(result.model.preprocessing)
    inside, _ = look_inside(result.model, transform(Image.fromarray(scene.picture)).unsqueeze(0))
    ground = _large(scene.picture)
    gates, (_, (_, reach)) = gate_panels(ground, inside, focus)
    return Section(
        "Inside one picture",
        [
            Paragraph(
                (
                    "How strongly context speaks in each stage: the length of the modulator of its last block, bright "
                    "where the network lets its surroundings change what it sees most. ",
                    Mark("focalnets explain", "code"),
                    " draws this for any photo and any focal modulation network.",
                )
            ),
            Gallery([_panel_card(panel) for panel in stage_panels(ground, inside)], "large"),
            Paragraph(
                "Which size of surroundings each place listens to: the gates of block "
                f"{focus[0]}.{focus[1]}. Orange adds context of that width [px of the network's input], purple "
                f"subtracts it, pale leaves it out; the colours reach from {-reach:.2g} to {reach:.2g}."
            ),
            Gallery([_panel_card(panel) for panel in gates], "large"),
        ],
    )


def _panel_card(panel: Panel) -> Card:
    ends = [] if panel.scale is None else [Mark(f"from {panel.scale[1][0]:.3g} to {panel.scale[1][1]:.3g}", "soft")]
    return Card([Picture(panel.picture, panel.label)], [panel.label, *ends], framed=True)


def _next_steps(result: DemoResult) -> Section:
    picture = picture_path(result.scenes[0], result.classes, result.pictures)
    commands = (
        command_line("predict", result.pictures.name, "--model", result.run.name),
        command_line("explain", f"{result.pictures.name}/{picture.name}", "--model", result.run.name),
        "focalnets train MY_PHOTOS        # a folder with one folder of photos for each class",
    )
    words = "The network is kept, and so are the pictures above. In the folder of this page:"
    return Section("Go on", [Paragraph(words), CodeBlock("\n".join(commands))])


def _footer(result: DemoResult) -> list[Part]:
    settings, config = result.settings, result.model.config
    network = (
        f"Network: blocks {'-'.join(map(str, config.depths))}, {config.embed_dim} channels in the first stage, "
        f"{config.focal_levels[0]} focal levels from {config.focal_windows[0]} × {config.focal_windows[0]}, "
        f"{config.stem} stem, input {settings.input_px} px. Training: Muon and AdamW, batches of "
        f"{settings.batch_size}, windows mirrored half of the time. Best epoch of each lesson by "
        f"{settings.choice_scenes} scenes of their own."
    )
    return [Details("How this was made", [Paragraph(made_where(result.seconds, settings.seed)), Paragraph(network)])]


def _heat(scene: DrawnScene, look: Look, *, outline: bool) -> np.ndarray:
    brightest = float(np.percentile(look.heat, 99.5))
    drawn = overlay(_large(scene.picture), look.heat, limits=(0.0, max(brightest, 1e-30)))
    if outline:
        drawn = draw_outline(drawn, scene.target)
    scale = len(drawn) / len(scene.picture)
    row, column = look.peak_yx
    return mark_point(drawn, (row + 0.5) * scale, (column + 0.5) * scale) if outline else drawn


def _large(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((_SHOWN_PX, _SHOWN_PX), Image.Resampling.LANCZOS))


def _close_up(scene: DrawnScene) -> np.ndarray:
    left, top, right, bottom = scene.box_xyxy
    side = min(round(1.5 * max(right - left, bottom - top)), len(scene.picture))
    x = min(max((left + right - side) // 2, 0), len(scene.picture) - side)
    y = min(max((top + bottom - side) // 2, 0), len(scene.picture) - side)
    window = Image.fromarray(scene.picture[y : y + side, x : x + side])
    return np.asarray(window.resize((208, 208), Image.Resampling.LANCZOS))


def _answer(result: DemoResult, look: Look) -> str:
    return result.classes[int(np.argmax(look.probabilities))]


def _with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def _number_word(number: int) -> str:
    return {1: "one", 2: "two", 3: "three", 4: "four"}.get(number, str(number))
