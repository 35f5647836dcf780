"""Continuing texts with a trained network, piece by piece.

Axes: B prompts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from focalnets.data.text.pieces import tokenizer_of
from focalnets.data.text.tokenizers import Decoder, Tokenizer
from focalnets.errors import ConfigError
from focalnets.models.input_specs import TextInput
from focalnets.models.sequence import FocalLanguageModel

__all__ = ["TEMPERATURE", "continue_texts", "language_model", "tokenizer_for"]

TEMPERATURE = 0.8
"""Usual temperature: a little below 1 drops the least likely of what was learnt."""


@functools.lru_cache(maxsize=8)
def tokenizer_for(spec: TextInput) -> Tokenizer:
    """Return the tokenizer that an input describes, see :func:`focalnets.data.text.pieces.tokenizer_of`."""
    return tokenizer_of(spec)


def language_model(network: nn.Module, purpose: str) -> FocalLanguageModel:
    """Return a network as one that continues texts.

    Args:
        network: Any.
        purpose: What it is wanted for, for messages.

    Raises:
        ConfigError: If it is another one.
    """
    if not isinstance(network, FocalLanguageModel):
        raise ConfigError(
            f"{purpose} continues texts, which networks of the task language do; this is a {type(network).__name__}."
        )
    return network


def continue_texts(
    network: FocalLanguageModel,
    prompts: Sequence[str],
    *,
    length: int | None = None,
    temperature: float = TEMPERATURE,
    top_p: float = 1.0,
    seed: int | None = None,
) -> Iterator[list[str]]:
    """Continue prompts together; yields what each is continued by, a few characters or none at a time.

    Args:
        network: With the ``preprocessing`` that it was trained with.
        prompts: One or several texts, none of them empty.
        length: Tokens to draw for each; None goes on until the caller stops.
        temperature: What logits are divided by; 0 always takes the most probable token.
        top_p: Only the most probable tokens that together reach this probability are drawn.
        seed: Makes the same texts come again; None for others each time.

    Raises:
        ConfigError: If a prompt is empty, or a number out of range.
        DataError: If a prompt holds what the network's vocabulary lacks.
    """
    spec: Any = network.preprocessing
    tokenizer = tokenizer_for(spec)
    encoded = [tokenizer.encode(prompt).tolist() for prompt in prompts]
    if not encoded or not all(encoded):
        raise ConfigError("a prompt must hold at least one character, got an empty one.")
    tokens = network.generate(encoded, length, temperature, top_p, seed)
    decoders = [Decoder(tokenizer) for _ in prompts]

    def pieces() -> Iterator[list[str]]:
        for drawn in tokens:
            yield [decoder.add(token) for decoder, token in zip(decoders, drawn.tolist(), strict=True)]
        left = [decoder.end() for decoder in decoders]
        if any(left):
            yield left

    return pieces()
