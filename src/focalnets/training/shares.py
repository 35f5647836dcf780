"""What each of several processes takes of the images, so that together they do what one would."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from torch.utils.data import Dataset

__all__ = ["ALONE", "NOT_COUNTED", "Share", "ValidationShare"]

Item = TypeVar("Item")

NOT_COUNTED = -1
"""Label of images that only fill up a process's share of the validation, so that all have as many batches."""


@dataclasses.dataclass(frozen=True)
class Share:
    """The place of one process among those that train together.

    Attributes:
        rank: Its number, counted from 0.
        processes: How many there are.
    """

    rank: int = 0
    processes: int = 1

    def of(self, batch: Sequence[Item]) -> Sequence[Item]:
        """This process's part of a batch of all processes; all parts are disjoint and together the batch."""
        return batch[self.rank :: self.processes]


ALONE = Share()


class ValidationShare(Dataset):
    """Every so manieth item of ``dataset``; all shares have one length, filled up with images that are not counted.

    Args:
        dataset: Items (image, label).
        share: Whose part this is.
    """

    def __init__(self, dataset: Dataset, share: Share) -> None:
        self.dataset, self.share = dataset, share

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.share.processes)  # type: ignore[arg-type]

    def __getitem__(self, position: int) -> tuple[Any, int]:
        index = position * self.share.processes + self.share.rank
        if index < len(self.dataset):  # type: ignore[arg-type]
            return self.dataset[index]
        return self.dataset[0][0], NOT_COUNTED
