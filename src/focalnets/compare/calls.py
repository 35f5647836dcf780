"""What is timed and whose memory is taken: answering for a batch, and a training step on one.

Axes: B batch, H W height and width [px], K classes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.compare.backbones import build_compared
from focalnets.compare.models import ComparedModel, build_module
from focalnets.models.config import Preprocessing, WholeImage
from focalnets.tasks.batch import Batch
from focalnets.tasks.table import build_task
from focalnets.tasks.task import Task as TrainedTask

__all__ = ["TASKS", "Task", "build_whole", "prepare_call", "sample_batch"]

Task = Literal["inference", "training"]
TASKS: tuple[Task, ...] = ("inference", "training")

_SCENES = 12
"""Generated scenes for which a head's anchors are chosen."""


def build_whole(model: ComparedModel, trained_for: str, size_px: int, *, drop_path: float | None = None) -> nn.Module:
    """Build the network with random weights and the head of a task, in training mode on the CPU.

    Args:
        model: Which.
        trained_for: Task whose head it gets, see :data:`focalnets.tasks.table.TASKS`. Classifiers keep the number of
            their classes, the others get those of generated scenes.
        size_px: Height and width of the images [px].
        drop_path: Stochastic depth; None keeps the network's own.
    """
    task, labels = _shared(trained_for, size_px)
    if labels is None:
        return build_module(model, size_px=size_px, drop_path=drop_path)
    return build_compared(model, task, labels, size_px=size_px, drop_path=drop_path)


def sample_batch(trained_for: str, batch: int, size_px: int, device: torch.device) -> Batch:
    """Make inputs and what they are to be answered with, the same at every call."""
    task, labels = _shared(trained_for, size_px)
    generator_state = torch.get_rng_state()
    try:
        torch.manual_seed(1)
        return task.sample_batch(_spec(task, size_px), batch, labels or ("",)).to(device)
    finally:
        torch.set_rng_state(generator_state)


def prepare_call(
    model: ComparedModel, task: Task, size_px: int, device: torch.device, trained_for: str = "classify"
) -> tuple[nn.Module, Callable[[Batch], Any]]:
    """Build the network, and the call that does the task on a batch of :func:`sample_batch`.

    A training step drops the gradients and does forward pass, loss, backward pass and AdamW, whose rate of 0 leaves the
    weights as they are. Stochastic depth is off, so that everybody computes all blocks.
    """
    torch.manual_seed(0)
    network = build_whole(model, trained_for, size_px, drop_path=0.0).to(device)
    whole = _shared(trained_for, size_px)[0]

    def answer(batch: Batch) -> Any:
        return whole.forward(network, batch) if whole.on_pyramid else network(batch.inputs)

    def loss_of(output: Any, batch: Batch) -> Tensor:
        if not whole.on_pyramid:
            return F.cross_entropy(output, batch.targets)
        losses = whole.losses(output, batch, train=True)
        return torch.stack(list(losses.values())).sum()

    if task == "inference":
        network.eval()

        @torch.inference_mode()
        def look(batch: Batch) -> Any:
            answer(batch)
            _wait_for(device)

        return network, look
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=0.05, fused=device.type in ("cpu", "cuda"))

    def step(batch: Batch) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss_of(answer(batch), batch).backward()
        optimizer.step()
        _wait_for(device)

    return network, step


@functools.cache
def _shared(trained_for: str, size_px: int) -> tuple[TrainedTask, tuple[str, ...] | None]:
    """The task with what all networks share, and what its answers are called; None keeps a network's own classes."""
    task = build_task(trained_for)
    if not task.on_pyramid:
        return task, None
    data = task.open(f"scenes:{_SCENES}", val_fraction=0.5, seed=0)
    fields = task.for_comparison(data, image_size=size_px)
    del fields["image_size"]
    return dataclasses.replace(task, settings=dataclasses.replace(task.settings, **fields)), data.labels


def _spec(task: TrainedTask, size_px: int) -> Preprocessing:
    if not task.on_pyramid:
        return Preprocessing(input_size_px=size_px)
    return WholeImage(input_size_px=size_px, interpolation="bilinear", side="both")


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
