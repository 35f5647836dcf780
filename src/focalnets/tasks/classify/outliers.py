"""Outliers for a classifier: what it learns to be unsure of, and below which confidence it names no class.

Axes: C channels, S input size, N images, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from focalnets.data.finding import find_images
from focalnets.data.labelled import TrainingData
from focalnets.data.outliers import NO_CLASS, GeneratedOutliers, MixedOutliers, OutlierPictures, Outliers
from focalnets.errors import DataError, TrainingError
from focalnets.tasks import running
from focalnets.tasks.classify.results import Prediction
from focalnets.tasks.classify.settings import GENERATED, ClassifySettings
from focalnets.tasks.task import Task
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.loading import build_classifier, open_trained

__all__ = [
    "OutlierTransform",
    "add_threshold",
    "choose_threshold",
    "held_out_outliers",
    "training_outliers",
    "uniformity",
]

_HELD_OUT_EVERY = 10
"""Of a folder of outliers every so manieth picture is not trained on: it has a say in the threshold."""

_HELD_OUT_SEED = 1
"""Generated outliers that choose the threshold come from another seed than those that are trained on."""


_MEASURED = 1000
"""So many images held out, and so many outliers, choose the threshold, at most."""

_MOST_CALLED_NONE = 0.05
"""Fraction of the recognised images held out that may be below the threshold: where the network would be wrong, naming
no class loses nothing."""


class OutlierTransform:
    """Changes labelled pictures at random, and outliers in every other case only as evaluation does.

    What is seen in a random crop of noise or stripes, made larger, is coarser than what an evaluation sees.

    Args:
        change: Makes of a picture a randomly changed tensor (C, S, S).
        prepare: Makes of a picture the tensor (C, S, S) of evaluation.
    """

    def __init__(self, change: Callable[[Any], torch.Tensor], prepare: Callable[[Any], torch.Tensor]) -> None:
        self.change, self.prepare = change, prepare

    def __call__(self, item: tuple[Any, Any], _index: int) -> tuple[torch.Tensor, Any]:
        """Prepare the item (picture, label)."""
        picture, label = item
        as_in_evaluation = label == NO_CLASS and bool(torch.rand(()) < 0.5)
        return (self.prepare if as_in_evaluation else self.change)(picture), label


def uniformity(logits: torch.Tensor) -> torch.Tensor:
    """Measure how far answers to outliers are from naming all classes alike.

    Args:
        logits: (N, K); N may be 0.

    Returns:
        The mean divergence KL(uniform, softmax(logits)) [nats], a scalar; 0 without outliers.
    """
    divergence = -logits.log_softmax(-1).mean(-1) - math.log(logits.shape[-1])
    return divergence.sum() / max(1, len(divergence))


def training_outliers(
    settings: ClassifySettings, data: Any, *, side_px: int, smallest_side_px: int | None = None
) -> Outliers:
    """Open the outliers that a network is trained on.

    Args:
        settings: Say where they come from.
        data: The labelled pictures, whose shuffled parts are outliers too.
        side_px: Side of the pictures that are drawn.
        smallest_side_px: Lets JPEGs be decoded at a fraction of their size.

    Raises:
        DataError: If a folder does not exist or holds too few pictures.
    """
    sources: list[Outliers] = []
    for source in settings.outlier_sources():
        if source == GENERATED:
            sources.append(GeneratedOutliers(side_px=side_px, photos=data))
        else:
            sources.append(OutlierPictures(_split(source)[0], smallest_side_px=smallest_side_px))
    return MixedOutliers(sources)


def held_out_outliers(settings: ClassifySettings, data: Any, *, side_px: int) -> Outliers:
    """Open outliers of the same sources that the network was not trained on.

    Args:
        settings: Say where they come from.
        data: Labelled pictures that were held out.
        side_px: Side of the pictures that are drawn.
    """
    return MixedOutliers(
        [
            GeneratedOutliers(side_px=side_px, seed=_HELD_OUT_SEED, photos=data)
            if source == GENERATED
            else OutlierPictures(_split(source)[1])
            for source in settings.outlier_sources()
        ]
    )


def add_threshold(task: Any, weights: Path, data: TrainingData, *, device: torch.device) -> str:
    """Choose the threshold of a network on images and outliers that it was not trained on, and note it in its file.

    Args:
        task: Classification, with the settings of the training.
        weights: The file, which is written anew.
        data: What the network was trained and validated on.
        device: Where to measure.

    Returns:
        The threshold and what it tells apart, in a sentence.

    Raises:
        TrainingError: If no image or no outlier can be read.
        CheckpointError: If the file cannot be read or written.
    """
    opened = open_trained(weights)
    model = build_classifier(opened).to(device)
    images = min(_MEASURED, len(data.val))
    places = [index * len(data.val) // images for index in range(images)]
    side = model.preprocessing.input_size_px
    outliers = held_out_outliers(task.settings, data.val, side_px=side)
    classes: dict[int, int] = {}

    def read(number: int) -> Any:
        picture, classes[number] = data.val[places[number]]
        return picture

    answers = _answers(task, model, images, read)
    right = [answer for number, answer in answers if answer.class_indices[0] == classes[number]]
    inside = np.array([answer.confidences[0] for answer in right or [answer for _, answer in answers]])
    outside = np.array(
        [answer.confidences[0] for _, answer in _answers(task, model, _MEASURED, lambda number: outliers[number])]
    )
    if not len(inside) or not len(outside):
        raise TrainingError(
            "No threshold was chosen: none of the images held out, or none of the outliers, can be read."
        )
    model.threshold = choose_threshold(inside, outside)
    notes = {} if opened.description is None else opened.description.notes
    if opened.description is not None:
        model.origin = opened.description.origin
    save_checkpoint(model, weights, notes=notes)
    kept, refused = np.mean(inside >= model.threshold), np.mean(outside < model.threshold)
    return (
        f"below the confidence {model.threshold:g} it names no class: so it is for {1 - kept:.1%} of the "
        f"{len(inside):,} images held out that it recognises (of {len(answers):,}), and for {refused:.1%} of "
        f"{len(outside):,} outliers that it was not trained on"
    )


def choose_threshold(inside: np.ndarray, outside: np.ndarray) -> float:
    """Choose the confidence that tells images from outliers best: the highest mean of the fractions of both that are
    on their side of it, among those that at most one in twenty images is below.

    Args:
        inside: Highest confidences of images of the classes that are recognised, from 0 to 1, (N,).
        outside: Those of outliers, (M,).

    Returns:
        A multiple of 0.005.
    """
    candidates = np.arange(200) / 200
    below = np.mean(inside[None] < candidates[:, None], axis=1)
    score = 1 - below + np.mean(outside[None] < candidates[:, None], axis=1)
    return float(candidates[np.argmax(np.where(below <= _MOST_CALLED_NONE, score, -1.0))])


def _answers(task: Task, model: nn.Module, count: int, read: Callable[[int], Any]) -> list[tuple[int, Prediction]]:
    """Numbers of the pictures that can be read, of so many, and what the network says of them."""
    paths = [Path(f"image {number}") for number in range(count)]
    answers = enumerate(running.predict(task, model, paths, read))
    return [(number, answer) for number, answer in answers if isinstance(answer, Prediction)]


def _split(folder: str) -> tuple[list[Path], list[Path]]:
    """Pictures of a folder to train on, and those held out; neither depends on the place of the folder."""
    files = find_images(folder)
    if len(files) < 2:
        raise DataError(
            f"the folder of outliers '{folder}' holds {len(files)} picture; expected 2 or more, one to hold out."
        )
    held_out = files[_HELD_OUT_EVERY // 2 :: _HELD_OUT_EVERY] or files[-1:]
    return [file for file in files if file not in set(held_out)], held_out
