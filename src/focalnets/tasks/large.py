"""Images of any size for every task: one way to look at them and to write what was found."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from torch import nn

from focalnets.files import user_path, write_json
from focalnets.large.looking import LargeOptions, OnProgress, finish_work, plan_look
from focalnets.large.plan import Plan, estimate_seconds
from focalnets.large.sources import LargePicture, open_source
from focalnets.tasks.task import Task

__all__ = ["LargeAnswer", "predict_large"]

WORK_FOLDER = ".work"
"""Where files lie below the output while an image is looked at."""


@dataclasses.dataclass(frozen=True)
class LargeAnswer:
    """What a network says about one image of any size.

    Attributes:
        result: Of the task.
        plan: How it was looked at.
        files: Names of the files that were written below the output.
    """

    result: Any
    plan: Plan
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Write plain values."""
        return {**self.result.to_dict(), "look": self.plan.to_dict(), "files": list(self.files)}


def predict_large(
    task: Task,
    network: nn.Module,
    picture: LargePicture,
    options: LargeOptions | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    level: int = 0,
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: OnProgress | None = None,
) -> LargeAnswer:
    """Say what a network answers to an image of any size, at the size that it has.

    An image that was interrupted goes on where it was if the output is the same: by tiles always, as a whole where maps
    lie in files.

    Args:
        task: What the network is for.
        network: In evaluation mode.
        picture: See :func:`focalnets.large.sources.open_source`.
        options: How to look at it.
        output: Folder for results, and for files meanwhile; None keeps everything in memory and writes nothing.
        level: Which size of a file that has several, 0 being the largest.
        on_plan: Called with what it will take, before the work begins.
        on_progress: Called with the fraction that is done.

    Raises:
        ConfigError: If the network or the task cannot look at large images, or not within the memory there is.
        ImageError: If the image cannot be read.
        DataError: If there is no room for files.
        MissingPackageError: If the image or the results need a package that is not installed.
    """
    options = LargeOptions() if options is None else options
    look = task.large(network)
    folder = None if output is None else user_path(output)
    work = None if folder is None else folder / WORK_FOLDER
    with open_source(picture, level=level) as source:
        plan = plan_look(
            look.backbone, source, options, folder=work, output_bytes=look.output_bytes(source), stages=look.stages
        )
        if on_plan is not None:
            on_plan(estimate_seconds(look.backbone, plan))
        found = look.look(source, plan, work, on_progress)
        result = look.result(source, found)
        files: list[str] = []
        if folder is not None:
            files = look.write(source, found, folder, plan.sentence())
            answer = LargeAnswer(result, plan, (*files, "result.json"))
            write_json(folder / "result.json", answer.to_dict())
            files.append("result.json")
    del found
    finish_work(work)
    return LargeAnswer(result, plan, tuple(files))
