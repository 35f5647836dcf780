"""A place with texts as tokens to learn from, and tokens held out.

Axes: T tokens.
"""

from __future__ import annotations

import dataclasses
import tokenize
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from focalnets.data.text.finding import TextFiles, find_texts
from focalnets.data.text.reading import read_texts
from focalnets.data.text.tokenizers import ByteTokenizer, CharacterTokenizer, Tokenizer, in_chunks, smallest_dtype
from focalnets.errors import ConfigError, DataError
from focalnets.files import replacing

__all__ = ["Corpus", "check_tokenizer_name", "open_corpus", "open_tokens", "write_tokens"]

FEW_CHARACTERS = 256
"""With so many different characters at most a text is learnt by its characters, else by its bytes."""

_CHECKED_AT_ONCE = 2**24


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Tokens to learn from.

    Attributes:
        files: Where they come from.
        tokenizer: What made them.
        train, val: (T,), whole numbers; mapped from the disk where the files hold tokens.
        notes: What was chosen, a sentence each.
    """

    files: TextFiles
    tokenizer: Tokenizer
    train: np.ndarray
    val: np.ndarray
    notes: tuple[str, ...] = ()


def check_tokenizer_name(name: str) -> None:
    """Refuse a name of a tokenizer that is none: ``auto``, ``characters``, ``bytes``, ``bpe:SIZE`` or a ``.json``.

    Raises:
        ConfigError: With what would be right.
    """
    size = name.removeprefix("bpe:")
    trained = name.startswith("bpe:") and size.isascii() and size.isdigit() and 257 <= int(size[:9]) <= 2**16
    if not trained and name not in ("auto", "characters", "bytes") and not name.lower().endswith(".json"):
        raise ConfigError(
            f"tokenizer must be auto, characters, bytes, bpe:SIZE with a size from 257 to 65536, or a tokenizer.json, "
            f"got {name!r:.80}."
        )


def open_corpus(
    place: str | Path, *, tokenizer: str | Tokenizer = "auto", val_fraction: float = 0.1, text_field: str = "text"
) -> Corpus:
    """Read a place and turn its texts into tokens.

    Args:
        place: As for :func:`focalnets.data.text.finding.find_texts`.
        tokenizer: One that there is, or a name as :func:`check_tokenizer_name` takes it. ``auto`` takes characters,
            or bytes where there are more than 256 different ones. One that is trained sees only what is learnt from.
        val_fraction: How much of the end is held out where the place says nothing about it.
        text_field: Field of ``.jsonl`` files that holds the text.

    Raises:
        DataError: If a file is missing, damaged, empty, no text, or holds what the tokenizer does not know.
        ConfigError: If the tokenizer is none.
        MissingPackageError: If it needs a package that is not installed.
    """
    files = find_texts(place)
    if files.hold_tokens:
        chosen = _given(tokenizer)
        if chosen is None:
            raise DataError(f"'{place}' holds tokens; say with --tokenizer what made them: bytes or a tokenizer.json.")
        train = open_tokens(files.train, chosen)
        if files.val:
            return Corpus(files, chosen, train, open_tokens(files.val, chosen))
        cut = int((1 - val_fraction) * len(train))
        return Corpus(files, chosen, train[:cut], train[cut:])
    text = read_texts(files.train, text_field=text_field)
    if files.val:
        train_text, val_text = text, read_texts(files.val, text_field=text_field)
    else:
        cut = int((1 - val_fraction) * len(text))
        train_text, val_text = text[:cut], text[cut:]
    chosen = _given(tokenizer)
    notes: tuple[str, ...] = ()
    if isinstance(tokenizer, str) and tokenizer.startswith("bpe:"):
        from focalnets.data.text.pieces import train_tokenizer

        chosen = train_tokenizer(train_text, int(tokenizer.removeprefix("bpe:")))
        if chosen.size < int(tokenizer.removeprefix("bpe:")):
            notes = (f"the text yields a vocabulary of {chosen.size:,} tokens only",)
    if chosen is None:
        characters = CharacterTokenizer.of_text(train_text + val_text)
        chosen = characters
        if tokenizer == "auto" and characters.size > FEW_CHARACTERS:
            chosen = ByteTokenizer()
            notes = (
                f"the text has {characters.size:,} different characters, so its bytes are learnt; --tokenizer "
                "characters takes them all",
            )
    return Corpus(files, chosen, chosen.encode(train_text), chosen.encode(val_text), notes)


def open_tokens(files: Sequence[Path], tokenizer: Tokenizer, *, text_field: str = "text") -> np.ndarray:
    """Turn files into tokens (T,); those that hold tokens are mapped from the disk, one file at most.

    Raises:
        DataError: As :func:`open_corpus`.
    """
    if not TextFiles(files[0], tuple(files)).hold_tokens:
        return tokenizer.encode(read_texts(files, text_field=text_field))
    if len(files) > 1:
        raise DataError(
            f"expected one file of tokens to train and one held out, got {len(files)} ('{files[0]}' and others); join "
            "them."
        )
    tokens = _mapped(files[0], tokenizer)
    for first in range(0, len(tokens), _CHECKED_AT_ONCE):
        if (largest := int(tokens[first : first + _CHECKED_AT_ONCE].max())) >= tokenizer.size:
            raise DataError(
                f"'{files[0]}' holds the token {largest:,}, but the vocabulary {tokenizer.name} has only "
                f"{tokenizer.size:,}; name the tokenizer that made it."
            )
    return tokens


def write_tokens(text: str, tokenizer: Tokenizer, file: str | Path) -> int:
    """Write the tokens of a text as whole numbers to a ``.bin``, piece by piece; returns how many there are.

    ``.bin`` has nothing in front: 16 bits a token, least byte first, 32 bits where the vocabulary is larger than that.

    Raises:
        DataError: If the text holds what the tokenizer does not know.
        OSError: If the file cannot be written.
    """
    count, dtype = 0, _dtype_of_bin(tokenizer)
    with replacing(file) as temporary, temporary.open("wb") as stream:
        for chunk in in_chunks(text):
            tokens = tokenizer.encode(chunk)
            stream.write(tokens.astype(dtype).tobytes())
            count += len(tokens)
    return count


def _given(tokenizer: str | Tokenizer) -> Tokenizer | None:
    """Return the tokenizer that does not depend on the text; None if it does."""
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    check_tokenizer_name(tokenizer)
    if tokenizer == "bytes":
        return ByteTokenizer()
    if tokenizer.lower().endswith(".json"):
        from focalnets.data.text.pieces import read_tokenizer

        return read_tokenizer(tokenizer)
    return None


def _dtype_of_bin(tokenizer: Tokenizer) -> np.dtype:
    return np.dtype("<u4") if smallest_dtype(tokenizer.size) is np.uint32 else np.dtype("<u2")


def _mapped(file: Path, tokenizer: Tokenizer) -> np.ndarray:
    try:
        if file.name.lower().endswith(".npy"):
            tokens = np.lib.format.open_memmap(file, mode="r")  # refuses archives and pickles, unlike np.load
        else:
            tokens = np.memmap(file, _dtype_of_bin(tokenizer), "r")
    except (OSError, ValueError, tokenize.TokenError) as error:
        if file.stat().st_size == 0:
            raise DataError(f"'{file}' is empty; give a file that holds tokens.") from error
        raise DataError(f"'{file}' holds no tokens that can be read ({error!s:.100}); write it again.") from error
    if tokens.ndim != 1 or tokens.dtype.kind != "u":
        raise DataError(
            f"'{file}' must hold a row of whole numbers without sign, e.g. uint16, got {tokens.dtype} of shape "
            f"{tokens.shape}."
        )
    if not len(tokens):
        raise DataError(f"'{file}' is empty; give a file that holds tokens.")
    return tokens
