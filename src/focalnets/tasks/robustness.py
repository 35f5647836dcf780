"""How a network stands other sizes and corrupted pictures: one evaluation after the other on the same data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from PIL import Image
from torch import nn

from focalnets.data.corruptions import CORRUPTIONS, check_corruptions, corrupt
from focalnets.data.labelled import LabelledData
from focalnets.engine.forms import InferenceForm
from focalnets.errors import ConfigError
from focalnets.files import listed
from focalnets.tasks.running import evaluate, spec_at
from focalnets.tasks.studies import CorruptionStudy, CorruptionTrial, ResolutionStudy
from focalnets.tasks.task import Task

__all__ = ["RESOLUTIONS_PX", "evaluate_corruptions", "evaluate_resolutions"]

RESOLUTIONS_PX = tuple(range(96, 385, 32))
"""Input sizes of the usual curve [px]."""

OnProgress = Callable[[int, str], None]
"""Takes the number of images done, over all passes, and the name of the pass."""


def evaluate_resolutions(
    task: Task,
    model: nn.Module,
    data: LabelledData,
    sizes_px: Sequence[int] = RESOLUTIONS_PX,
    *,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    form: InferenceForm | None = None,
    on_progress: OnProgress | None = None,
) -> ResolutionStudy:
    """Measure at several input sizes; the other arguments are those of :func:`focalnets.tasks.running.evaluate`.

    Raises:
        ConfigError: If a size is below 1 or there is none.
    """
    sizes = tuple(sorted(set(listed(sizes_px))))
    if not sizes or sizes[0] < 1:
        raise ConfigError(f"resolutions must be whole numbers from 1 up, got {', '.join(map(str, sizes_px))}.")
    figures = [
        evaluate(
            task,
            model,
            data,
            batch_size=batch_size,
            size_px=size,
            skip_unreadable=skip_unreadable,
            form=form,
            on_progress=_continue_progress(on_progress, number * len(data), f"{size} px"),
        ).figures()
        for number, size in enumerate(sizes)
    ]
    return ResolutionStudy(sizes_px=sizes, figures=tuple(figures), own_size_px=spec_at(model, None).input_size_px)


def evaluate_corruptions(
    task: Task,
    model: nn.Module,
    data: LabelledData,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = (1, 3, 5),
    *,
    seed: int = 0,
    batch_size: int | None = None,
    size_px: int | None = None,
    skip_unreadable: bool = False,
    form: InferenceForm | None = None,
    on_progress: OnProgress | None = None,
) -> CorruptionStudy:
    """Measure on pictures that are corrupted after resizing and cropping, so that strengths hold for what is seen.

    Args:
        task: See :func:`focalnets.tasks.running.evaluate`.
        model: Likewise.
        data: Likewise.
        corruptions: Names from :data:`focalnets.data.corruptions.CORRUPTIONS`.
        severities: From 1 to 5.
        seed: The same seed gives the same noise to the same image.
        batch_size: See :func:`focalnets.tasks.running.evaluate`.
        size_px: Likewise.
        skip_unreadable: Likewise.
        form: Likewise.
        on_progress: See :data:`OnProgress`.

    Raises:
        UnknownNameError: If there is no corruption of that name.
        ConfigError: If a severity or the seed is out of range.
    """
    names, strengths = tuple(dict.fromkeys(listed(corruptions))), tuple(sorted(set(listed(severities))))
    check_corruptions(names, strengths, seed)
    trials: list[CorruptionTrial] = []
    for name in names:
        for severity in strengths:
            evaluation = evaluate(
                task,
                model,
                data,
                batch_size=batch_size,
                size_px=size_px,
                skip_unreadable=skip_unreadable,
                form=form,
                on_progress=_continue_progress(on_progress, len(trials) * len(data), f"{name} {severity}"),
                alter=functools.partial(_corrupt, name=name, severity=severity, seed=seed),
            )
            trials.append(CorruptionTrial(corruption=name, severity=severity, figures=evaluation.figures()))
    return CorruptionStudy(
        corruptions=names, severities=strengths, trials=tuple(trials), seed=seed, metric=task.watch.metric
    )


def _corrupt(picture: Image.Image, index: int, *, name: str, severity: int, seed: int) -> Image.Image:
    return corrupt(picture, name, severity, seed=seed, index=index)


def _continue_progress(on_progress: OnProgress | None, before: int, name: str) -> Callable[[int], None] | None:
    return None if on_progress is None else lambda done: on_progress(before + done, name)
