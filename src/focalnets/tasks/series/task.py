"""Naming the class of a series of numbers, e.g. of sensors over time.

Axes: B batch, T positions, C channels, K classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from focalnets.data.class_matching import match_classes
from focalnets.data.finding import natural_key
from focalnets.data.labelled import LabelledData, TrainingData
from focalnets.data.series.labelled import LabelledSeries, find_labelled_series, find_series
from focalnets.data.series.reading import channel_order, in_channel_order
from focalnets.data.text.labelled import held_out_rows
from focalnets.errors import ConfigError, DataError, ShapeError, quoted_list
from focalnets.models.input_specs import SeriesInput
from focalnets.models.sequence import FocalTextClassifier
from focalnets.models.sequence_config import LARGEST_REACH
from focalnets.tasks.batch import Batch
from focalnets.tasks.sequences.task import SequenceClassification, pad_sequences
from focalnets.tasks.series.baseline import BAG_OF_CONVOLUTIONS, fit_and_predict
from focalnets.tasks.series.data import SeriesTransform, measure_input, read_split, training_data
from focalnets.tasks.series.settings import SeriesSettings
from focalnets.weights.loading import open_trained

__all__ = ["SeriesTask"]

_USUAL_TOKENS, _USUAL_OVERLAP = 48, 8
"""Long series are cut into patches so that about so many tokens are left, each of which sees the positions of so many
patches."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesTask(SequenceClassification):
    """The task of naming the class of a series.

    Attributes:
        settings: The section ``series`` of a training config.
    """

    name: ClassVar[str] = "series"
    limits: ClassVar[str] = (
        "A series of none of the classes gets one all the same. Channels must come in the same units and at the same "
        "rate as in the training, and in the same order where they have no names."
    )
    inputs: ClassVar[str] = "series"
    input_type: ClassVar[type] = SeriesInput
    next_commands: ClassVar[tuple[str, ...]] = ("predict series.csv --model {model}",)

    plain_method: ClassVar[tuple[str, str]] = (BAG_OF_CONVOLUTIONS, "a ridge classifier")

    settings: SeriesSettings = dataclasses.field(default_factory=SeriesSettings)

    def recipe_in_words(self) -> str:
        """Say how series were read."""
        return f"{self._spec().in_words()}, "

    # Data

    def open(self, place: str | Path, *, val_fraction: float, seed: int, skip_unreadable: bool = False) -> TrainingData:
        """Read labelled series; the same fraction of each class is held out where the place does not say what is."""
        return training_data(place, val_fraction=val_fraction, seed=seed, channels=self._known_channels())

    def reopen(self, split: Path, *, root: str | Path | None = None, skip_unreadable: bool = False) -> TrainingData:
        """Read the series of a run again."""
        content = read_split(split)
        return training_data(
            root or content["root"], val_fraction=content["val_fraction"], seed=content["seed"],
            channels=self._known_channels(),
        )  # fmt: skip

    def open_evaluation(
        self, place: str | Path, *, labels: Sequence[str] | None = None, split: Path | None = None
    ) -> tuple[tuple[str, ...], LabelledData]:
        """Read the series that a network is measured on; labels and channels are matched by name."""
        if split is not None:
            return self.held_out_of(split, place, labels)
        found = find_labelled_series(place)
        known = self._known_channels()
        if known is not None:
            found = found.in_order(known)
        rows = held_out_rows(found.rows)
        names = sorted({row.label for row in rows}, key=natural_key)
        classes = tuple(names) if labels is None else tuple(labels)
        return classes, LabelledSeries(found, rows, match_classes(names, classes, str(place)), found.notes)

    def transform(self, spec: SeriesInput, *, train: bool, alter: Any = None) -> Callable[..., Any]:
        """Make what normalises a series, in training with noise."""
        if alter is not None:
            raise ConfigError("Corruptions are for pictures; leave them out for series.")
        return SeriesTransform(spec, self.settings.noise if train else 0.0)

    def collate(self, items: Sequence[tuple[Any, Any]]) -> Batch:
        """Put series into a batch; shorter ones are filled up at the end and masked."""
        return pad_sequences(items)

    def gather(self, given: Any, **options: Any) -> tuple[list[tuple[str, Any]], list[tuple[str, str]]]:
        """List series: arrays (T, C), and paths of files, folders and archives; channels are matched by name."""
        entries = [given] if isinstance(given, str | Path | np.ndarray) else list(given)
        if not entries:
            raise DataError("There is no series to look at; give one, or a file of one.")
        odd = [entry for entry in entries if not isinstance(entry, str | Path | np.ndarray)]
        if odd:
            raise ShapeError(f"expected arrays (T, C) and paths of files, got {type(odd[0]).__name__}.")
        series, missing = find_series(entries)
        fitting = []
        for each in series:
            try:
                fitting.append((each.name, in_channel_order(each, self._spec().channels).values))
            except DataError as error:
                missing.append((each.name, str(error)))
        return fitting, missing

    def sample_batch(self, spec: SeriesInput, batch: int, labels: Sequence[str]) -> Batch:
        """Make series of random numbers, the same at every call."""
        shape = (batch, spec.length, len(spec.channels))
        return Batch(
            torch.randn(shape, generator=torch.Generator().manual_seed(1)), torch.zeros(batch, dtype=torch.long)
        )

    # The network

    def with_data(self, data: TrainingData) -> SeriesTask:
        """Remember how series are read: their channels, with the mean and standard deviation of each.

        Raises:
            ConfigError: If the data is no series with labels, or has its channels in another order than the weights to
                start from.
            DataError: If it has other channels.
        """
        if not isinstance(data.train, LabelledSeries):
            raise ConfigError(f"the task series trains on series with labels, got {type(data.train).__name__}.")
        spec, _ = measure_input(data.train.series, data.train.channels, self.settings.series_length)
        if self.pretrained:
            known = open_trained(self.pretrained).recognition.input
            if not isinstance(known, SeriesInput):
                raise ConfigError(
                    f"'{self.pretrained}' holds no network of the task series; name weights of this task."
                )
            order = channel_order(spec.channels, known.channels, "the data")
            if order != sorted(order):
                raise ConfigError(
                    f"the weights read the channels in the order {quoted_list(known.channels)} and the data has "
                    f"{quoted_list(spec.channels)}; open the data with these weights, see open_data."
                )
            spec = known.with_size(spec.length)
        return dataclasses.replace(self, spec=spec)

    def answer_plainly(self, learnt_from: LabelledSeries, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Name the classes of series by a bag of short convolutions; they are read as the network reads them."""
        read = SeriesTransform(self._spec())
        known = [read(learnt_from[index], index)[0] for index in range(len(learnt_from))]
        return fit_and_predict(known, learnt_from.class_of, [read((values, 0), 0)[0] for values in inputs])

    def create(self, name: str, overrides: Mapping[str, Any], labels: Sequence[str]) -> FocalTextClassifier:
        """Draw a network at random; of long series several positions become one token, which sees its neighbours'."""
        patch = overrides.get("patch", max(1, round(self._spec().length / _USUAL_TOKENS)))
        window = 0  # what is no number is refused by the config
        if isinstance(patch, int):
            window = max(patch, min(_USUAL_OVERLAP * patch, LARGEST_REACH))
        return super().create(name, {"patch": patch, "patch_window": window, **overrides}, labels)

    def _input_fields(self) -> dict[str, Any]:
        return {"vocabulary_size": 0, "channels": len(self._spec().channels)}

    def _known_channels(self) -> tuple[str, ...] | None:
        """Return what the channels of the network or of the weights to start from are called, if there are any."""
        known = self.spec
        if known is None and self.pretrained:
            known = open_trained(self.pretrained).recognition.input
        return known.channels if isinstance(known, SeriesInput) else None

    def _spec(self) -> SeriesInput:
        assert isinstance(self.spec, SeriesInput), "how a series is read follows from data or a network"
        return self.spec
