"""How fast images are read and how fast the network learns them, each alone: which of the two holds a training up."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterable
from statistics import median

import torch

from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError
from focalnets.machine.devices import choose_device
from focalnets.tasks.batch import Batch
from focalnets.training.config import TrainingConfig
from focalnets.training.data import training_loader
from focalnets.training.launch import fastest_precision
from focalnets.training.module import TaskModule, total
from focalnets.training.optimization import build_optimizer
from focalnets.training.trainer import build_network

__all__ = ["Throughput", "measure_throughput"]

ENOUGH = 2.0
"""A loader this many times as fast as the step never lets it wait, also while both share the processor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Throughput:
    """What was measured, after warming up.

    Attributes:
        loader_images_s: Images a second that the loader delivers while nothing else runs.
        step_images_s: Images a second that training steps take on batches that are already there.
        workers: Processes that read.
        batches: Batches that each was measured on.
        batch_size, image_size: Images a batch, and their size [px].
        device: Where the steps ran.
    """

    loader_images_s: float
    step_images_s: float
    workers: int
    batches: int
    batch_size: int
    image_size: int
    device: str

    @property
    def ratio(self) -> float:
        """How many times as fast the loader is as the step."""
        return self.loader_images_s / self.step_images_s

    def verdict(self) -> str:
        """Say what the bottleneck is and what to change, in a sentence."""
        if self.ratio >= ENOUGH:
            return (
                "The training step is the bottleneck and the loader keeps up; a smaller network, --image_size or "
                "--precision bfloat16 would make training faster, more workers would not."
            )
        advice = (
            f"try --workers {max(1, 2 * self.workers)} if there are idle cores, make images that are much larger than "
            f"{self.image_size} px smaller once, or pack them with focalnets shard if the disk is slow"
        )
        if self.ratio >= 1.0:
            return f"The loader is hardly faster than the training step and may hold it up now and then; {advice}."
        return f"The loader is the bottleneck; {advice}."


def measure_throughput(data: TrainingData, config: TrainingConfig, *, batches: int = 20, warmup: int = 4) -> Throughput:
    """Time the loader alone, then the training step alone, with the settings of a training.

    Where these let sizes grow over the epochs, the size measured is the one that training ends with, ``image_size``.

    Args:
        data: The images.
        config: The settings.
        batches: Batches to time.
        warmup: Batches before that, in which workers start and caches fill.

    Raises:
        ConfigError: If a number is out of range.
        ImageError: If an image turns out to be damaged.
    """
    for name, value in (("batches", batches), ("warmup", warmup)):
        if value < 1:
            raise ConfigError(f"{name} must be a whole number from 1 up, got {value}.")
    config = config.replace(limit_train_batches=None, image_size_schedule=None)
    task = config.build_task().with_data(data)
    network = build_network(task, config, data.labels)
    loader = training_loader(task, data, config, network.spec)
    # What waits ready in the workers' queues does not count as read in the time measured.
    ready = loader.num_workers * (loader.prefetch_factor or 0)
    seconds = []
    stream = _repeat_forever(loader)
    batch = next(stream)
    for number in range(warmup + ready + batches):
        started = time.perf_counter()
        batch = next(stream)
        if number >= warmup + ready:
            seconds.append(time.perf_counter() - started)
    loader_images_s = len(batch) * len(seconds) / sum(seconds)
    stream.close()
    device = choose_device(config.device)
    module = TaskModule(task, network, config, data.labels, steps=warmup + batches, warmup_steps=0).to(device)
    step = _training_step(module, batch, device)
    step_seconds = [_time_step(step) for _ in range(warmup + batches)][warmup:]
    return Throughput(
        loader_images_s=loader_images_s,
        step_images_s=len(batch) / median(step_seconds),
        workers=loader.num_workers,
        batches=batches,
        batch_size=len(batch),
        image_size=batch.inputs.shape[-1],
        device=str(device),
    )


def _repeat_forever(loader: Iterable[Batch]) -> Generator[Batch, None, None]:
    while True:
        yield from loader


def _training_step(module: TaskModule, batch: Batch, device: torch.device) -> Callable[[], None]:
    """Make one step on a batch with all that training does except reading: copying, passes, clipping, update."""
    config = module.config
    optimizer = build_optimizer(module.model, config, is_head=module.task.is_head)
    name = fastest_precision(config) if config.precision == "auto" else config.precision
    precision = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)

    def step() -> None:
        here = batch.to(device)
        if module.blend is not None:
            here = module.blend(here, 0)
        with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
            loss = total(module.task.losses(module(here), here, train=True))
        loss.backward()
        module.configure_gradient_clipping(optimizer)
        optimizer.step()
        optimizer.zero_grad()
        if device.type != "cpu":
            loss.item()  # Waits for the device.

    return step


def _time_step(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started
