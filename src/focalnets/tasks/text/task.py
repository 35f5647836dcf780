"""Naming the class of a text, such as spam, a feeling or a topic.

Axes: B batch, T tokens, K classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from focalnets.data.class_matching import match_classes
from focalnets.data.labelled import LabelledData, TrainingData
from focalnets.data.text.inputs import gather_texts
from focalnets.data.text.labelled import LabelledTexts, find_labelled_texts, held_out_rows
from focalnets.data.text.pieces import tokenizer_of
from focalnets.data.text.tokenizers import Tokenizer
from focalnets.errors import ConfigError, DataError
from focalnets.models.input_specs import TextInput
from focalnets.tasks.batch import Batch
from focalnets.tasks.evaluation import Measured
from focalnets.tasks.sequences.results import Evaluation
from focalnets.tasks.sequences.task import SequenceClassification, pad_sequences
from focalnets.tasks.text.baseline import BAG_OF_N_GRAMS, fit_and_predict
from focalnets.tasks.text.data import TextTransform, read_split, training_data
from focalnets.tasks.text.settings import TextSettings
from focalnets.weights.loading import open_trained

__all__ = ["Text"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text(SequenceClassification):
    """The task of naming the class of a text.

    Attributes:
        settings: The section ``text`` of a training config.
    """

    name: ClassVar[str] = "text"
    pipeline_tag: ClassVar[str | None] = "text-classification"
    limits: ClassVar[str] = (
        "A text of none of the classes gets one all the same. Words that the training did not have are not told apart; "
        "texts of another kind or language are called what is likely by chance."
    )
    inputs: ClassVar[str] = "texts"
    input_type: ClassVar[type] = TextInput
    next_commands: ClassVar[tuple[str, ...]] = ('predict "a text" --model {model}', "predict texts.csv --model {model}")

    plain_method: ClassVar[tuple[str, str]] = (BAG_OF_N_GRAMS, "logistic regression")

    settings: TextSettings = dataclasses.field(default_factory=TextSettings)

    def recipe_in_words(self) -> str:
        """Say how texts were read."""
        spec = self._spec()
        return f"up to {spec.context_length:,} {spec.unit} of each text, vocabulary {spec.vocabulary}, "

    # Data

    def open(self, place: str | Path, *, val_fraction: float, seed: int, skip_unreadable: bool = False) -> TrainingData:
        """Read labelled texts; the same fraction of each class is held out where the place does not say what is."""
        tokenizer = self._tokenizer_of_pretrained() if self.pretrained else None
        return training_data(place, self.settings, val_fraction=val_fraction, seed=seed, tokenizer=tokenizer)

    def reopen(self, split: Path, *, root: str | Path | None = None, skip_unreadable: bool = False) -> TrainingData:
        """Read the texts of a run again, with its tokenizer."""
        content = read_split(split)
        fields = {name: content[name] for name in ("text_field", "label_field")}
        return training_data(
            root or content["root"], dataclasses.replace(self.settings, **fields),
            val_fraction=content["val_fraction"], seed=content["seed"],
            tokenizer=tokenizer_for(TextInput.from_dict(content["input"])),
        )  # fmt: skip

    def open_evaluation(
        self, place: str | Path, *, labels: Sequence[str] | None = None, split: Path | None = None
    ) -> tuple[tuple[str, ...], LabelledData]:
        """Read the texts that a network is measured on; labels are matched by name."""
        if split is not None:
            return self.held_out_of(split, place, labels)
        found = find_labelled_texts(
            place,
            text_field=self._known_field("text_field"),
            label_field=self._known_field("label_field"),
        )
        rows = held_out_rows(found)
        names = list(dict.fromkeys(row.label for row in rows))
        classes = tuple(sorted(names)) if labels is None else tuple(labels)
        data = LabelledTexts(rows, classes, index=match_classes(names, classes, str(place)), notes=found.notes)
        return classes, data

    def gather(  # type: ignore[override]  # The options of texts, by name.
        self, given: Any, *, text_field: str = "", by_lines: bool = False
    ) -> tuple[list[tuple[str, Any]], list[tuple[str, str]]]:
        """List texts, see :func:`focalnets.data.text.inputs.gather_texts`; columns are called as in the training."""
        field = text_field or self._known_field("text_field")
        texts, missing = gather_texts(given, text_field=field, by_lines=by_lines)
        return [(text.name, text.text) for text in texts], missing

    def transform(self, spec: TextInput, *, train: bool, alter: Any = None) -> Callable[..., Any]:
        """Make what cuts a text into tokens, in training without some of them."""
        if alter is not None:
            raise ConfigError("Corruptions are for pictures; leave them out for texts.")
        dropout = self.settings.token_dropout if train else 0.0
        return TextTransform(tokenizer_for(spec), spec.context_length, dropout)

    def collate(self, items: Sequence[tuple[Any, Any]]) -> Batch:
        """Put texts into a batch; shorter ones are filled up on the right and masked."""
        return pad_sequences(items)

    def sample_batch(self, spec: TextInput, batch: int, labels: Sequence[str]) -> Batch:
        """Make texts of random tokens, the same at every call."""
        shape = (batch, spec.context_length)
        tokens = torch.randint(spec.vocabulary_size, shape, generator=torch.Generator().manual_seed(1))
        return Batch(tokens, torch.zeros(batch, dtype=torch.long))

    # The network

    def with_data(self, data: TrainingData) -> Text:
        """Remember how the texts are read, e.g. which words there are.

        Raises:
            ConfigError: If the data is no texts with labels.
        """
        tokenizer = getattr(data.train, "tokenizer", None)
        if not isinstance(data.train, LabelledTexts) or tokenizer is None:
            raise ConfigError(f"the task text trains on texts with labels, got {type(data.train).__name__}.")
        return dataclasses.replace(self, spec=tokenizer.spec(self.settings.context_length))

    def evaluation(self, measured: Measured) -> Evaluation:
        """Leave the tokenizer out of what is shown: it stands in the checkpoint, and may be long."""
        evaluation = super().evaluation(measured)
        evaluation.preprocessing["tokenizer"] = ""
        return evaluation

    def answer_plainly(self, learnt_from: LabelledTexts, inputs: Sequence[str]) -> np.ndarray:
        """Name the classes of texts by a bag of word n-grams."""
        return fit_and_predict(learnt_from.texts, learnt_from.class_of, inputs)

    def _known_field(self, name: str) -> str:
        """Return what a column is called by the settings, or by the network's run."""
        with contextlib.suppress(DataError):  # weights may lie beside a file of another kind
            split = self._split_file()
            return getattr(self.settings, name) or ("" if split is None else read_split(split)[name])
        return ""

    def _input_fields(self) -> dict[str, Any]:
        return {"vocabulary_size": self._spec().vocabulary_size, "channels": 0, "patch": 1}

    def _spec(self) -> TextInput:
        assert isinstance(self.spec, TextInput), "how a text is read follows from data or a network"
        return self.spec

    def _tokenizer_of_pretrained(self) -> Tokenizer:
        if self.settings.tokenizer != TextSettings().tokenizer:
            raise ConfigError("pretrained weights have a tokenizer of their own; leave tokenizer out.")
        found = open_trained(self.pretrained).recognition
        if found.task != self.name or not isinstance(found.input, TextInput):
            raise ConfigError(f"'{self.pretrained}' holds no network of the task text; name weights of this task.")
        return tokenizer_for(found.input)


@functools.lru_cache(maxsize=8)
def tokenizer_for(spec: TextInput) -> Tokenizer:
    """Return the tokenizer that an input describes, see :func:`focalnets.data.text.pieces.tokenizer_of`."""
    return tokenizer_of(spec)
