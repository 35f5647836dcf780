"""Words as tokens, in the writing of any language.

Axes: T tokens.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable

import numpy as np

from focalnets.data.text.tokenizers import Tokenizer, smallest_dtype
from focalnets.errors import ConfigError
from focalnets.models.input_specs import TextUnit

__all__ = ["MOST_WORDS", "WORD_PATTERN", "WordTokenizer", "split_words"]

MOST_WORDS = 20_000
"""Words that a vocabulary holds at most where nobody says how many."""

_WITHOUT_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Letters of scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana and Han."""

WORD_PATTERN = rf"[{_WITHOUT_SPACES}]|[^\W{_WITHOUT_SPACES}]+(?:['’][^\W{_WITHOUT_SPACES}]+)*"
"""What a word is: letters, digits and apostrophes between them; each letter alone where no spaces divide words."""

_TOKEN = re.compile(rf"{WORD_PATTERN}|[^\w\s]")
_UNKNOWN, _UNKNOWN_NUMBER, _FIRST = 0, 1, 2


class WordTokenizer(Tokenizer):
    """Words and signs, without regard to capitals; what the vocabulary lacks is one of two tokens.

    Token 0 is an unknown word, token 1 an unknown one with a digit in it.

    Args:
        words: All that there are, in the order of their tokens from 2 on.

    Raises:
        ConfigError: If one is empty, holds a space or comes twice.
    """

    unit: TextUnit = "words"
    name = "words"

    def __init__(self, words: Iterable[str]) -> None:
        self._words = tuple(words)
        if len(set(self._words)) != len(self._words) or not all(len(word.split()) == 1 for word in self._words):
            raise ConfigError("the words of a vocabulary must be without spaces, and each another.")
        self.written, self.size = "\n".join(self._words), len(self._words) + _FIRST
        self._token_of = {word: token for token, word in enumerate(self._words, _FIRST)}

    @classmethod
    def of_texts(cls, texts: Iterable[str], most: int = MOST_WORDS) -> WordTokenizer:
        """Take the most frequent words of texts, at most so many, that come more than once; all if none does."""
        counts: collections.Counter[str] = collections.Counter()
        for text in texts:
            counts.update(split_words(text))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(([word for word in ranked if counts[word] > 1] or ranked)[:most])

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into tokens, one a word or sign."""
        words = split_words(text)
        tokens = [self._token_of.get(word) or self._unknown(word) for word in words]
        return np.array(tokens, smallest_dtype(self.size))

    def piece(self, token: int) -> bytes:
        """Return the word in UTF-8; a replacement character for an unknown one."""
        return (self._words[token - _FIRST] if token >= _FIRST else "�").encode("utf-8")

    def decode(self, tokens: Iterable[int]) -> str:
        """Turn tokens back into words with a space between them."""
        return " ".join(self.piece(int(token)).decode("utf-8") for token in tokens)

    @staticmethod
    def _unknown(word: str) -> int:
        return _UNKNOWN_NUMBER if any(letter.isdigit() for letter in word) else _UNKNOWN


def split_words(text: str) -> list[str]:
    """Cut a text into words and signs, in small letters."""
    return _TOKEN.findall(text.casefold())
