"""From texts to tokens and back: characters, bytes, or pieces of words.

A tokenizer travels inside the checkpoint as text, see :class:`focalnets.models.input_specs.TextInput`.

Axes: T tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import abc
import codecs
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from focalnets.data.text.reading import without_surrogates
from focalnets.errors import ConfigError, DataError
from focalnets.models.input_specs import LARGEST_VOCABULARY, TextInput, TextUnit

__all__ = ["ByteTokenizer", "CharacterTokenizer", "Decoder", "Tokenizer", "in_chunks", "smallest_dtype"]

_PLANE = 0x110000
"""Code points that there are."""


class Tokenizer(abc.ABC):
    """Turns texts into whole numbers from 0 to below ``size``, and back.

    Attributes:
        unit: What a token stands for.
        name: What it is called.
        size: V.
        written: The tokenizer as text, from which :func:`focalnets.data.text.pieces.tokenizer_of` makes it again.
    """

    unit: TextUnit
    name: str
    size: int
    written: str = ""

    @abc.abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Turn a text into tokens (T,) of the :func:`smallest_dtype`.

        Raises:
            DataError: If the text holds what the vocabulary lacks.
        """

    @abc.abstractmethod
    def piece(self, token: int) -> bytes:
        """Return what a token stands for, in UTF-8; characters may be divided among several."""

    def decode(self, tokens: Any) -> str:
        """Turn tokens back into a text; bytes that are no UTF-8 become replacement characters."""
        return b"".join(self.piece(int(token)) for token in tokens).decode("utf-8", "replace")

    @functools.cached_property
    def byte_counts(self) -> np.ndarray:
        """How many bytes each token stands for, (V,) int64."""
        return np.array([len(self.piece(token)) for token in range(self.size)], np.int64)

    @functools.cached_property
    def character_counts(self) -> np.ndarray:
        """How many characters begin in each token, (V,) int64."""
        return np.array([sum(b & 0xC0 != 0x80 for b in self.piece(token)) for token in range(self.size)], np.int64)

    def spec(self, context_length: int) -> TextInput:
        """Describe the input of a network that reads such tokens."""
        return TextInput(
            context_length=context_length, unit=self.unit, vocabulary=self.name, vocabulary_size=self.size,
            tokenizer=self.written,
        )  # fmt: skip


class ByteTokenizer(Tokenizer):
    """The bytes of a text in UTF-8."""

    unit: TextUnit = "bytes"
    name = "bytes"
    size = 256

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into its bytes."""
        return np.frombuffer(without_surrogates(text).encode("utf-8"), np.uint8)

    def piece(self, token: int) -> bytes:
        """Return the byte."""
        return bytes((token,))


class CharacterTokenizer(Tokenizer):
    """The characters of a text.

    Args:
        characters: All that there are, in the order of their tokens.
    """

    unit: TextUnit = "characters"
    name = "characters"

    def __init__(self, characters: str) -> None:
        characters = without_surrogates(characters)
        if not characters or len(set(characters)) != len(characters):
            raise ConfigError("the characters of a vocabulary must be at least one, and each another.")
        self.written, self.size = characters, len(characters)
        self._token_of = np.full(_PLANE, -1, np.int32)
        self._token_of[_code_points(characters)] = np.arange(self.size)

    @classmethod
    def of_text(cls, text: str) -> CharacterTokenizer:
        """Take the characters that a text consists of."""
        return cls("".join(map(chr, np.unique(_code_points(without_surrogates(text))))))

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into tokens, one a character."""
        text = without_surrogates(text)
        tokens = self._token_of[_code_points(text)]
        if len(tokens) and tokens.min() < 0:
            unknown = sorted({text[place] for place in np.flatnonzero(tokens < 0)})
            shown = ", ".join(map(repr, unknown[:8])) + (" and others" if len(unknown) > 8 else "")
            raise DataError(
                f"the text holds {len(unknown)} characters that the network does not know ({shown}); it knows "
                f"{self.size}, leave others out, or train with --tokenizer bytes."
            )
        return tokens.astype(smallest_dtype(self.size))

    def piece(self, token: int) -> bytes:
        """Return the character in UTF-8."""
        return self.written[token].encode("utf-8")


class Decoder:
    """Turns tokens into text as they come, holding back characters that are not complete."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._text = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        """Take the next token; returns the text that is now complete."""
        return self._text.decode(self._tokenizer.piece(token))

    def end(self) -> str:
        """Return what an end in the middle of a character leaves."""
        return self._text.decode(b"", True)


def smallest_dtype(size: int) -> type[np.unsignedinteger]:
    """Choose the smallest whole numbers that hold tokens of a vocabulary."""
    assert size <= LARGEST_VOCABULARY
    return next(kind for kind in (np.uint8, np.uint16, np.uint32) if size - 1 <= np.iinfo(kind).max)


def in_chunks(text: str, characters: int = 2**20) -> Iterator[str]:
    """Cut a text into pieces of about so many characters, after ends of lines that no space follows."""
    begin = 0
    while begin < len(text):
        end = begin + characters
        while end < len(text) and not (text[end - 1] == "\n" and not text[end].isspace()):
            end += 1
        yield text[begin:end]
        begin = end


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)
