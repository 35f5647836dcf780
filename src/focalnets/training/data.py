"""How what a network is trained on reaches it, in an order and form that can be repeated.

The random changes of an image depend on the seed, the epoch and the image's index alone: neither the number of worker
processes nor a stop in the middle of an epoch changes what the network sees.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Subset

from focalnets.data.dense.mixing import MixedData
from focalnets.data.labelled import TrainingData
from focalnets.data.outliers import WithOutliers
from focalnets.errors import ConfigError, DataError, ImageError
from focalnets.models.config import InputSpec
from focalnets.tasks.batch import Batch
from focalnets.tasks.task import Task
from focalnets.training.config import TrainingConfig
from focalnets.training.sampling import SINGLE, EpochBatches, Rank, ValidationPart, mixed_seed

__all__ = ["TrainingLoader", "TransformSchedule", "training_loader", "training_transforms", "validation_loader"]


class TransformSchedule:
    """One transform for each part of a training.

    Args:
        by_first_epoch: What makes of an item and its number an input of the network, by the epoch, counted from 0, that
            it begins with.
    """

    def __init__(self, by_first_epoch: Mapping[int, Callable[[Any, int], Any]]) -> None:
        self.by_first_epoch = dict(sorted(by_first_epoch.items()))

    def at(self, epoch: int) -> Callable[[Any, int], Any]:
        """Return the transform of an epoch, counted from 0."""
        return self.by_first_epoch[max(first for first in self.by_first_epoch if first <= epoch)]


def training_transforms(task: Task, config: TrainingConfig, spec: InputSpec) -> TransformSchedule:
    """Make the task's random changes, at the sizes of the config's ``image_size_schedule``."""
    sizes = config.training_sizes(spec.size)
    return TransformSchedule(
        {epoch: task.transform(spec.with_size(size), train=True) for epoch, size in sizes.items()}  # type: ignore[arg-type]
    )


def training_loader(
    task: Task, data: TrainingData, config: TrainingConfig, spec: InputSpec, rank: Rank = SINGLE
) -> TrainingLoader:
    """Load randomly changed items, in another order every epoch; see :class:`focalnets.tasks.task.Batch`."""
    largest = max(config.training_sizes(spec.size).values())
    dataset = task.for_training(data.train, largest_size_px=largest)
    images, together = len(dataset), config.batch_size * rank.processes
    if rank.processes > 1 and images * config.repeats < together:
        raise DataError(
            f"{rank.processes} processes with batch_size {config.batch_size} take {together} images at once, but "
            f"there are only {images} to train; lower --batch_size or --devices."
        )
    labels = getattr(dataset, "class_of", None)
    if config.class_balance and not labels:
        raise ConfigError("class_balance needs images with known classes: a folder, a CSV file or shards.")
    batches = EpochBatches(
        images,
        together,
        config.seed,
        config.limit_train_batches,
        rank,
        repeats=config.repeats,
        least=config.least_train_batches,
        labels=labels,
        class_balance=config.class_balance,
        shards=getattr(dataset, "shard_of", None),
        lengths=getattr(dataset, "length_of", None),
        beside=dataset.beside(together) if isinstance(dataset, WithOutliers) else 0,
    )
    workers = _count_workers(config, len(batches))
    return TrainingLoader(
        _Prepared(dataset, training_transforms(task, config, spec), config.seed),
        batch_sampler=batches,
        collate_fn=task.collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available() and config.device != "cpu",
        worker_init_fn=_begin_worker,
        # Its own generator: making an iterator must not draw from the one that the network uses.
        generator=torch.Generator().manual_seed(config.seed),
    )


def validation_loader(
    task: Task, data: TrainingData, config: TrainingConfig, spec: InputSpec, rank: Rank = SINGLE
) -> DataLoader:
    """Load every item once as in evaluation, in the order of the data; with a limit, items from all over it."""
    dataset: Any = task.for_evaluation(data.val, spec)
    images = len(dataset)
    wanted = (config.limit_val_batches or images) * config.batch_size * rank.processes
    if wanted < images:
        dataset, images = Subset(dataset, [index * images // wanted for index in range(wanted)]), wanted
    workers = _count_workers(config, math.ceil(images / config.batch_size))
    prepared: Dataset = _Prepared(dataset, TransformSchedule({0: task.transform(spec, train=False)}), None)
    alone = rank.processes == 1
    return DataLoader(
        prepared if alone else ValidationPart(prepared, rank),
        batch_size=config.batch_size,
        collate_fn=task.collate if alone else functools.partial(_collate_counted, task),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available() and config.device != "cpu",
        worker_init_fn=_begin_worker,
        generator=torch.Generator().manual_seed(config.seed),
    )


def _collate_counted(task: Task, items: Sequence[tuple[Any, bool]]) -> Batch:
    batch = task.collate([item for item, _ in items])
    return dataclasses.replace(batch, counted=torch.tensor([counts for _, counts in items]))


class TrainingLoader(DataLoader):
    """A loader whose position can be saved and restored, through the protocol that Lightning looks for."""

    batch_sampler: EpochBatches
    _delivered = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._delivered = self.batch_sampler.first_batch
        for batch in super().__iter__():
            self._delivered += 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows."""
        self.batch_sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return epoch and number of the batch that comes next."""
        if self._delivered >= len(self.batch_sampler):
            return {"epoch": self.batch_sampler.epoch + 1, "batch": 0}
        return {"epoch": self.batch_sampler.epoch, "batch": self._delivered}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration begin where the saved one stood."""
        self.batch_sampler.epoch, self.batch_sampler.first_batch = state["epoch"], state["batch"]
        self._delivered = state["batch"]


class _Prepared(Dataset):
    """Items of a data set as inputs of the network; with a seed, they are asked for as (epoch, index, copy)."""

    def __init__(self, dataset: Any, transforms: TransformSchedule, seed: int | None) -> None:
        self.dataset, self.transforms, self.seed = dataset, transforms, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Any) -> Any:
        if self.seed is None:
            return self.transforms.at(0)(self.dataset[key], key)
        epoch, index, copy = key
        # torch.manual_seed would seed every device too: slow, and it queues a call for each image where CUDA is unused.
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(mixed_seed(self.seed, epoch, index, *([copy] if copy else [])))
        try:
            mixed = isinstance(self.dataset, MixedData)
            item = self.dataset.at(index, epoch) if mixed else self.dataset[index]
            return self.transforms.at(epoch)(item, index)
        finally:
            torch.set_rng_state(before)


def damaged_image_message(error: ImageError) -> str:
    """Find the sentence of an error that a worker process may have wrapped in its traceback."""
    whole = str(error.args[0]) if error.args else str(error)  # As text an error is one line.
    found = re.findall(r"^(?:focalnets\.errors\.)?ImageError: (.+)$", whole, re.MULTILINE)
    return found[-1] if found else str(error)


_LAST_SECONDS = 60
"""How long a worker that was told to end waits for the main process to do it [s]."""


def _begin_worker(_worker: int) -> None:
    # Ctrl-C reaches every process of the terminal, and a scheduler's SIGTERM every process of the job; the main one
    # finishes its step, saves and then ends the workers. One that it forgets, or that is told alone, ends by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGTERM, lambda *_: signal.setitimer(signal.ITIMER_REAL, _LAST_SECONDS))


def _count_workers(config: TrainingConfig, batches: int) -> int:
    if config.workers is not None:
        return config.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_gpu = config.device != "cpu" and (torch.cuda.is_available() or torch.backends.mps.is_available())
    if batches < 4:
        return 0  # Starting a process takes longer than reading so little.
    return max(1, min(12, cores - 1)) if on_gpu else max(1, cores // 4)
