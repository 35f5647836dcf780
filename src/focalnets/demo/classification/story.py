"""The demonstration of classification: its parts put together."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from focalnets.demo.classification import settings
from focalnets.demo.classification.report import write_report
from focalnets.demo.classification.run import DEMO_FILES, DemoResult, picture_path, run_demo, write_pictures
from focalnets.demo.story import ShowProgress, Story

__all__ = ["ClassifyStory"]


class ClassifyStory(Story):
    """Naming one small thing in a picture, see :class:`focalnets.demo.story.Story`."""

    files = DEMO_FILES

    def perform(
        self, output: Path, *, quick: bool, say: Callable[[str], None], progress: ShowProgress, quiet: bool
    ) -> DemoResult:
        """Train in lessons, measure, and look inside."""
        chosen = settings.quick() if quick else settings.full()
        return run_demo(chosen, output, say=say, progress=progress, quiet=quiet)

    def write(self, result: DemoResult, report: Path) -> None:
        """Write the first scenes, the page about one of them, and the report."""
        write_pictures(result)
        write_report(result, report)

    def content(self, result: DemoResult) -> dict[str, Any]:
        """Return accuracy, and how well maps find the object."""
        return {
            "run": str(result.run),
            "pictures": str(result.pictures),
            "classes": list(result.classes),
            "images": result.evaluation.images,
            "top1": result.evaluation.top1,
            "top1_interval": list(result.evaluation.top1_interval),
            "maps": [{"name": score.name, "hits": score.hits, "near": score.near} for score in result.scores],
            "near_px": result.near_px,
            "seconds": dict(result.seconds),
        }

    def summary(self, result: DemoResult) -> str:
        """Tell accuracy, and how often the map peaks on the object."""
        low, high = result.evaluation.top1_interval
        drawn, blind = result.scores[0], result.scores[-1]
        return (
            f"held-out accuracy {result.evaluation.top1:.1%} ({low:.1%} to {high:.1%}) on {result.evaluation.images} "
            f"new scenes; guessing gets {1 / len(result.classes):.1%}\n"
            f"brightest point of the map on the object, or at most half a token beside it: {drawn.near:.1%} "
            f"({drawn.hits:.1%} on it); anywhere at random: {blind.near:.1%} ({blind.hits:.1%})"
        )

    def next_steps(self, result: DemoResult, output: Path) -> list[str]:
        """Predict and explain the pictures that were kept."""
        name = shlex.quote(str(result.run))
        picture = shlex.quote(str(picture_path(result.scenes[0], result.classes, result.pictures)))
        return [
            f"predict {shlex.quote(str(result.pictures))} --model {name}",
            f"explain {picture} --model {name} --output {shlex.quote(str(output / 'explained'))}",
        ]
