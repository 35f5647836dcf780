"""Classifying image files, and measuring a classifier on labelled images: the loops of every task, in short."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from focalnets.data.images import DEFAULT_MAX_PIXELS, read_image
from focalnets.data.labelled import LabelledData
from focalnets.models.focalnet import FocalNet
from focalnets.tasks import running
from focalnets.tasks.classify.results import Evaluation, Prediction
from focalnets.tasks.classify.task import Classify
from focalnets.tasks.evaluation import Failure
from focalnets.tasks.picture_transform import Alter

__all__ = ["evaluate_images", "predict_images"]


def predict_images(
    model: FocalNet,
    paths: str | Path | Sequence[str | Path],
    *,
    top_k: int = 5,
    batch_size: int = 32,
    size_px: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Iterator[Prediction | Failure]:
    """Classify image files, in their order; see :func:`focalnets.tasks.running.predict`.

    Args:
        model: A classifier, on the device to use. It is in evaluation mode meanwhile.
        paths: The files; a single path is one file.
        top_k: Classes to name, at most; there are never more than the network has.
        batch_size: Images the network sees at once. The result does not depend on it beyond rounding.
        size_px: Input size; None takes the network's own.
        max_pixels: Largest image that is decoded [px].

    Yields:
        One entry for each file: what the network says, or why the file could not be read.

    Raises:
        ConfigError: If a number is out of range or the network has no classes.
    """
    files = [Path(path) for path in ((paths,) if isinstance(paths, str | os.PathLike) else paths)]
    task = Classify(top_k=top_k)
    side = task.coarsest_side_px(running.spec_at(model, size_px))
    return running.predict(
        task,
        model,
        files,
        lambda index: read_image(files[index], max_pixels=max_pixels, smallest_side_px=side),
        batch_size=batch_size,
        size_px=size_px,
    )


def evaluate_images(
    model: FocalNet,
    dataset: LabelledData,
    *,
    batch_size: int = 32,
    size_px: int | None = None,
    skip_unreadable: bool = False,
    on_progress: Callable[[int], None] | None = None,
    alter: Alter | None = None,
    bins: int = 15,
    worst: int = 24,
) -> Evaluation:
    """Measure a classifier on labelled images; see :func:`focalnets.tasks.running.evaluate`.

    Args:
        model: The network, on the device to use. It is in evaluation mode meanwhile.
        dataset: Of known length, with items (picture as PIL image in mode RGB, label), e.g.
            ``ImageFolder(samples, classes)``; labels count in the network's outputs.
        batch_size: Images the network sees at once.
        size_px: Input size; None takes the network's own.
        skip_unreadable: Leave damaged images out and say so in the result, instead of refusing.
        on_progress: Called with the number of images done.
        alter: Changes the pictures after resizing and cropping, e.g. to see how much noise the network stands.
        bins: Bins of the calibration.
        worst: Most confident errors to keep, at most.

    Raises:
        CheckpointError: If the network answers with numbers that are not finite.
        DataError: If there is no image, a label is no class of the network, or an image cannot be read.
        ConfigError: If a number is out of range or the network has no classes.
    """
    return running.evaluate(
        Classify(bins=bins, worst=worst),
        model,
        dataset,
        batch_size=batch_size,
        size_px=size_px,
        skip_unreadable=skip_unreadable,
        alter=alter,
        on_progress=on_progress,
    )
