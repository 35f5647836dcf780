"""Data with answers, as every task trains and measures on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

__all__ = ["LabelledData", "TrainingData"]


@runtime_checkable
class LabelledData(Protocol):
    """Data with answers, read when asked for.

    Items are ``(input as it is stored, answer)``, e.g. (picture as PIL image in mode RGB, index of its class).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a network is trained and validated on.

    Attributes:
        labels: What its answers are called, e.g. the names of the classes; answers index into them where there are any.
        train, val: See :class:`LabelledData`.
        description: Where they come from, in words.
        left_out: Files that cannot be read, with the reason.
        notes: What of the data is not used, a line each.
        fingerprint: Changes when data is added, removed or replaced by other of another size; None if unknown.
        write_split: Writes to a file what belongs to which split, for a task to find it again; None where the data
            cannot be found again from files.
    """

    labels: tuple[str, ...]
    train: LabelledData
    val: LabelledData
    description: str
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    fingerprint: str | None = None
    write_split: Callable[[Path], Any] | None = None
