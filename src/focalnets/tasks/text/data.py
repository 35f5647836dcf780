"""The texts of a training, the file that says what was held out, and what turns a text into tokens.

Axes: T tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.data.labelled import TrainingData
from focalnets.data.text.labelled import FoundTexts, LabelledTexts, find_labelled_texts, split_rows
from focalnets.data.text.pieces import read_tokenizer, train_tokenizer
from focalnets.data.text.tokenizers import ByteTokenizer, Tokenizer
from focalnets.data.text.words import WordTokenizer
from focalnets.errors import ConfigError
from focalnets.files import user_path, write_json
from focalnets.models.input_specs import TextInput
from focalnets.tasks.split_files import read_split_file
from focalnets.tasks.text.settings import TextSettings

__all__ = ["TextTransform", "build_tokenizer", "check_tokenizer_name", "read_split", "training_data"]

_SPLIT_FORMAT = "focalnets.labelled_texts"
_FIELDS = {
    "root": str, "val_fraction": float, "seed": int, "text_field": str, "label_field": str, "classes": list,
    "input": dict,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class TextTransform:
    """What cuts a text into tokens.

    Attributes:
        tokenizer: Makes them.
        most: Tokens that are read; the rest is left out.
        dropout: Fraction of them that is left out at random, by torch's random numbers.
    """

    tokenizer: Tokenizer
    most: int
    dropout: float = 0.0

    def __call__(self, item: tuple[str, Any], _index: int) -> tuple[Tensor, int]:
        """Return tokens (T,), int64, at least one, and the label."""
        text, label = item
        tokens = torch.from_numpy(self.tokenizer.encode(text)[: self.most].astype("int64"))
        if self.dropout and len(tokens) > 1:
            kept = tokens[torch.rand(len(tokens)) >= self.dropout]
            tokens = kept if len(kept) else tokens[:1]
        return (tokens if len(tokens) else torch.zeros(1, dtype=torch.long)), int(label)


def check_tokenizer_name(name: str) -> None:
    """Refuse a name of a tokenizer that is none: ``words``, ``bytes``, ``bpe:SIZE`` or a ``.json``.

    Raises:
        ConfigError: With what would be right.
    """
    size = name.removeprefix("bpe:")
    trained = name.startswith("bpe:") and size.isascii() and size.isdigit() and 257 <= int(size[:9]) <= 2**16
    if not trained and name not in ("words", "bytes") and not name.lower().endswith(".json"):
        raise ConfigError(
            f"the tokenizer of texts that are classified must be words, bytes, bpe:SIZE with a size from 257 to 65536, "
            f"or a tokenizer.json, got {name!r:.80}."
        )


def build_tokenizer(settings: TextSettings, texts: Sequence[str]) -> Tokenizer:
    """Make the tokenizer that settings ask for, from the texts of a training where it depends on them.

    Raises:
        ConfigError: If there is no such tokenizer.
        MissingPackageError: If it needs a package that is not installed.
    """
    name = settings.tokenizer
    check_tokenizer_name(name)
    if name == "words":
        return WordTokenizer.of_texts(texts, settings.vocabulary)
    if name == "bytes":
        return ByteTokenizer()
    if name.startswith("bpe:"):
        return train_tokenizer("\n".join(texts), int(name.removeprefix("bpe:")))
    return read_tokenizer(name)


def training_data(
    place: str | Path, settings: TextSettings, *, val_fraction: float, seed: int, tokenizer: Tokenizer | None = None
) -> TrainingData:
    """Read texts and divide them into those to learn from and those held out.

    Args:
        place: As for :func:`focalnets.data.text.labelled.find_labelled_texts`.
        settings: Say where text and label stand, and what texts are cut into.
        val_fraction: Fraction of each class that is held out where the place says nothing about it.
        seed: Chooses what is held out.
        tokenizer: One that there is; None makes that of the settings.

    Raises:
        DataError: If the place holds no labelled texts.
        ConfigError, MissingPackageError: If the tokenizer cannot be made.
    """
    found: FoundTexts = find_labelled_texts(place, text_field=settings.text_field, label_field=settings.label_field)
    train_rows, val_rows, classes, words, unused = split_rows(found, val_fraction=val_fraction, seed=seed)
    if tokenizer is None:
        tokenizer = build_tokenizer(settings, [row.text for row in train_rows])
    notes = (*found.notes, *unused)
    train = LabelledTexts(train_rows, classes, tokenizer=tokenizer)
    content = {
        "format": _SPLIT_FORMAT,
        "root": str(user_path(place).resolve()),
        "split": words,
        "val_fraction": val_fraction,
        "seed": seed,
        "text_field": settings.text_field,
        "label_field": settings.label_field,
        "classes": list(classes),
        "input": tokenizer.spec(settings.context_length).to_dict(),
    }
    return TrainingData(
        labels=classes,
        train=train,
        val=LabelledTexts(val_rows, classes, learnt_from=train, tokenizer=tokenizer),
        description=str(place),
        notes=notes,
        fingerprint=found.fingerprint,
        write_split=lambda file: write_json(file, content),
    )


def read_split(split: Path) -> dict[str, Any]:
    """Read what :func:`training_data` writes.

    Raises:
        DataError: If the file is missing or of another kind.
    """
    return read_split_file(
        split, _SPLIT_FORMAT, _FIELDS, "labelled texts", check=lambda content: TextInput.from_dict(content["input"])
    )
