"""Continuing texts with a trained network, piece by piece.

Axes: B prompts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import nn

from focalnets.data.text.pieces import tokenizer_of
from focalnets.data.text.tokenizers import Decoder, Tokenizer
from focalnets.errors import ConfigError, DataError
from focalnets.models.input_specs import TextInput
from focalnets.models.sequence import FocalLanguageModel
from focalnets.tasks.language.settings import LanguageSettings

__all__ = [
    "TEMPERATURE",
    "continue_texts",
    "first_prompt",
    "language_model",
    "tokenizer_for",
    "usual_prompt",
    "with_sample_prompt",
]

TEMPERATURE = 0.8
"""Usual temperature: a little below 1 drops the least likely of what was learnt."""

_MOST_TO_BEGIN = 16
"""Tokens of the text that a sample begins with, at most."""


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


def first_prompt(tokenizer: Tokenizer, texts: Iterable[str]) -> str:
    """Choose the first of some texts that the tokenizer turns into tokens; empty if there is none."""
    for text in texts:
        try:
            if len(tokenizer.encode(text)):
                return text
        except DataError:  # it holds what the vocabulary lacks
            continue
    return ""


def usual_prompt(network: nn.Module) -> str:
    """Choose what a text begins with where nobody says: a new line, or the first token that can be read again.

    Raises:
        ConfigError: If the network continues no texts, or its tokenizer reads none of its own tokens.
    """
    tokenizer = tokenizer_for(language_model(network, "generate").preprocessing)
    tokens = (tokenizer.decode([token]) for token in range(tokenizer.size))
    prompt = first_prompt(tokenizer, ["\n"]) or first_prompt(tokenizer, tokens)
    if not prompt:
        raise ConfigError("the network's tokenizer makes no token of a new line; give a prompt.")
    return prompt


def with_sample_prompt(settings: LanguageSettings, tokenizer: Tokenizer, tokens: Any) -> LanguageSettings:
    """See that samples begin with what the tokenizer knows; where nobody chose that, as the text does.

    Args:
        settings: Say what samples begin with.
        tokenizer: Of the data.
        tokens: The text (T,).

    Returns:
        The settings; without samples where the text begins with nothing that can be read again.

    Raises:
        ConfigError: If what was chosen does not suit the tokenizer.
    """
    chosen = settings.sample_prompt
    try:
        if len(tokenizer.encode(chosen)):
            return settings
        reason = f"the tokenizer {tokenizer.name} makes no token of {chosen!r:.80}; choose another."
    except DataError as error:
        reason = str(error)
    if chosen != LanguageSettings().sample_prompt:
        raise ConfigError(f"sample_prompt does not suit the data: {reason}")
    # A text of a single line, or a tokenizer that drops new lines.
    begin = first_prompt(tokenizer, (tokenizer.decode(tokens[:count]) for count in range(1, _MOST_TO_BEGIN + 1)))
    if not begin:
        return dataclasses.replace(settings, sample_length=0)
    return dataclasses.replace(settings, sample_prompt=begin)


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
