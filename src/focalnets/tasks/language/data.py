"""The texts of a training, and the file that says what was held out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from focalnets.data.labelled import TrainingData
from focalnets.data.text.corpus import Corpus
from focalnets.data.text.passages import Passages
from focalnets.errors import DataError
from focalnets.files import write_json
from focalnets.models.input_specs import TextInput
from focalnets.tasks.language.settings import LanguageSettings
from focalnets.tasks.split_files import read_split_file, split_file_of

__all__ = ["field_of_run", "read_split", "training_data"]

_SPLIT_FORMAT = "focalnets.text"
_FIELDS = {"root": str, "val_fraction": float, "text_field": str, "input": dict}


def training_data(corpus: Corpus, place: str, settings: LanguageSettings, val_fraction: float) -> TrainingData:
    """Cut a corpus into passages to learn from and passages to measure on.

    Args:
        corpus: The tokens.
        place: Where they come from.
        settings: Say how long and how many passages are.
        val_fraction: What was held out of the end.

    Raises:
        DataError: If a passage is longer than what there is to learn from, or nothing is held out.
    """
    context = settings.context_length
    if len(corpus.train) <= context or len(corpus.val) < 2:
        raise DataError(
            f"'{place}' is too short: {len(corpus.train):,} tokens to train and {len(corpus.val):,} held out, but a "
            f"context takes {context + 1:,}; give more text or a smaller --context_length."
        )
    content = {
        "format": _SPLIT_FORMAT,
        "root": place,
        "val_fraction": val_fraction,
        "text_field": settings.text_field,
        "input": corpus.tokenizer.spec(context).to_dict(),
    }
    return TrainingData(
        labels=(),
        train=Passages(corpus.train, corpus.tokenizer, context, count=settings.passages),
        val=Passages(corpus.val, corpus.tokenizer, context),
        description=place,
        notes=corpus.notes,
        fingerprint=corpus.files.fingerprint,
        write_split=lambda file: write_json(file, content),
    )


def read_split(split: Path) -> dict[str, Any]:
    """Read what :func:`training_data` writes: ``root``, ``val_fraction``, ``text_field`` and ``input``.

    Raises:
        DataError: If the file is missing or of another kind.
    """
    return read_split_file(
        split, _SPLIT_FORMAT, _FIELDS, "a text", check=lambda content: TextInput.from_dict(content["input"])
    )


def field_of_run(run: Path | None) -> str:
    """Say which field of ``.jsonl`` files a network's run took for the text; the usual one where that is not known.

    Args:
        run: Folder of a run or weights in one; None where there is none.
    """
    if run is not None:
        with contextlib.suppress(DataError):  # weights may lie beside no such file, or one of another kind
            return str(read_split(split_file_of(run))["text_field"])
    return LanguageSettings().text_field
