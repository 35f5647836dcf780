"""Draws, trains, evaluates and looks inside; what comes out is a result that the report shows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from focalnets.data.labelled import TrainingData
from focalnets.demo.classification.scenes import DrawnScene, Windows, draw_scenes, generator, scene_numbers
from focalnets.demo.classification.scores import Look, MapScore, score_maps
from focalnets.demo.classification.settings import DemoSettings, Lesson
from focalnets.demo.story import ShowProgress
from focalnets.demo.words import starts_again
from focalnets.files import replacing
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.classify.inference import evaluate_images
from focalnets.tasks.classify.results import Evaluation
from focalnets.tasks.classify.settings import ClassifySettings
from focalnets.training.config import TrainingConfig
from focalnets.training.result import TrainingResult
from focalnets.training.trainer import train
from focalnets.visualize.explain import explain_file
from focalnets.weights.loading import load_model

__all__ = ["DEMO_FILES", "DemoResult", "run_demo", "write_pictures"]

DEMO_FILES = ("run/config.yaml", "lessons/.writable", "pictures/.writable", "explained.png", "report.html")
"""What is written: files and, by a name in them, folders."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class DemoResult:
    """What the demonstration did and measured.

    Attributes:
        settings: What it was asked to do.
        classes: Names of the classes.
        model: The trained network.
        lessons: What each part of the training reached, with the seconds it took.
        evaluation: The accuracy on scenes that played no part in training or in choosing the epoch.
        scenes, looks: These scenes, and what the network says about each and where it looks.
        scores: How well maps find the object, the one that is drawn first.
        near_px: The distance at which a point counts as near [px of the pictures].
        seconds: Duration of drawing, training, and looking inside.
        run, pictures, page: The network's folder, the folder of pictures, and the page about one of them.
    """

    settings: DemoSettings
    classes: tuple[str, ...]
    model: FocalNet
    lessons: tuple[tuple[Lesson, TrainingResult, float], ...]
    evaluation: Evaluation
    scenes: tuple[DrawnScene, ...]
    looks: tuple[Look, ...]
    scores: tuple[MapScore, ...]
    near_px: float
    seconds: dict[str, float]
    run: Path
    pictures: Path
    page: Path


def run_demo(
    settings: DemoSettings, output: Path, *, say: Callable[[str], None], progress: ShowProgress, quiet: bool = False
) -> DemoResult:
    """Do everything once.

    Args:
        settings: What to draw and how to train.
        output: Folder for ``run`` and ``lessons``; those of an earlier demonstration are replaced.
        say: Takes lines for people.
        progress: Shows how far a task is.
        quiet: Keep the training from printing its own lines.
    """
    seconds: dict[str, float] = {}
    classes = generator(settings).classes
    started = time.monotonic()
    sets: list[list[DrawnScene]] = []
    total = settings.train_scenes + settings.choice_scenes + settings.test_scenes
    say(f"drawing {total:,} scenes with one small thing to name in each: {', '.join(classes)}")
    with progress("drawing", total) as show:
        for numbers, shrink in zip(scene_numbers(settings), (True, True, False), strict=True):
            done = sum(len(scenes) for scenes in sets)
            sets.append(draw_scenes(settings, numbers, shrink=shrink, on_progress=lambda n, done=done: show(done + n)))  # type: ignore[misc]
    to_learn, to_choose, to_test = sets
    seconds["drawing"] = time.monotonic() - started

    run = output / "run"
    lessons: list[tuple[Lesson, TrainingResult, float]] = []
    previous: Path | None = None
    for number, lesson in enumerate(settings.lessons, 1):
        last = number == len(settings.lessons)
        folder = run if last else output / "lessons" / str(number)
        say(f"lesson {number} of {len(settings.lessons)}: {lesson.name}, windows of {lesson.window_px} px")
        started = time.monotonic()
        data = TrainingData(
            labels=classes,
            train=Windows(to_learn, lesson.window_px, random=True),
            val=Windows(to_choose, lesson.window_px, random=False),
            description=f"generated scenes ({lesson.name})",
        )
        config = _training_config(settings, lesson, previous)
        with starts_again():
            result = train(config, data, output=folder, overwrite=True, quiet=quiet)
        lessons.append((lesson, result, time.monotonic() - started))
        previous = folder
    seconds["training"] = sum(duration for _, _, duration in lessons)

    started = time.monotonic()
    model = load_model(run).eval()
    whole = Windows(to_test, settings.picture_px, random=False)
    with progress("evaluating", len(to_test)) as show:
        evaluation = evaluate_images(model, whole, on_progress=show)
    with progress("looking inside", len(to_test)) as show:
        scores, looks, near_px = score_maps(model, to_test, show)
    seconds["looking inside"] = time.monotonic() - started
    return DemoResult(
        settings=settings,
        classes=classes,
        model=model,
        lessons=tuple(lessons),
        evaluation=evaluation,
        scenes=tuple(to_test),
        looks=tuple(looks),
        scores=tuple(scores),
        near_px=near_px,
        seconds=seconds,
        run=run,
        pictures=output / "pictures",
        page=output / "explained.png",
    )


def write_pictures(result: DemoResult) -> None:
    """Write the first scenes as pictures, in place of those of an earlier demonstration, and the page about one."""
    scenes = result.scenes[: result.settings.gallery]
    _write_scenes(scenes, result.classes, result.pictures)
    scene = scenes[chosen_example(result.looks[: len(scenes)], scenes)]
    path = picture_path(scene, result.classes, result.pictures)
    explain_file(result.model, path, result.page, model_name="the demonstration's network")


def picture_path(scene: DrawnScene, classes: tuple[str, ...], pictures: Path) -> Path:
    """Name the file of a scene of the gallery: its class in the name, so that ``predict`` can be checked by eye."""
    return pictures / f"{classes[scene.label]}_{scene.index}.png"


def chosen_example(looks: Sequence[Look], scenes: Sequence[DrawnScene]) -> int:
    """Choose the first scene that is named rightly and looked at rightly, or just the first one."""
    for index, look in enumerate(looks):
        if look.hit and max(look.probabilities) == look.probabilities[scenes[index].label]:
            return index
    return 0


def _training_config(settings: DemoSettings, lesson: Lesson, previous: Path | None) -> TrainingConfig:
    start: dict[str, Any] = {"model_overrides": settings.network} if previous is None else {"pretrained": str(previous)}
    return TrainingConfig(
        **start,
        image_size=lesson.window_px,
        epochs=lesson.epochs,
        batch_size=settings.batch_size,
        optimizer="muon",
        learning_rate=lesson.learning_rate,
        warmup_epochs=0.1 * lesson.epochs,
        gradient_clip=5.0,
        settings=ClassifySettings(label_smoothing=0.0, augmentation="none"),
        workers=0,
        device="cpu",
        seed=settings.seed,
    )


def _write_scenes(scenes: Sequence[DrawnScene], classes: tuple[str, ...], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in (path for name in classes for path in folder.glob(f"{name}_[0-9]*.png")):
        earlier.unlink()
    for scene in scenes:
        with replacing(picture_path(scene, classes, folder)) as temporary:
            Image.fromarray(scene.picture).save(temporary, format="png")
