"""Tokenizers of pieces of words, by the package ``tokenizers``, and the tokenizer that an input describes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.data.text.reading import without_surrogates
from focalnets.data.text.tokenizers import (
    ByteTokenizer,
    CharacterTokenizer,
    Tokenizer,
    in_chunks,
    smallest_dtype,
)
from focalnets.data.text.words import WordTokenizer
from focalnets.errors import ConfigError, MissingPackageError, abridged
from focalnets.files import parse_json, user_path
from focalnets.models.input_specs import LARGEST_TOKENIZER, TextInput, TextUnit

__all__ = ["PieceTokenizer", "read_tokenizer", "tokenizer_of", "train_tokenizer"]

_SPACE = "▁"
"""What stands for a space in pieces as SentencePiece has them."""


class PieceTokenizer(Tokenizer):
    """Pieces of words.

    Args:
        written: The content of a ``tokenizer.json``.
        name: What it is called.

    Raises:
        ConfigError: If it is no tokenizer, or one that texts cannot be made from again.
        MissingPackageError: If the package ``tokenizers`` is not installed.
    """

    unit: TextUnit = "tokens"

    def __init__(self, written: str, name: str) -> None:
        package = _package()
        try:
            content = parse_json(written)
            kinds = _decoder_kinds(content["decoder"])
            self._tokenizer = package.Tokenizer.from_str(written)
        except Exception as error:  # the package raises Exception itself
            raise ConfigError(f"the tokenizer {abridged(name)} cannot be read ({error!s:.100}).") from error
        self.written, self.name = written, name
        self._of_bytes = "ByteLevel" in kinds
        if not self._of_bytes and _SPACE not in str(content["decoder"]):
            raise ConfigError(
                f"the tokenizer {abridged(name)} does not say how texts are made from its tokens again (decoder "
                f"{' and '.join(sorted(kinds)) or 'missing'}); use one whose decoder is ByteLevel, as GPT-2's, or "
                "Metaspace, as SentencePiece's."
            )
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.size = max(vocabulary.values(), default=-1) + 1
        if not self.size:
            raise ConfigError(f"the tokenizer {abridged(name)} has no tokens.")
        special = {str(entry["content"]) for entry in content.get("added_tokens", ()) if entry.get("special")}
        self._pieces = [b""] * self.size
        for text, token in vocabulary.items():
            self._pieces[token] = b"" if text in special else self._bytes_of(text)

    def encode(self, text: str) -> np.ndarray:
        """Turn a text into tokens."""
        parts = [
            np.array(self._tokenizer.encode(chunk, add_special_tokens=False).ids, smallest_dtype(self.size))
            for chunk in in_chunks(without_surrogates(text))
        ]
        return np.concatenate(parts) if parts else np.zeros(0, smallest_dtype(self.size))

    def piece(self, token: int) -> bytes:
        """Return what the token stands for; special tokens stand for nothing."""
        return self._pieces[token]

    def _bytes_of(self, text: str) -> bytes:
        if self._of_bytes:
            return bytes(_BYTE_OF[letter] for letter in text if letter in _BYTE_OF)
        byte = re.fullmatch("<0x([0-9A-F]{2})>", text)
        return bytes.fromhex(byte[1]) if byte else text.replace(_SPACE, " ").encode("utf-8", "replace")


def train_tokenizer(text: str, size: int) -> PieceTokenizer:
    """Train byte-pair encoding on a text.

    Args:
        text: What it should suit.
        size: Entries of the vocabulary, 257 or more; a short text may yield fewer.

    Raises:
        MissingPackageError: If the package ``tokenizers`` is not installed.

    Source: Sennrich et al., Neural machine translation of rare words with subword units, ACL 2016; on bytes, as in
    GPT-2.
    """
    package = _package()
    tokenizer = package.Tokenizer(package.models.BPE())
    tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = package.decoders.ByteLevel()
    trainer = package.trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(package.pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(in_chunks(without_surrogates(text)), trainer)
    return PieceTokenizer(tokenizer.to_str(), f"bpe:{size}")


def read_tokenizer(file: str | Path) -> PieceTokenizer:
    """Read a ``tokenizer.json``, as the package ``tokenizers`` and the Hugging Face Hub have them.

    Raises:
        ConfigError: If there is none, or it is not usable.
        MissingPackageError: If the package ``tokenizers`` is not installed.
    """
    path = user_path(file)
    try:
        if path.stat().st_size > 4 * LARGEST_TOKENIZER:
            raise ConfigError(f"'{file}' is larger than any tokenizer; name a tokenizer.json.")
        written = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(
            f"the tokenizer '{file}' cannot be read ({reason}); give characters, bytes, bpe:SIZE or a tokenizer.json."
        ) from error
    return PieceTokenizer(written, "".join(filter(str.isprintable, path.name))[:200])


def tokenizer_of(spec: TextInput) -> Tokenizer:
    """Make the tokenizer that the input of a network describes.

    Raises:
        ConfigError: If the description is not complete or contradicts itself.
        MissingPackageError: If it needs a package that is not installed.
    """
    tokenizer: Tokenizer
    if spec.unit == "bytes":
        tokenizer = ByteTokenizer()
    elif spec.unit == "characters":
        tokenizer = CharacterTokenizer(spec.tokenizer)
    elif spec.unit == "words":
        tokenizer = WordTokenizer(spec.tokenizer.split("\n") if spec.tokenizer else ())
    else:
        tokenizer = PieceTokenizer(spec.tokenizer, spec.vocabulary)
    if tokenizer.size != spec.vocabulary_size:
        raise ConfigError(
            f"the vocabulary {abridged(spec.vocabulary)} has {tokenizer.size:,} entries, and vocabulary_size says "
            f"{spec.vocabulary_size:,}."
        )
    return tokenizer


def _package() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise MissingPackageError(
            "Tokens other than characters and bytes need the package tokenizers: pip install 'focalnets[text]'."
        ) from error
    return tokenizers


def _decoder_kinds(decoder: Any) -> set[str]:
    """Collect the kinds of a decoder and of those that it consists of."""
    if not isinstance(decoder, dict):
        return set()
    inner = decoder.get("decoders", ())
    kinds = {str(decoder.get("type"))} - {"Sequence"}
    return kinds.union(*(_decoder_kinds(each) for each in inner)) if isinstance(inner, list) else kinds


def _letters_of_bytes() -> dict[str, int]:
    """List the letters that stand for bytes: those that can be printed for themselves, others from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTE_OF = _letters_of_bytes()
