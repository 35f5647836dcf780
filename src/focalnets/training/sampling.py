"""Which images make up an epoch, in which batches, and what each of several processes takes of them.

Everything depends on the seed and the epoch alone: neither on the number of processes nor on where one begins.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

__all__ = ["SINGLE", "EpochBatches", "Rank", "ValidationPart", "mixed_seed", "occurrences"]

Item = TypeVar("Item")

SHARDS_AT_ONCE = 4
"""Of how many shards on a server the images are mixed; as many are kept on this disk at least twice over."""

BATCHES_TOGETHER = 50
"""Among how many batches inputs of similar length are gathered."""


@dataclasses.dataclass(frozen=True)
class Rank:
    """The place of one process among those that train together.

    Attributes:
        number: Its number, counted from 0.
        processes: How many there are.
    """

    number: int = 0
    processes: int = 1

    def part_of(self, batch: Sequence[Item]) -> Sequence[Item]:
        """Take this process's part of a batch of all processes; all parts are disjoint and together the batch."""
        return batch[self.number :: self.processes]


SINGLE = Rank()


class ValidationPart(Dataset):
    """Every so manieth item of ``dataset``; the parts of all processes have one length, filled up with items that do
    not count.

    Args:
        dataset: Items of any kind.
        rank: Whose part this is.
    """

    def __init__(self, dataset: Dataset, rank: Rank) -> None:
        self.dataset, self.rank = dataset, rank

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.rank.processes)  # type: ignore[arg-type]

    def __getitem__(self, position: int) -> tuple[Any, bool]:
        """Return the item and whether it counts."""
        index = position * self.rank.processes + self.rank.number
        if index < len(self.dataset):  # type: ignore[arg-type]
            return self.dataset[index], True
        return self.dataset[0], False


class EpochBatches(Sampler[list[tuple[int, int, int]]]):
    """Batches of (epoch, index, copy), shuffled by seed and epoch, from any batch of the epoch on.

    ``copy`` counts how often the image came before in the epoch: copies are changed differently. An incomplete last
    batch is left out, unless it is the only one.

    Args:
        images: Number of images.
        batch_size: Images a batch, of all processes together.
        seed: Chooses the orders.
        limit: At most so many batches an epoch; None for all.
        rank: Which part of each batch to yield.
        repeats: How often an image comes, all copies in one batch where they fit and shuffled there; the epoch is as
            many times longer.
        least: At least so many batches an epoch: it passes over the images as many whole times as they take.
        labels: Class of each image, needed for ``class_balance``.
        class_balance: 0 shows each image once; 1 shows all classes equally often, those of rare classes several times
            and of frequent ones another part each epoch; between them, class sizes count to the power of
            1 - class_balance. The length of the epoch stays.
        shards: Number of the shard that each image lies in, if these have to be fetched: their order is shuffled, and
            the images of a few at a time.
        lengths: How long each input is, where these differ: those of similar length, among some batches at random,
            share a batch, so that little is padded.
        beside: How many items that no epoch counts go with a batch, of all processes together, after its images; their
            indices go on from the number of images without end, from a place that the seed chooses.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        seed: int,
        limit: int | None = None,
        rank: Rank = SINGLE,
        *,
        repeats: int = 1,
        least: int = 1,
        labels: Sequence[int] | None = None,
        class_balance: float = 0.0,
        shards: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
        beside: int = 0,
    ) -> None:
        assert not class_balance or labels is not None, "balancing classes needs the labels"
        self.images, self.batch_size, self.seed, self.rank, self.repeats = images, batch_size, seed, rank, repeats
        self.labels = torch.tensor(labels) if class_balance else None
        self.class_balance = class_balance
        self.beside = beside
        self.shards = None if shards is None else torch.tensor(shards)
        self.lengths = None if lengths is None else torch.tensor(lengths)
        self.passes = -(-least * batch_size // (images * repeats)) if least > 1 else 1
        together = images * repeats * self.passes
        self.count = min(max(1, together // batch_size), limit or together)
        self.epoch = 0
        self.first_batch = 0
        self._first_beside = mixed_seed(seed, -2) % 2**31

    def __len__(self) -> int:
        return self.count

    @property
    def sampler(self) -> EpochBatches:
        """Itself: Lightning tells the epoch to ``batch_sampler.sampler`` and to nothing else of a loader."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows, from its beginning unless it is the one chosen."""
        if epoch != self.epoch:
            self.epoch, self.first_batch = epoch, 0

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        first, self.first_batch = self.first_batch, 0
        epoch = self.epoch
        order = self._order(epoch)
        copies = occurrences(order)
        for batch in range(first, self.count):
            part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            chosen = list(zip(order[part].tolist(), copies[part].tolist(), strict=True))
            if self.repeats > 1:
                # Neighbours are blended; copies side by side would be blended with themselves.
                generator = torch.Generator().manual_seed(mixed_seed(self.seed, epoch, batch))
                chosen = [chosen[place] for place in torch.randperm(len(chosen), generator=generator).tolist()]
            part_of_batch = self.rank.part_of([(epoch, index, copy) for index, copy in chosen])
            first_beside = self.images + self._first_beside + (epoch * self.count + batch) * self.beside
            further = [(epoch, first_beside + number, 0) for number in range(self.beside)]
            yield [*part_of_batch, *self.rank.part_of(further)]

    def _order(self, epoch: int) -> Tensor:
        """Order the indices of the images of an epoch, (images * repeats * passes,) int64."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, epoch, -1))
        order = torch.cat([self._order_of_pass(generator) for _ in range(self.passes)])
        if self.lengths is not None:
            order = _with_similar_lengths(order, self.lengths, self.batch_size, generator)
        return order.repeat_interleave(self.repeats)

    def _order_of_pass(self, generator: torch.Generator) -> Tensor:
        order = torch.randperm(self.images, generator=generator)
        if self.labels is not None:
            order = _balance_classes(order, self.labels, self.class_balance)
            order = order[torch.randperm(self.images, generator=generator)]
        if self.shards is not None:
            turn = torch.randperm(int(self.shards.max()) + 1, generator=generator) // SHARDS_AT_ONCE
            order = order[turn[self.shards[order]].argsort(stable=True)]
        return order


def occurrences(order: Tensor) -> Tensor:
    """Count how often each entry of ``order`` (N,) came before it, (N,) int64."""
    positions = order.argsort(stable=True)
    ordered = order[positions]
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    places = torch.arange(len(order))
    counts = torch.empty_like(places)
    counts[positions] = places - torch.where(begins, places, 0).cummax(0).values
    return counts


def mixed_seed(*numbers: int) -> int:
    """Make a seed from several numbers; other numbers give an unrelated one."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _with_similar_lengths(order: Tensor, lengths: Tensor, batch_size: int, generator: torch.Generator) -> Tensor:
    """Sort an order within groups of batches by length, and shuffle the batches; an incomplete last one stays last."""
    whole = len(order) // batch_size * batch_size
    if not whole:
        return order
    groups = [
        group[lengths[group].argsort(stable=True)] for group in order[:whole].split(BATCHES_TOGETHER * batch_size)
    ]
    batches = torch.cat(groups).view(-1, batch_size)
    batches = batches[torch.randperm(len(batches), generator=generator)]
    return torch.cat([batches.flatten(), order[whole:]])


def _balance_classes(order: Tensor, labels: Tensor, class_balance: float) -> Tensor:
    """Choose as many images as ``order`` holds, classes in the proportions asked for, each class in its order.

    No image comes twice more than another of its class.
    """
    sizes = labels.bincount()
    wanted = torch.where(sizes > 0, sizes.double().clamp(min=1.0) ** (1.0 - class_balance), 0.0)
    wanted *= len(order) / wanted.sum()
    counts = wanted.floor().long()
    missing = len(order) - int(counts.sum())
    counts[(wanted - counts).argsort(descending=True, stable=True)[:missing]] += 1
    chosen = []
    for label, count in enumerate(counts.tolist()):
        of_class = order[labels[order] == label]
        if count:
            chosen.append(of_class.repeat(-(-count // len(of_class)))[:count])
    return torch.cat(chosen)
