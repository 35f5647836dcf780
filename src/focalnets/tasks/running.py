"""The one loop that predicts and the one that evaluates, for every task.

Axes: B batch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from focalnets.data.labelled import LabelledData
from focalnets.data.read_ahead import read_ahead
from focalnets.engine.forms import InferenceForm, plain_form
from focalnets.errors import CheckpointError, ConfigError, DataError, ImageError
from focalnets.models.config import InputSpec
from focalnets.models.memory import check_memory
from focalnets.tasks.batch import Batch, apply, tensors_of
from focalnets.tasks.evaluation import Failure, Measured
from focalnets.tasks.picture_transform import Alter
from focalnets.tasks.task import Task

__all__ = ["evaluate", "predict", "require_positive", "spec_at"]

Item = TypeVar("Item")


def predict(
    task: Task,
    model: nn.Module,
    paths: Sequence[Path],
    read: Callable[[int], Any],
    *,
    batch_size: int | None = None,
    size_px: int | None = None,
    form: InferenceForm | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[Any]:
    """Say what a network answers to inputs, in their order; the next ones are read while the network works.

    Args:
        task: What the network is for.
        model: The network, on the device to use, with ``preprocessing``. It is in evaluation mode meanwhile.
        paths: What the inputs are called.
        read: Reads the input of a number, e.g. as PIL image in mode RGB; raises ImageError where that fails.
        batch_size: Inputs the network sees at once; None takes the task's usual number. The result does not depend on
            it beyond rounding.
        size_px: Input size; None takes the network's own.
        form: How the network is run, see :func:`focalnets.engine.forms.inference_form`; None takes it as it is.
        on_progress: Called with the number of inputs done.

    Yields:
        One entry for each input: the task's result, or a :class:`Failure`.

    Raises:
        ConfigError: If a number is out of range or the network is not for the task.
        CheckpointError: If the network answers with numbers that are not finite.
    """
    batch_size = task.usual_batch if batch_size is None else batch_size
    require_positive(batch_size=batch_size)
    task = task.for_model(model)
    labels = task.labels(model)
    spec = spec_at(model, size_px)
    check_memory(model, spec.size, min(batch_size, len(paths)))
    chosen = form or plain_form(model)
    transform = task.transform(spec, train=False)

    def prepare(index: int) -> tuple[Any, tuple[int, int]]:
        picture = read(index)
        return transform((picture, 0), index), getattr(picture, "size", (0, 0))

    def generate() -> Iterator[Any]:
        items = read_ahead(prepare, len(paths), 2 * batch_size, catch=ImageError)
        with inference(model) as device:
            for entries in in_batches(items, batch_size):
                good = [(index, *item) for index, item in entries if not isinstance(item, ImageError)]
                results: Iterator[Any] = iter(())
                if good:
                    output = _answer(task, chosen, task.collate([item for _, item, _ in good]), device)
                    places = [paths[index] for index, _, _ in good]
                    results = iter(
                        task.results(output, paths=places, sizes=[size for _, _, size in good], labels=labels)
                    )
                for index, item in entries:
                    if isinstance(item, ImageError):
                        yield Failure(path=paths[index], reason=str(item))
                    else:
                        yield next(results)
                if on_progress is not None:
                    on_progress(entries[-1][0] + 1)

    return generate()


def evaluate(
    task: Task,
    model: nn.Module,
    data: LabelledData,
    *,
    batch_size: int | None = None,
    size_px: int | None = None,
    skip_unreadable: bool = False,
    alter: Alter | None = None,
    form: InferenceForm | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Any:
    """Measure a network on labelled data, each item counted once, in their order, without any randomness.

    Args:
        task: What the network is for.
        model: The network, on the device to use, with ``preprocessing``. It is in evaluation mode meanwhile.
        data: What to measure on; see :class:`focalnets.tasks.task.LabelledData`.
        batch_size: Inputs the network sees at once; None takes the task's usual number.
        size_px: Input size; None takes the network's own.
        skip_unreadable: Leave damaged inputs out and say so in the result, instead of refusing.
        alter: Changes what the network sees, e.g. to measure how much noise it stands.
        form: How the network is run, see :func:`focalnets.engine.forms.inference_form`; None takes it as it is.
        on_progress: Called with the number of inputs done.

    Returns:
        The task's evaluation.

    Raises:
        CheckpointError: If the network answers with numbers that are not finite.
        DataError: If there is no input, an answer is none that the network can give, or an input cannot be read.
        ConfigError: If a number is out of range or the network is not for the task.
    """
    batch_size = task.usual_batch if batch_size is None else batch_size
    require_positive(batch_size=batch_size)
    task = task.for_model(model)
    started = time.monotonic()
    labels = task.labels(model)
    spec = spec_at(model, size_px)
    check_memory(model, spec.size, min(batch_size, len(data)))
    chosen = form or plain_form(model)
    transform = task.transform(spec, train=False, alter=alter)
    data = task.for_evaluation(data, spec)
    metrics = task.metrics(labels)
    loss, counted = torch.zeros(()), torch.zeros(())
    answers: list[Any] = []
    indices: list[int] = []
    left_out: list[Failure] = []
    items = read_ahead(lambda index: transform(data[index], index), len(data), 2 * batch_size, catch=ImageError)
    with inference(model) as device:
        for entries in in_batches(items, batch_size):
            good = [(index, item) for index, item in entries if not isinstance(item, ImageError)]
            for index, item in entries:
                if isinstance(item, ImageError):
                    if not skip_unreadable:
                        raise DataError(f"{str(item).rstrip('.')}; or leave out all unreadable images.")
                    left_out.append(Failure(path=path_of(data, index), reason=str(item)))
            if good:
                batch = task.collate([item for _, item in good])
                task.check_targets(batch, labels)
                output = _answer(task, chosen, batch, device)
                losses = task.losses(output, batch, train=False)
                loss += sum(losses.values()) * len(batch)
                counted += len(batch)
                task.measure(metrics, output, batch)
                answers += task.answers(output, batch)
                indices += [index for index, _ in good]
            if on_progress is not None:
                on_progress(entries[-1][0] + 1)
    if not indices:
        raise DataError("There is no readable image to evaluate on.")
    return task.evaluation(
        Measured(
            data=data,
            labels=labels,
            spec=spec,
            metrics=metrics,
            loss=float(loss / counted),
            answers=answers,
            indices=indices,
            left_out=tuple(left_out),
            model=getattr(model, "origin", ""),
            seconds=time.monotonic() - started,
        )
    )


def require_positive(**numbers: int) -> None:
    """Refuse numbers below 1, by their names."""
    for name, value in numbers.items():
        if value < 1:
            raise ConfigError(f"{name} must be a whole number from 1 up, got {value}.")


def spec_at(model: nn.Module, size_px: int | None) -> Any:
    """Return how inputs are prepared for a network, see ``Task.input_type``, at another size if one is given."""
    spec = model.preprocessing
    assert isinstance(spec, InputSpec), "the network does not say how its inputs are prepared"
    return spec if size_px is None else spec.with_size(size_px)


def path_of(data: LabelledData, index: int) -> Path:
    """Name an item of some data: its file, its own name, or ``image 7`` for data that is no files."""
    samples, names = getattr(data, "samples", None), getattr(data, "names", None)
    if samples is not None:
        return samples[index][0]
    return Path(f"image {index}" if names is None else names[index])


@contextlib.contextmanager
def inference(model: nn.Module) -> Iterator[torch.device]:
    """Put a network into evaluation mode, and back afterwards; yields its device.

    Inference mode is entered for each batch only: it belongs to the thread, and a generator must not leave it on for
    its caller.
    """
    training = model.training
    model.eval()
    try:
        yield next(model.parameters()).device
    finally:
        model.train(training)


def in_batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Gather items in lists of ``size``, the last one shorter."""
    with contextlib.closing(items):  # type: ignore[type-var]
        batch: list[Item] = []
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


def _in_dtype_of(model: nn.Module, batch: Batch) -> Batch:
    """Give the inputs the dtype of the network's weights, e.g. after ``model.half()``."""
    inputs = batch.inputs
    dtype = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), None)
    if dtype is None or not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        return batch
    return batch if inputs.dtype == dtype else dataclasses.replace(batch, inputs=inputs.to(dtype))


def _answer(task: Task, form: InferenceForm, batch: Batch, device: torch.device) -> Any:
    """Compute the output of the network, float32 on the CPU."""
    with torch.inference_mode(), form.context(device):
        output = task.forward(form.network, _in_dtype_of(form.network, batch.to(device)))
    output = apply(output, lambda tensor: tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu())
    if not all(bool(tensor.isfinite().all()) for tensor in tensors_of(output)):
        raise CheckpointError(
            "The network answers with numbers that are not finite; its weights are damaged, load others."
        )
    return output
