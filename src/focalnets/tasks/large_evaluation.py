"""Measuring a network on images at the size that they have, by contexts; the same figures as resized ones give."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from focalnets.data.annotated.images import Photo
from focalnets.data.labelled import LabelledData
from focalnets.errors import DataError, ImageError
from focalnets.files import user_path
from focalnets.large.looking import LargeOptions, plan_look
from focalnets.large.plan import Plan, estimate_seconds
from focalnets.large.sources import LargePicture, open_source
from focalnets.tasks.evaluation import Failure, Measured
from focalnets.tasks.running import inference, path_of, spec_at
from focalnets.tasks.task import Task

__all__ = ["evaluate_large"]


def evaluate_large(
    task: Task,
    model: nn.Module,
    data: LabelledData,
    options: LargeOptions | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    skip_unreadable: bool = False,
    on_plan: Callable[[str, Plan], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Any:
    """Measure a network as :func:`focalnets.tasks.running.evaluate` does, on images at the size that they have.

    Args:
        task: What the network is for.
        model: The network, on the device to use. It is in evaluation mode meanwhile.
        data: What to measure on.
        options: How to look at the images; its context is named in the evaluation.
        folder: Below it files lie while an image is looked at; None keeps everything in memory.
        skip_unreadable: Leave damaged images out and say so in the result, instead of refusing.
        on_plan: Called with an image's name and what it will take, for each that takes more memory than those before.
        on_progress: Called with the number of images done.

    Returns:
        The task's evaluation; the loss is that of classifiers alone.

    Raises:
        ConfigError: If the network or the task cannot look at large images, or not within the memory there is.
        DataError: If there is no image, an answer is none that the network can give, or an image cannot be read.
    """
    options = LargeOptions() if options is None else options
    task = task.for_model(model)
    started, most = time.monotonic(), 0
    labels = task.labels(model)
    look = task.large(model).for_measuring()
    metrics = look.metrics(labels)
    answers: list[Any] = []
    losses: list[float] = []
    indices: list[int] = []
    left_out: list[Failure] = []
    with inference(model):
        for index in range(len(data)):
            try:
                picture, known = _item(data, index)
                with _work(folder) as work, open_source(picture) as source:
                    plan = plan_look(
                        look.backbone, source, options, folder=work, output_bytes=look.output_bytes(source),
                        stages=look.stages,
                    )  # fmt: skip
                    if on_plan is not None and plan.memory_bytes > most:
                        most = plan.memory_bytes
                        on_plan(str(path_of(data, index)), estimate_seconds(look.backbone, plan))
                    answer, loss = look.measure(metrics, look.look(source, plan, work, None), known)
            except ImageError as error:
                if not skip_unreadable:
                    raise DataError(f"{str(error).rstrip('.')}; or leave out all unreadable images.") from error
                left_out.append(Failure(path=path_of(data, index), reason=str(error)))
            else:
                answers.append(answer)
                losses += [] if loss is None else [loss]
                indices.append(index)
            if on_progress is not None:
                on_progress(index + 1)
    if not indices:
        raise DataError("There is no readable image to evaluate on.")
    return task.evaluation(
        Measured(
            data=data,
            labels=labels,
            spec=spec_at(model, None),
            metrics=metrics,
            loss=sum(losses) / len(losses) if losses else None,
            answers=answers,
            indices=indices,
            left_out=tuple(left_out),
            model=getattr(model, "origin", ""),
            seconds=time.monotonic() - started,
            look=options.to_dict(),
        )
    )


def _item(data: LabelledData, index: int) -> tuple[LargePicture, Any]:
    """Find the picture of an item, which is not decoded where it is a file, and what is known of it."""
    annotation, samples = getattr(data, "annotation", None), getattr(data, "samples", None)
    if annotation is not None:
        known = annotation(index)
        return (known.picture.path if isinstance(known.picture, Photo) else known.picture), known
    if samples is not None and isinstance(samples[index][0], Path):
        return samples[index]
    return data[index]


@contextlib.contextmanager
def _work(folder: str | os.PathLike[str] | None) -> Iterator[Path | None]:
    """Make a folder for the files of one image, which are deleted in the end."""
    if folder is None:
        yield None
        return
    place = user_path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".work") as work:
        yield Path(work)
