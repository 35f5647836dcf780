"""What a network is trained on, and how it reaches the network in an order and form that can be repeated.

The random changes of an image depend on the seed, the epoch and the image's index alone: neither the number of worker
processes nor a stop in the middle of an epoch changes what the network sees.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import re
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Subset

from focalnets.data.samples import ImageFile, ImageFolder, Sample, read_stored_image, stored_bytes, stored_image_size
from focalnets.data.shards.members import ShardMember
from focalnets.data.sources import open_images
from focalnets.data.splits import ImageFolders
from focalnets.errors import ConfigError, DataError, ImageError
from focalnets.models.config import Preprocessing
from focalnets.training.augmentation import TransformSchedule, evaluation_transforms, training_transforms
from focalnets.training.config import TrainingConfig
from focalnets.training.sampling import EpochBatches, mixed_seed
from focalnets.training.shares import ALONE, Share, ValidationShare

__all__ = ["EpochBatches", "TrainingData", "TrainingLoader", "training_loader", "validation_loader"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Images to train and to validate on.

    Attributes:
        classes: Names of the classes; labels index into them.
        train, val: Data sets of known length whose items are (picture as PIL image in mode RGB, label).
        description: Where the images come from, in words.
        folders: Which file is on which side, for images on disk.
        left_out: Files that cannot be read, with the reason.
        fingerprint: Changes when images are added, removed or replaced by others of another size in bytes.
    """

    classes: tuple[str, ...]
    train: Dataset
    val: Dataset
    description: str
    folders: ImageFolders | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    fingerprint: str | None = None

    @classmethod
    def from_folder(cls, root: str | Path, config: TrainingConfig) -> TrainingData:
        """Find the images of a folder, CSV file or shards, see :func:`focalnets.data.sources.open_images`; check them.

        Raises:
            DataError: If the data is not laid out as expected or holds images that cannot be read.
        """
        return cls.from_folders(open_images(root, val_fraction=config.val_fraction, seed=config.seed), config)

    @classmethod
    def from_folders(cls, folders: ImageFolders, config: TrainingConfig) -> TrainingData:
        """Check the images of a known split: their headers, or with ``skip_unreadable`` every pixel.

        Shards on a server are not fetched for that.

        Raises:
            DataError: If images cannot be read, or none is left.
            ConfigError: If images on a server are to be left out when unreadable.
        """
        if _shards_to_fetch(folders.train):
            if config.skip_unreadable:
                raise ConfigError(
                    "skip_unreadable would fetch all shards before training; clean the data before making shards of it."
                )
            return cls._checked(folders, {})
        failures = _unreadable([file for file, _ in (*folders.train, *folders.val)], config.skip_unreadable)
        if failures and not config.skip_unreadable:
            shown = "; ".join(reason.rstrip(".") for reason in list(failures.values())[:3])
            raise DataError(
                f"{len(failures)} of {len(folders.train) + len(folders.val)} images in '{folders.root}' cannot be "
                f"read: {shown}{'; ...' if len(failures) > 3 else ''}. Repair or remove them, or leave them out with "
                "--skip_unreadable."
            )
        if failures:
            folders = dataclasses.replace(
                folders,
                train=tuple(sample for sample in folders.train if sample[0] not in failures),
                val=tuple(sample for sample in folders.val if sample[0] not in failures),
            )
            for side, samples in (("train", folders.train), ("hold out", folders.val)):
                if not samples:
                    raise DataError(f"no image to {side} is left in '{folders.root}': none of them can be read.")
        return cls._checked(folders, failures)

    @classmethod
    def _checked(cls, folders: ImageFolders, failures: dict[ImageFile, str]) -> TrainingData:
        return cls(
            classes=folders.classes,
            train=ImageFolder(folders.train, folders.classes),
            val=ImageFolder(folders.val, folders.classes),
            description=f"{folders.root} ({folders.split})",
            folders=folders,
            left_out=tuple((str(file), reason) for file, reason in failures.items()),
            fingerprint=_fingerprint(folders),
        )


def training_loader(
    data: TrainingData, config: TrainingConfig, preprocessing: Preprocessing, share: Share = ALONE
) -> TrainingLoader:
    """Batches of randomly changed images (B, 3, S, S) float32 and labels (B,), in another order every epoch."""
    transforms = training_transforms(config, preprocessing)
    dataset = data.train
    if isinstance(dataset, ImageFolder) and config.augmentation != "none":
        # Enough pixels for the smallest crop to be made smaller, not larger; a JPEG beyond that is decoded coarsely.
        smallest_side = math.ceil(transforms.largest_size_px / math.sqrt(config.min_crop_scale))
        dataset = ImageFolder(dataset.samples, dataset.classes, smallest_side_px=smallest_side)
    images, together = len(dataset), config.batch_size * share.processes  # type: ignore[arg-type]
    if share.processes > 1 and images * config.repeats < together:
        raise DataError(
            f"{share.processes} processes with batch_size {config.batch_size} take {together} images at once, but "
            f"there are only {images} to train; lower --batch_size or --devices."
        )
    samples = dataset.samples if isinstance(dataset, ImageFolder) else ()
    if config.class_balance and not samples:
        raise ConfigError("class_balance needs images with known classes: a folder, a CSV file or shards.")
    batches = EpochBatches(
        images,
        together,
        config.seed,
        config.limit_train_batches,
        share,
        repeats=config.repeats,
        labels=[label for _, label in samples],
        class_balance=config.class_balance,
        shards=_shards_to_fetch(samples),
    )
    workers = _workers(config, len(batches))
    return TrainingLoader(
        _Prepared(dataset, transforms, config.seed),
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available() and config.device != "cpu",
        worker_init_fn=_begin_worker,
        # Its own generator: making an iterator must not draw from the one that the network uses.
        generator=torch.Generator().manual_seed(config.seed),
    )


def validation_loader(
    data: TrainingData, config: TrainingConfig, preprocessing: Preprocessing, share: Share = ALONE
) -> DataLoader:
    """Batches as in evaluation, every image once, in the order of the data; with a limit, images from all over it."""
    dataset, images = data.val, len(data.val)  # type: ignore[arg-type]
    wanted = (config.limit_val_batches or images) * config.batch_size * share.processes
    if wanted < images:
        dataset, images = Subset(dataset, [index * images // wanted for index in range(wanted)]), wanted
    workers = _workers(config, math.ceil(images / config.batch_size))
    prepared: Dataset = _Prepared(dataset, evaluation_transforms(preprocessing), None)
    return DataLoader(
        prepared if share.processes == 1 else ValidationShare(prepared, share),
        batch_size=config.batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available() and config.device != "cpu",
        worker_init_fn=_begin_worker,
        generator=torch.Generator().manual_seed(config.seed),
    )


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
        """Epoch and number of the batch that comes next."""
        if self._delivered >= len(self.batch_sampler):
            return {"epoch": self.batch_sampler.epoch + 1, "batch": 0}
        return {"epoch": self.batch_sampler.epoch, "batch": self._delivered}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration begin where the saved one stood."""
        self.batch_sampler.epoch, self.batch_sampler.first_batch = state["epoch"], state["batch"]
        self._delivered = state["batch"]


class _Prepared(Dataset):
    """Pictures of a data set as inputs of the network; with a seed, items are asked for as (epoch, index, copy)."""

    def __init__(self, dataset: Dataset, transforms: TransformSchedule, seed: int | None) -> None:
        self.dataset, self.transforms, self.seed = dataset, transforms, seed

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: Any) -> tuple[torch.Tensor, int]:
        if self.seed is None:
            picture, label = self.dataset[key]
            return self.transforms.at(0)(picture), label
        epoch, index, copy = key
        picture, label = self.dataset[index]
        # torch.manual_seed would seed every device too: slow, and it queues a call for each image where CUDA is unused.
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(mixed_seed(self.seed, epoch, index, *([copy] if copy else [])))
        try:
            return self.transforms.at(epoch)(picture), label
        finally:
            torch.set_rng_state(before)


def damaged_image_message(error: ImageError) -> str:
    """The sentence of an error that a worker process may have wrapped in its traceback."""
    found = re.findall(r"^(?:focalnets\.errors\.)?ImageError: (.+)$", str(error), re.MULTILINE)
    return found[-1] if found else str(error)


_LAST_SECONDS = 60
"""How long a worker that was told to end waits for the main process to do it [s]."""


def _begin_worker(_worker: int) -> None:
    # Ctrl-C reaches every process of the terminal, and a scheduler's SIGTERM every process of the job; the main one
    # finishes its step, saves and then ends the workers. One that it forgets, or that is told alone, ends by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGTERM, lambda *_: signal.setitimer(signal.ITIMER_REAL, _LAST_SECONDS))


def _workers(config: TrainingConfig, batches: int) -> int:
    if config.workers is not None:
        return config.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_gpu = config.device != "cpu" and (torch.cuda.is_available() or torch.backends.mps.is_available())
    if batches < 4:
        return 0  # Starting a process takes longer than reading so little.
    return max(1, min(12, cores - 1)) if on_gpu else max(1, cores // 4)


def _shards_to_fetch(samples: Sequence[Sample]) -> list[int] | None:
    """Number of the shard of each image, where these lie on a server; None where images are on this disk."""
    if not samples or not isinstance(samples[0][0], ShardMember) or not samples[0][0].shard.is_remote:
        return None
    numbers: dict[str, int] = {}
    return [numbers.setdefault(file.shard.location, len(numbers)) for file, _ in samples]  # type: ignore[union-attr]


def _unreadable(files: Sequence[ImageFile], decode: bool) -> dict[ImageFile, str]:
    def reason(file: ImageFile) -> str | None:
        try:
            read_stored_image(file, smallest_side_px=64) if decode else stored_image_size(file)
        except ImageError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        return {file: why for file, why in zip(files, pool.map(reason, files), strict=True) if why is not None}


def _fingerprint(folders: ImageFolders) -> str:
    digest = hashlib.sha256()
    sides: tuple[tuple[str, tuple[Sample, ...]], ...] = (("train", folders.train), ("val", folders.val))
    for side, samples in sides:
        for file, label in samples:
            line = f"{side}\t{label}\t{folders.name_of(file)}\t{stored_bytes(file)}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
