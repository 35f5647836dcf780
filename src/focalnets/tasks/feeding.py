"""How data reaches the networks of a task: found, prepared and put into batches.

Axes: B batch.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from focalnets.data.labelled import LabelledData, TrainingData
from focalnets.errors import ConfigError
from focalnets.tasks.batch import Batch
from focalnets.tasks.picture_transform import Alter, PictureTransform

__all__ = ["Feeding"]


class Feeding(abc.ABC):
    """The part of a task that is about data; see :class:`focalnets.tasks.task.Task`.

    What describes an input (``spec``) is of the task's ``input_type``.

    Attributes:
        name: Of the task.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def labels(self, model: nn.Module) -> tuple[str, ...]:
        """Return what the network's answers are called."""

    @abc.abstractmethod
    def open(self, place: str | Path, *, val_fraction: float, seed: int, skip_unreadable: bool = False) -> TrainingData:
        """Find what trains a network and what validates it.

        Args:
            place: Folder, file or address of the data.
            val_fraction: Fraction that is held out where the data says nothing about it.
            seed: Chooses what is held out.
            skip_unreadable: Leave damaged inputs out instead of refusing.
        """

    def reopen(self, split: Path, *, root: str | Path | None = None, skip_unreadable: bool = False) -> TrainingData:
        """Find the data of a run again from the file that ``TrainingData.write_split`` wrote.

        Args:
            split: That file.
            root: Where the data is, if it has moved.
            skip_unreadable: As in :meth:`open`.
        """
        raise ConfigError(f"Runs of the task {self.name} cannot find their data again; continue them in Python.")

    @abc.abstractmethod
    def open_evaluation(
        self, place: str | Path, *, labels: Sequence[str] | None = None, split: Path | None = None
    ) -> tuple[tuple[str, ...], LabelledData]:
        """Find what a network is measured on.

        Args:
            place: Folder, file or address of the data.
            labels: What the network's answers are called; None takes the data's.
            split: File of a run whose held-out part is meant.

        Returns:
            What answers are called, and the data, whose answers are of that kind.
        """

    def open_evaluation_of(self, model: nn.Module, place: str | Path, *, split: Path | None = None) -> LabelledData:
        """Find what a network is measured on, see :meth:`open_evaluation`; DataError if it does not fit the network."""
        return self.open_evaluation(place, labels=self.labels(model), split=split)[1]

    def for_training(self, data: LabelledData, *, largest_size_px: int) -> LabelledData:
        """Return the data as training reads it: inputs no larger than this, e.g. with pictures decoded coarsely."""
        return data

    def coarsest_side_px(self, spec: Any) -> int | None:
        """Shorter side down to which a picture may be decoded with hardly any change of the answer [px]; None: none.

        Results in pixels of the picture forbid it.
        """
        return None

    def for_evaluation(self, data: LabelledData, spec: Any) -> LabelledData:
        """Return the data as measuring reads it, e.g. with pictures decoded as coarsely as the input's size allows."""
        return data

    def transform(
        self, spec: Any, *, train: bool, alter: Alter | None = None
    ) -> Callable[[tuple[Any, Any], int], tuple[Any, Any]]:
        """Make what turns an item and its number in the data into what :meth:`collate` takes.

        Args:
            spec: How inputs are prepared, with the size.
            train: Whether to change the item at random, by torch's random numbers alone.
            alter: Changes the picture that the network is to see.
        """
        from focalnets.data.transforms import framing, to_tensor

        return PictureTransform(framing(spec), to_tensor(spec), alter)

    def collate(self, items: Sequence[tuple[Any, Any]]) -> Batch:
        """Put prepared items into a batch."""
        from torch.utils.data import default_collate

        inputs, targets = default_collate(list(items))
        return Batch(inputs, targets)

    def blend(self, labels: Sequence[str]) -> Callable[[Batch, int], Batch] | None:
        """Make what changes whole batches at random in training, by the epoch counted from 0; None if nothing does."""
        return None

    def choose_settings(self, data: TrainingData, *, image_size: int | None) -> dict[str, Any]:
        """Choose from the data what the settings leave open, before a training begins.

        Args:
            data: What will be trained on.
            image_size: Of the config; None if it is open too.

        Returns:
            Fields of the training config or of the task's section, with their values.
        """
        return {}

    def for_comparison(self, data: TrainingData, *, image_size: int | None) -> dict[str, Any]:
        """Choose settings with which networks that are trained side by side differ in nothing but themselves.

        Args:
            data: What they will be trained on.
            image_size: Of the config; None if it is open.

        Returns:
            Fields of the training config or of the task's section, with their values.

        Raises:
            ConfigError: If the settings given cannot be shared.
        """
        return {}

    def sample_batch(self, spec: Any, batch: int, labels: Sequence[str]) -> Batch:
        """Make a batch to measure time and memory on: what it holds is the same at every call.

        Args:
            spec: How inputs are prepared, with the size.
            batch: Inputs at once.
            labels: What answers are called.
        """
        size = spec.size
        images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))
        return Batch(images, torch.zeros(batch, dtype=torch.long))
