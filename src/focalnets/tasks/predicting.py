"""Saying what a network answers to photos and videos, one after the other, whatever its task is."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from focalnets.data.inputs import Input, gather_inputs
from focalnets.engine.accelerate import Precision
from focalnets.engine.forms import inference_form
from focalnets.errors import DataError
from focalnets.tasks.clips import PredictedClip, clip_outputs, predict_clip
from focalnets.tasks.evaluation import Failure
from focalnets.tasks.results import Predicted, Results
from focalnets.tasks.running import predict, spec_at
from focalnets.tasks.sequences.predicting import predict_sequences
from focalnets.tasks.sequences.task import SequenceClassification
from focalnets.tasks.trained import TrainedNetwork

__all__ = ["predict_given", "predict_inputs"]


def predict_given(
    trained: TrainedNetwork,
    inputs: Any,
    *,
    output: str | os.PathLike[str] | None = None,
    precision: Precision = "auto",
    every: int = 1,
    batch_size: int | None = None,
    size_px: int | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Results:
    """Say what a network answers to whatever was given; see :func:`focalnets.predict` for the arguments.

    Raises:
        FocalNetsError: As :func:`focalnets.predict`.
    """
    options: dict[str, Any] = {"batch_size": batch_size, "on_progress": on_progress}
    if isinstance(trained.task, SequenceClassification):
        sequences, missing = trained.task.gather(inputs)
        failures = [Failure(path=Path(given), reason=reason) for given, reason in missing]
        return predict_sequences(trained, sequences, failures, size=size_px, **options)
    found, missing = gather_inputs(inputs, videos=True)
    failures = [Failure(path=Path(given), reason=reason) for given, reason in missing]
    clip_files = clip_outputs([each.path for each in found if each.is_video], output, "_predicted")
    results = predict_inputs(
        trained, found, clip_files=clip_files, precision=precision, every=every, size_px=size_px, **options
    )
    return results.with_failures(failures)


def predict_inputs(
    trained: TrainedNetwork,
    inputs: Sequence[Input],
    *,
    clip_files: Sequence[Path] = (),
    precision: Precision = "auto",
    every: int = 1,
    batch_size: int | None = None,
    size_px: int | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Results:
    """Say what a network answers to pictures, then to the frames of videos; see :func:`focalnets.predict`.

    Args:
        trained: The network, with its task.
        inputs: What :func:`focalnets.data.inputs.gather_inputs` found.
        clip_files: The file to write for each video, in their order.
        precision: See :func:`focalnets.engine.forms.inference_form`.
        every: In videos look at each ``every``-th frame only.
        batch_size: Pictures at once; None takes the task's usual number.
        size_px: Input size; None takes the network's own.
        on_progress: Called with the number of pictures or frames done, and of all where it is known.

    Raises:
        ConfigError, UnknownNameError: If a number or a name is out of range.
        BackendUnavailableError: If this machine cannot compute with that precision.
        CheckpointError: If the network answers with numbers that are not finite.
        MissingPackageError: If there are videos and PyAV is not installed.
    """
    trained.task.require_images("predict")
    pictures, videos = [each for each in inputs if not each.is_video], [each for each in inputs if each.is_video]
    task, network, spec = trained.task, trained.network, spec_at(trained.network, size_px)
    side, size = task.coarsest_side_px(spec), spec.input_size_px
    form = inference_form(network, precision, pixels=math.inf if videos else len(pictures) * size**2)
    answers = predict(
        task,
        network,
        [picture.path for picture in pictures],
        lambda index: pictures[index].read(smallest_side_px=side),
        batch_size=batch_size,
        size_px=size_px,
        form=form,
        on_progress=None if on_progress is None else lambda done: on_progress(done, len(pictures)),
    )
    entries: list[Predicted] = []
    failures: list[Failure] = []
    for picture, answer in zip(pictures, answers, strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
        else:
            entries.append(Predicted(answer, picture, task))
    clips: list[PredictedClip] = []
    options: dict[str, Any] = {"batch_size": batch_size, "size_px": size_px, "form": form, "on_progress": on_progress}
    for video, target in zip(videos, clip_files, strict=True):
        try:
            clips.append(predict_clip(task, network, video.path, target, every=every, **options))
        except DataError as error:
            failures.append(Failure(path=Path(video.path), reason=str(error)))
    return Results(entries, failures, task, model=trained.source or trained.origin, input_size_px=size, clips=clips)
