"""The demonstration of a task that answers for places in an image: what all such demonstrations share."""

from __future__ import annotations

import abc
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from torch import nn

from focalnets.data.annotated.images import AnnotatedImage
from focalnets.data.labelled import TrainingData
from focalnets.demo.dense.drawing import DenseDrawing
from focalnets.demo.dense.large_scene import look_twice
from focalnets.demo.dense.report import draw_large_pictures, write_report
from focalnets.demo.dense.result import DenseResult, Seen, picture_path
from focalnets.demo.dense.scenes import draw_large_scene, draw_sets
from focalnets.demo.dense.settings import DenseDemoSettings, in_seconds
from focalnets.demo.story import ShowProgress, Story
from focalnets.demo.words import starts_again
from focalnets.files import replacing
from focalnets.large.sources import Source
from focalnets.tasks.large_look import LargeLook
from focalnets.tasks.loading import load_trained
from focalnets.tasks.report import evaluate_in_passes
from focalnets.tasks.task import Task
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import in_miniature
from focalnets.training.trainer import train
from focalnets.visualize.answers import answer_and_look, backbone_of
from focalnets.visualize.maps import default_focus, focus_map

__all__ = ["DenseStory"]

_MISTAKES = 12


class DenseStory(DenseDrawing, Story):
    """A demonstration of a dense task: scenes with every thing in them, and one large picture.

    Attributes:
        recipe: What the training starts from.
        stuff: Whether sky and land are classes too.
    """

    files: ClassVar[tuple[str, ...]] = ("run/config.yaml", "pictures/.writable", "large/.writable", "report.html")
    recipe: ClassVar[Callable[[], TrainingConfig]]
    stuff: ClassVar[bool]

    @abc.abstractmethod
    def settings(self) -> DenseDemoSettings:
        """Choose what takes about three minutes on two cores."""

    @abc.abstractmethod
    def blind(self, test: Sequence[AnnotatedImage]) -> float:
        """Compute what the watched metric is on these scenes for an answer that does not look at them."""

    @abc.abstractmethod
    def large_answer(self, look: LargeLook, source: Source, found: Any) -> Any:
        """Keep what is drawn of what was found in a large picture."""

    def perform(
        self, output: Path, *, quick: bool, say: Callable[[str], None], progress: ShowProgress, quiet: bool
    ) -> DenseResult:
        """Draw, train, measure, look inside, and look at the large picture twice."""
        settings, seconds = self.chosen(quick=quick), {}
        started = time.monotonic()
        total = settings.train_scenes + settings.choice_scenes + settings.test_scenes
        say(f"drawing {total:,} scenes of {settings.scene_px} px with everything that stands and flies around in them")
        with progress("drawing", total) as show:
            learn, choose, test = draw_sets(settings, stuff=self.stuff, on_progress=show)
        labels = tuple(category.name for category in learn.categories)
        seconds["drawing"] = time.monotonic() - started

        started = time.monotonic()
        data = TrainingData(labels=labels, train=learn, val=choose, description="generated scenes")
        with starts_again():
            training = train(self.config(settings), data, output=output / "run", overwrite=True, quiet=quiet)
        seconds["training"] = time.monotonic() - started

        started = time.monotonic()
        task, network = load_trained(training.run, worst=_MISTAKES)
        with progress("evaluating", len(test)) as show:
            report = evaluate_in_passes(
                task, network, test, place="new scenes", on_progress=lambda done, _all, _name: show(done)
            )
        scenes = [test[number][1] for number in range(len(test))]
        gallery = tuple(_look(task, network, scene) for scene in scenes[: settings.gallery])
        seconds["measuring"] = time.monotonic() - started

        started = time.monotonic()
        width, height = settings.large_px
        say(f"drawing a picture of {width} x {height} px, and looking at it by tiles and as a whole")
        known = draw_large_scene(settings, stuff=self.stuff)
        with progress("looking at the large picture", 3) as show:
            large = look_twice(
                task, network, known, tile_px=settings.tile_px, overlap_px=settings.overlap_px,
                answer=self.large_answer, on_progress=show,
            )  # fmt: skip
        seconds["the large picture"] = time.monotonic() - started
        return DenseResult(
            settings=settings, task=task, network=network, training=training, report=report, level=self.blind(scenes),
            gallery=gallery, large=large, seconds=seconds, output=output,
        )  # fmt: skip

    def chosen(self, *, quick: bool) -> DenseDemoSettings:
        """Choose what is done."""
        return in_seconds() if quick else self.settings()

    def config(self, settings: DenseDemoSettings) -> TrainingConfig:
        """Choose how the network is trained."""
        config = type(self).recipe()
        if settings.toy:
            config = in_miniature(config.replace(pretrained=None, freeze_norms=False))
        return config.replace(
            image_size=settings.scene_px, epochs=settings.epochs, batch_size=settings.batch_size,
            learning_rate=settings.learning_rate, layer_decay=settings.layer_decay, warmup_epochs=0.5, workers=0,
            device="cpu", seed=settings.seed,
        )  # fmt: skip

    def write(self, result: DenseResult, report: Path) -> None:
        """Write the scenes of the gallery, the large picture, and the page."""
        pictures, large = result.output / "pictures", result.output / "large"
        for folder in (pictures, large):
            folder.mkdir(parents=True, exist_ok=True)
        for earlier in pictures.glob("scene_[0-9]*.png"):
            earlier.unlink()
        for seen in result.gallery:
            _save(seen.known.image, picture_path(result, seen))
        drawn = draw_large_pictures(self, result)
        for name, picture in drawn.items():
            _save(picture, large / f"{name}.png")
        write_report(self, result, drawn, report)

    def content(self, result: DenseResult) -> dict[str, Any]:
        """Return the figures on scenes, and on the large picture in each context."""
        metrics = result.task.metric_labels
        large = result.large
        return {
            "run": str(result.run),
            "pictures": str(result.output / "pictures"),
            "large": str(result.output / "large"),
            "classes": list(result.task.labels(result.network)),
            "images": result.report.evaluation.inputs,
            **{name: result.figure(name) for name in metrics},
            "without_looking": result.level,
            "large_picture": {
                "width": large.known.size[0],
                "height": large.known.size[1],
                "contexts": {
                    view.plan.context: {
                        **{name: view.figures[name] for name in metrics},
                        "memory_bytes": view.plan.memory_bytes,
                        "seconds": view.seconds,
                    }
                    for view in (large.tile, large.image)
                },
                "difference": self.change_in_numbers(large),
                "mean_difference_of_maps": float(large.difference.mean()),
            },
            "seconds": dict(result.seconds),
        }

    def summary(self, result: DenseResult) -> str:
        """Tell the figures on scenes and on the large picture."""
        watched = result.task.watch.metric
        metric, large = result.task.metric_labels[watched], result.large
        shown = ", ".join(
            f"{each.label} {each.format(result.figure(name))}" for name, each in result.task.metric_labels.items()
        )
        tile, image = (metric.format(view.figures[watched]) for view in (large.tile, large.image))
        return (
            f"{shown} on {result.report.evaluation.inputs} new scenes\n"
            f"the large picture, {metric.label}: {tile} by tiles of {large.tile.plan.tile_px} px, {image} as a whole; "
            f"{self.change_in_words(large)}"
        )

    def next_steps(self, result: DenseResult, output: Path) -> list[str]:
        """Predict and explain scenes, and look at the large picture again."""
        name, large = shlex.quote(str(result.run)), result.output / "large"
        return [
            f"predict {_quoted(output / 'pictures')} --model {name} --output {_quoted(output / 'answers')}",
            f"explain {_quoted(picture_path(result, result.gallery[0]))} --model {name} --output "
            f"{_quoted(output / 'explained')}",
            f"predict {_quoted(large / 'picture.png')} --model {name} --context image",
        ]


def _look(task: Task, network: nn.Module, scene: AnnotatedImage) -> Seen:
    answer, inside = answer_and_look(task, network, scene.image, name=scene.name)
    heat = focus_map(inside, default_focus(backbone_of(network)))[0]
    return Seen(scene, answer, heat)


def _save(picture: Image.Image, path: Path) -> None:
    with replacing(path) as temporary:
        picture.save(temporary, format="png")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
