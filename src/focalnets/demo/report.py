"""The report of the demonstration: one HTML file with everything inside, to read on any device."""

from __future__ import annotations

import html
import os
import platform
import shlex
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from focalnets.demo.charts import confusion_table, learning_curve, score_table
from focalnets.demo.run import DemoResult, chosen_example, picture_path
from focalnets.demo.scenes import DrawnScene
from focalnets.demo.scores import Look
from focalnets.files import write_text
from focalnets.report.page import jpeg_address, page
from focalnets.training.console import short_duration
from focalnets.version import __version__
from focalnets.visualize.draw import draw_outline, mark_point, overlay

__all__ = ["write_report"]

_SHOWN_PX = 384
_PAGE_WIDTH_PX = 1500


def write_report(result: DemoResult, path: str | Path) -> Path:
    """Write the report, complete or not at all; returns the file."""
    write_text(path, _document(result))
    return Path(path)


def _document(result: DemoResult) -> str:
    sections = (
        _opening(result), _task(result), _lessons(result), _accuracy(result), _gallery(result), _localization(result),
        _inside(result), _next_steps(result), _footer(result),
    )  # fmt: skip
    return page("What a small FocalNet learned", sections)


def _opening(result: DemoResult) -> str:
    index = chosen_example(result.looks, result.scenes)
    scene, look = result.scenes[index], result.looks[index]
    name = result.classes[scene.label]
    accuracy, drawn = result.evaluation, result.scores[0]
    parameters = sum(parameter.numel() for parameter in result.model.parameters())
    low, high = accuracy.top1_interval
    facts = (
        (
            f"{accuracy.top1:.1%}",
            f"of {accuracy.images} new scenes named rightly; guessing gets {1 / len(result.classes):.1%}",
        ),
        (
            f"{drawn.near:.0%}",
            f"of its maps peak on the object or just beside it; at random {result.scores[-1].near:.0%} would",
        ),
        (
            _duration(result.seconds["training"], short=True),
            f"of training on {os.cpu_count()} CPU cores, nothing downloaded",
        ),
        (f"{parameters / 1e6:.2f} M", "parameters: a focal modulation network in three stages"),
    )
    cards = "".join(f'<div class="fact"><b>{value}</b><span>{text}</span></div>' for value, text in facts)
    return f"""
<header class="hero">
  <div>
    <h1>What a small network learned in {_duration(result.seconds["training"])}</h1>
    <p class="lead">It names one small thing in a cluttered picture, and shows where it looked. All pictures were
drawn
    by the program a moment ago; the network started from random numbers.</p>
    <p class="note">95 % interval of the accuracy: {low:.1%} to {high:.1%}. The scenes it is measured on played no
part
    in training.</p>
  </div>
  <figure class="pair">
    <img alt="A scene with {_an(name)}" src="{_jpeg(_large(scene.picture))}">
    <img alt="Where the network looks in it" src="{_jpeg(_heat(scene, look, outline=False))}">
    <figcaption>Left: a new scene. Right: where the network looked before it said
    “{html.escape(_said(result, look))}”.</figcaption>
  </figure>
</header>
<div class="facts">{cards}</div>"""


def _task(result: DemoResult) -> str:
    figures = []
    for label, name in enumerate(result.classes):
        scene = next((scene for scene in result.scenes if scene.label == label), None)
        if scene is not None:
            figures.append(
                f'<figure><img alt="{_an(name)}" src="{_jpeg(_close_up(scene))}">'
                f"<figcaption>{html.escape(name)}</figcaption></figure>"
            )
    low, high = result.settings.target_size
    area = float(np.mean([scene.target.mean() for scene in result.scenes]))
    return f"""
<section><h2>The task: find the one thing that counts</h2>
<p>Every scene holds exactly one of {len(result.classes)} things, {low:.0%} to {high:.0%} as long as the picture and
on
average {area:.1%} of its area. All of them come in the same colours, sizes and places: only the shape tells them
apart.
Balls, rings, leaves, stars and sheets float around them, in cooler colours, to distract.</p>
<div class="classes">{"".join(figures)}</div></section>"""


def _lessons(result: DemoResult) -> str:
    curve = learning_curve(
        [(lesson.name, [row["val_top1"] for row in trained.history]) for lesson, trained, _ in result.lessons],
        1 / len(result.classes),
    )
    rows = "".join(
        f"<tr><td>{number}. {html.escape(lesson.name)}</td>"
        f"<td class='number'>{lesson.window_px} × {lesson.window_px} px</td>"
        f"<td class='number'>{lesson.epochs}</td><td class='number'>{short_duration(seconds)}</td>"
        f"<td class='number'>{trained.best:.1%}</td></tr>"
        for number, (lesson, trained, seconds) in enumerate(result.lessons, 1)
    )
    settings = result.settings
    return f"""
<section><h2>{_number_word(len(result.lessons)).capitalize()} lessons, close-ups first</h2>
<p>The {settings.train_scenes:,} training scenes were shown through a window that always holds the object: at first a
small
one, at last the whole scene. Shapes learned from close-ups are then found again in the clutter. The curve shows the
share of
{settings.choice_scenes} other scenes named rightly after each pass, through the same window.</p>
<div class="panel">{curve}</div>
<div class="panel"><table><thead><tr><th>lesson</th><th class="number">the network sees</th><th
class="number">passes</th>
<th class="number">time</th><th class="number">best
accuracy</th></tr></thead><tbody>{rows}</tbody></table></div></section>"""


def _accuracy(result: DemoResult) -> str:
    evaluation = result.evaluation
    low, high = evaluation.top1_interval
    weakest = min(
        (figures for figures in evaluation.per_class if figures.recall is not None), key=lambda f: f.recall or 0
    )
    return f"""
<section><h2>How often it is right</h2>
<p>On {evaluation.images} scenes that nobody looked at before, {evaluation.top1:.1%} are named rightly (95 % interval
{low:.1%} to {high:.1%}); guessing gets {1 / len(result.classes):.1%}. Rows are what is in the scene, columns what the
network
said. It finds “{html.escape(weakest.name)}” hardest ({weakest.recall:.0%}).</p>
<div class="panel fit">{confusion_table(result.classes, evaluation.confusion)}</div></section>"""


def _gallery(result: DemoResult) -> str:
    cards = []
    for scene, look in list(zip(result.scenes, result.looks, strict=True))[: result.settings.gallery]:
        truth = result.classes[scene.label]
        said = _said(result, look)
        verdict = '<span class="right">right</span>'
        if said != truth:
            verdict = f'<span class="wrong">no, {html.escape(truth)}</span>'
        place = "on it" if look.hit else "not on it"
        outlined = draw_outline(_large(scene.picture), scene.target)
        cards.append(
            f'<figure class="scene"><div class="pair"><img loading="lazy" alt="Scene with {_an(truth)}" '
            f'src="{_jpeg(outlined)}"><img loading="lazy" alt="Where the network looks" '
            f'src="{_jpeg(_heat(scene, look, outline=True))}"></div>'
            f"<figcaption><span><strong>{html.escape(said)}</strong> "
            f'<span class="soft">{max(look.probabilities):.0%}</span></span><span>{verdict}'
            f'<span class="soft"> · {place}</span></span></figcaption></figure>'
        )
    return f"""
<section><h2>New scenes, and where it looks</h2>
<p>The first {len(cards)} of the scenes it was measured on, not picked by anyone. The white outline is the true object,
which the network was never shown: it learned from names, and from windows that hold the object somewhere. The cross
marks the brightest point of the map, which is “on it” or not.</p>
<div class="gallery">{"".join(cards)}</div></section>"""


def _localization(result: DemoResult) -> str:
    drawn, blind = result.scores[0], result.scores[-1]
    energy = f", {drawn.energy / blind.energy:.0f} times its share of the area" if blind.energy > 0 else ""
    return f"""
<section><h2>Do the maps lie on the object?</h2>
<p>Measured on all {len(result.scenes)} scenes. The brightest point of the map in the gallery lies on the object in
{drawn.hits:.1%} of them, and on it or at most {result.near_px:.0f} px beside it, which is half a step of the
modulator's grid,
in {drawn.near:.1%}. {drawn.energy:.0%} of the map lies on the object{energy}.</p>
<div class="panel">{score_table(result.scores)}</div>
<p class="note">Modulator: what a block multiplies into each place after gathering its surroundings; its length is
drawn. Evidence: how
much the answer would change with the modulator of a place. Which maps to multiply was chosen once on other networks
and
scenes, not for this run. Behind the last stage only the mean over the whole picture counts, so its modulators need
not lie
where the object is, and do not.</p></section>"""


def _inside(result: DemoResult) -> str:
    drawn = Image.open(result.page).convert("RGB")
    drawn = drawn.resize((_PAGE_WIDTH_PX, round(drawn.height * _PAGE_WIDTH_PX / drawn.width)), Image.Resampling.LANCZOS)
    return f"""
<section><h2>Inside one picture</h2>
<p>This is what <code>focalnets explain</code> draws for any photo and any focal modulation network: how strongly
context
speaks in each stage, and which size of surroundings each place listens to.</p>
<img class="wide" loading="lazy" alt="Modulators of every stage and gates of every level for one picture"
src="{jpeg_address(drawn, 84)}"></section>"""


def _next_steps(result: DemoResult) -> str:
    run, pictures = shlex.quote(str(result.run)), shlex.quote(str(result.pictures))
    picture = shlex.quote(str(picture_path(result.scenes[0], result.classes, result.pictures)))
    commands = (
        f"focalnets predict {pictures} --model {run}\n"
        f"focalnets explain {picture} --model {run}\n"
        "focalnets train MY_PHOTOS        # a folder with one folder of photos for each class"
    )
    return f"""
<section><h2>Go on</h2>
<p>The network is kept, and so are the pictures above:</p>
<pre>{html.escape(commands)}</pre></section>"""


def _footer(result: DemoResult) -> str:
    settings, config = result.settings, result.model.config
    times = ", ".join(f"{name} {short_duration(seconds)}" for name, seconds in result.seconds.items())
    return f"""
<footer><details><summary>How this was made</summary>
<p>focalnets {__version__}, PyTorch {html.escape(torch.__version__)}, Python {platform.python_version()},
{html.escape(platform.machine())}, {os.cpu_count()} cores, {torch.get_num_threads()} threads. Seed {settings.seed}.
Times: {times}.</p>
<p>Network: blocks {"-".join(map(str, config.depths))}, {config.embed_dim} channels in the first stage,
{config.focal_levels[0]}
focal levels from {config.focal_windows[0]} × {config.focal_windows[0]}, {config.stem} stem, input {settings.input_px}
px.
Training: Muon and AdamW, batches of {settings.batch_size}, windows mirrored half of the time. Best epoch of each
lesson by {settings.choice_scenes} scenes of their own.</p></details></footer>"""


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


def _said(result: DemoResult, look: Look) -> str:
    return result.classes[int(np.argmax(look.probabilities))]


def _an(name: str) -> str:
    return html.escape(f"{'an' if name[:1] in 'aeiou' else 'a'} {name}", quote=True)


def _number_word(number: int) -> str:
    return {1: "one", 2: "two", 3: "three", 4: "four"}.get(number, str(number))


def _duration(seconds: float, *, short: bool = False) -> str:
    if seconds < 100:
        return f"{round(seconds)} {'s' if short else 'seconds'}"
    return f"{seconds / 60:.1f} {'min' if short else 'minutes'}"


def _jpeg(pixels: np.ndarray, quality: int = 88) -> str:
    return jpeg_address(Image.fromarray(pixels), quality)
