"""Classifying images with a trained network, and measuring how well it does.

Axes: B batch, S input size [px], K classes.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from focalnets.data.images import DEFAULT_MAX_PIXELS, read_image
from focalnets.data.transforms import ResizeAndCrop, evaluation_transform, to_tensor
from focalnets.errors import CheckpointError, ConfigError, DataError, ImageError
from focalnets.intervals import wilson_interval
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.classify.calibration import measure_calibration
from focalnets.tasks.classify.results import ClassFigures, Evaluation, Failure, Mistake, Prediction

Alter = Callable[[Image.Image, int], Image.Image]
"""Takes a crop (S x S, RGB) and the number of its image in the data set, and returns a changed one of the same size."""

__all__ = ["Alter", "Evaluation", "Failure", "Prediction", "evaluate_images", "predict_images"]


def predict_images(
    model: FocalNet,
    paths: Sequence[str | Path],
    *,
    top_k: int = 5,
    batch_size: int = 32,
    size_px: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Iterator[Prediction | Failure]:
    """Classify image files, in their order; the next ones are read while the network works.

    Args:
        model: A classifier, on the device to use. It is in evaluation mode meanwhile.
        paths: The files.
        top_k: Classes to name, at most; there are never more than the network has.
        batch_size: Images the network sees at once. The result does not depend on it beyond rounding.
        size_px: Input size; None takes the network's own.
        max_pixels: Largest image that is decoded [px].

    Yields:
        One entry a file: what the network says, or why the file could not be read.

    Raises:
        ConfigError: If a number is out of range or the network has no classes.
    """
    for name, value in (("top_k", top_k), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"{name} must be a whole number from 1 up, got {value}.")
    names = _class_names(model)
    transform = evaluation_transform(_preprocessing(model, size_px))
    files = [Path(path) for path in paths]

    def read(index: int) -> Tensor:
        return transform(read_image(files[index], max_pixels=max_pixels))

    def generate() -> Iterator[Prediction | Failure]:
        with _inference(model) as device:
            for batch in _batches(_read_ahead(read, len(files), 2 * batch_size), batch_size):
                tensors = [item for _, item in batch if isinstance(item, Tensor)]
                if tensors:
                    probabilities = _logits(model, torch.stack(tensors), device).softmax(-1)
                    shares, indices = probabilities.topk(min(top_k, len(names)))
                    rows = iter(zip(shares.tolist(), indices.tolist(), strict=True))
                for index, item in batch:
                    if isinstance(item, ImageError):
                        yield Failure(path=files[index], reason=str(item))
                        continue
                    confidences, chosen = next(rows)
                    yield Prediction(
                        path=files[index],
                        class_names=tuple(names[label] for label in chosen),
                        class_indices=tuple(chosen),
                        confidences=tuple(confidences),
                    )

    return generate()


def evaluate_images(
    model: FocalNet,
    dataset: Dataset,
    *,
    batch_size: int = 32,
    size_px: int | None = None,
    skip_unreadable: bool = False,
    on_progress: Callable[[int], None] | None = None,
    alter: Alter | None = None,
    bins: int = 15,
    worst: int = 24,
) -> Evaluation:
    """Measure a classifier on labelled images, each counted once, in their order, without any randomness.

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
        worst: Mistakes to keep, at most.

    Raises:
        CheckpointError: If the network answers with numbers that are not finite.
        DataError: If there is no image, a label is no class of the network, or an image cannot be read.
        ConfigError: If a number is out of range or the network has no classes.
    """
    # Not needed for predictions, and importing it takes longer than importing torch.
    from torchmetrics import MeanMetric
    from torchmetrics.classification import MulticlassConfusionMatrix

    for name, value in (("batch_size", batch_size), ("bins", bins)):
        if value < 1:
            raise ConfigError(f"{name} must be a whole number from 1 up, got {value}.")
    started = time.monotonic()
    names = _class_names(model)
    preprocessing = _preprocessing(model, size_px)
    crop = ResizeAndCrop(preprocessing.input_size_px, preprocessing.crop_fraction, preprocessing.interpolation)
    transform = to_tensor(preprocessing)
    length = len(dataset)  # type: ignore[arg-type]

    def read(index: int) -> tuple[Tensor, int]:
        picture, label = dataset[index]
        picture = crop(picture)
        return transform(picture if alter is None else alter(picture, index)), int(label)

    classes = len(names)
    loss = MeanMetric()
    confusion = MulticlassConfusionMatrix(classes, validate_args=False)
    answers = _Answers()
    left_out: list[Failure] = []
    with _inference(model) as device:
        for batch in _batches(_read_ahead(read, length, 2 * batch_size), batch_size):
            readable = [(index, *item) for index, item in batch if not isinstance(item, ImageError)]
            for index, item in batch:
                if isinstance(item, ImageError):
                    if not skip_unreadable:
                        raise DataError(f"{str(item).rstrip('.')}; or leave out all unreadable images.")
                    left_out.append(Failure(path=_path_of(dataset, index), reason=str(item)))
            if readable:
                labels = torch.tensor([label for _, _, label in readable])
                if int(labels.max()) >= classes or int(labels.min()) < 0:
                    raise DataError(f"The images have label {int(labels.max())} but the network has {classes} classes.")
                logits = _logits(model, torch.stack([image for _, image, _ in readable]), device)
                if not logits.isfinite().all():
                    raise CheckpointError(
                        "The network answers with numbers that are not finite; its weights are damaged, load others."
                    )
                loss.update(F.cross_entropy(logits, labels), len(labels))
                confusion.update(logits, labels)
                answers.add([index for index, _, _ in readable], logits, labels)
            if on_progress is not None:
                on_progress(batch[-1][0] + 1)
    if length == len(left_out):
        raise DataError("There is no readable image to evaluate on.")
    counts = confusion.compute().reshape(classes, classes)  # torchmetrics drops axes of length 1
    images, correct = int(counts.sum()), int(counts.diagonal().sum())
    return Evaluation(
        images=images,
        top1=correct / images,
        top5=answers.in_top5 / images,
        top1_interval=wilson_interval(correct, images),
        top5_interval=wilson_interval(answers.in_top5, images),
        mean_recall=_mean_recall(counts),
        loss=float(loss.compute()),
        per_class=_per_class(names, counts),
        confusion=tuple(map(tuple, counts.tolist())),
        preprocessing=preprocessing.to_dict(),
        calibration=measure_calibration(answers.confidences, answers.correct, bins=bins),
        mistakes=answers.mistakes(dataset, names, worst),
        left_out=tuple(left_out),
        model=model.origin,
        seconds=time.monotonic() - started,
    )


class _Answers:
    """What the network says about each image, gathered over the batches."""

    def __init__(self) -> None:
        self.indices: list[int] = []
        self.labels: list[int] = []
        self.predicted: list[int] = []
        self.confidences: list[float] = []
        self.true_confidences: list[float] = []
        self.in_top5 = 0

    @property
    def correct(self) -> list[bool]:
        return [predicted == label for predicted, label in zip(self.predicted, self.labels, strict=True)]

    def add(self, indices: Sequence[int], logits: Tensor, labels: Tensor) -> None:
        """Take in logits (B, K) and labels (B,) of the images with these numbers."""
        probabilities = logits.double().softmax(-1)
        # As the confusion matrix chooses among equals.
        predicted = logits.argmax(-1, keepdim=True)
        self.indices += indices
        self.labels += labels.tolist()
        self.predicted += predicted[:, 0].tolist()
        self.confidences += probabilities.gather(-1, predicted)[:, 0].tolist()
        self.true_confidences += probabilities.gather(-1, labels[:, None])[:, 0].tolist()
        five = logits.topk(min(5, logits.shape[-1])).indices
        self.in_top5 += int((five == labels[:, None]).any(-1).sum())

    def mistakes(self, dataset: Dataset, names: Sequence[str], most: int) -> tuple[Mistake, ...]:
        """The most confident wrong predictions, the surest first, equals in the order of the images."""
        wrong = [place for place, correct in enumerate(self.correct) if not correct]
        wrong.sort(key=lambda place: -self.confidences[place])
        return tuple(
            Mistake(
                path=str(_path_of(dataset, self.indices[place])),
                index=self.indices[place],
                true_class=names[self.labels[place]],
                predicted_class=names[self.predicted[place]],
                confidence=self.confidences[place],
                true_confidence=self.true_confidences[place],
            )
            for place in wrong[:most]
        )


def _mean_recall(counts: Tensor) -> float:
    totals = counts.sum(1)
    return float((counts.diagonal()[totals > 0] / totals[totals > 0]).double().mean())


def _class_names(model: FocalNet) -> tuple[str, ...]:
    classes = model.config.num_classes
    if classes == 0 or model.head is None:
        raise ConfigError("The network has no classifier (num_classes is 0); load or train one that has.")
    return model.class_names or tuple(f"class {index}" for index in range(classes))


def _preprocessing(model: FocalNet, size_px: int | None) -> Preprocessing:
    if size_px is None:
        return model.preprocessing
    return dataclasses.replace(model.preprocessing, input_size_px=size_px)


@contextlib.contextmanager
def _inference(model: FocalNet) -> Iterator[torch.device]:
    """Evaluation mode, put back afterwards, and the network's device.

    Inference mode is entered for each batch only: it belongs to the thread, and a generator must not leave it on for
    its caller.
    """
    training = model.training
    model.eval()
    try:
        yield next(model.parameters()).device
    finally:
        model.train(training)


def _logits(model: FocalNet, images: Tensor, device: torch.device) -> Tensor:
    """Logits (B, K) float32 on the CPU of images (B, 3, S, S)."""
    with torch.inference_mode():
        return model(images.to(device)).float().cpu()


def _read_ahead(read: Callable[[int], Any], length: int, ahead: int) -> Iterator[tuple[int, Any]]:
    """(index, what ``read`` returns or the ImageError it raises), read in threads up to ``ahead`` items in advance."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        waiting: collections.deque[tuple[int, Future]] = collections.deque()
        try:
            for index in range(length):
                waiting.append((index, pool.submit(read, index)))
                if len(waiting) > ahead:
                    yield _settled(*waiting.popleft())
            while waiting:
                yield _settled(*waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()


def _settled(index: int, future: Future) -> tuple[int, Any]:
    try:
        return index, future.result()
    except ImageError as error:
        return index, error


def _batches(items: Iterator[tuple[int, Any]], size: int) -> Iterator[list[tuple[int, Any]]]:
    with contextlib.closing(items):  # type: ignore[type-var]
        batch: list[tuple[int, Any]] = []
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


def _per_class(names: Sequence[str], counts: Tensor) -> tuple[ClassFigures, ...]:
    figures = []
    for index, name in enumerate(names):
        images, called, right = int(counts[index].sum()), int(counts[:, index].sum()), int(counts[index, index])
        figures.append(
            ClassFigures(
                name=name,
                images=images,
                recall=right / images if images else None,
                recall_interval=wilson_interval(right, images) if images else None,
                precision=right / called if called else None,
            )
        )
    return tuple(figures)


def _path_of(dataset: Dataset, index: int) -> Path:
    samples = getattr(dataset, "samples", None)
    return Path(f"image {index}") if samples is None else samples[index][0]
