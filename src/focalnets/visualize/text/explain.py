"""From a text to what a network listens to at each token, and how each token surprises it.

Axes: T tokens, V entries of the vocabulary, K classes.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from focalnets.data.text.tokenizers import Tokenizer
from focalnets.errors import ConfigError, DataError
from focalnets.models.input_specs import TextInput
from focalnets.models.sequence import FocalLanguageModel, FocalTextClassifier
from focalnets.tasks.language.generation import tokenizer_for
from focalnets.tasks.trained import TrainedNetwork
from focalnets.visualize.text.explanation import TextExplanation
from focalnets.visualize.text.figures import Guess
from focalnets.visualize.text.listening import focal_blocks, level_names, listen

__all__ = ["MOST_TOKENS", "explain_text"]

MOST_TOKENS = 4096
"""Tokens of a text that are looked at unless more are asked for: what a page shows without becoming slow."""


def explain_text(
    text: str,
    model: str | os.PathLike[str] | TrainedNetwork | nn.Module,
    *,
    name: str = "text",
    model_name: str = "",
    most_tokens: int = MOST_TOKENS,
    device: str = "auto",
) -> TextExplanation:
    """Let a network read a text from its beginning, and keep what happens at each token.

    Args:
        text: At least one character.
        model: One that continues texts or classifies them: what :func:`focalnets.load` takes or returns, or the network
            itself, which then stays where it is.
        name: What the text is called, e.g. its file.
        model_name: How pages call the network; empty takes what it was loaded from.
        most_tokens: Tokens that are read; what follows is left out. A classifier reads no more than it was made for.
        device: Where to run, see :func:`focalnets.load`.

    Raises:
        CheckpointError: If the network cannot be loaded.
        ConfigError: If it reads no texts, or ``most_tokens`` is out of range.
        DataError: If the text is empty or holds what the network's vocabulary lacks.
    """
    if type(most_tokens) is not int or most_tokens < 1:
        raise ConfigError(f"most_tokens must be a whole number from 1 up, got {most_tokens!r:.40}.")
    network: Any = model
    if not isinstance(model, nn.Module):
        trained = model if isinstance(model, TrainedNetwork) else TrainedNetwork.load(model, device=device)
        trained.require_weights("explain_text")
        network, model_name = trained.network, model_name or trained.source or trained.origin
    spec = getattr(network, "preprocessing", None)
    if not isinstance(network, FocalLanguageModel | FocalTextClassifier) or not isinstance(spec, TextInput):
        raise ConfigError(
            f"explain_text looks into networks that continue or classify texts, got a {type(network).__name__}."
        )
    tokenizer = tokenizer_for(spec)
    tokens = tokenizer.encode(text).astype(np.int64)
    if not len(tokens):
        raise DataError(f"the text '{name}' is empty; give at least one character.")
    most = most_tokens if isinstance(network, FocalLanguageModel) else min(most_tokens, spec.context_length)
    read = tokens[:most]
    inputs = torch.from_numpy(read).to(network.embedding.weight.device)[None]
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode(), listen(network) as records:
            output = network(inputs)
            listening = records()
    finally:
        network.train(was_training)
    surprise: np.ndarray | None = None
    guesses: tuple[Guess | None, ...] = ()
    classes: tuple[tuple[str, float], ...] = ()
    if isinstance(network, FocalLanguageModel):
        surprise, guesses = _surprise(output[0][0], inputs[0], tokenizer)
    else:
        classes = _classes(network, output[0])
    blocks = focal_blocks(network)
    return TextExplanation(
        name=name, model=model_name, unit=spec.unit, tokens=tuple(read.tolist()),
        pieces=tuple(shown_pieces(tokenizer, read)), left_out=len(tokens) - len(read), depth=len(network.blocks),
        levels=level_names(next(iter(blocks.values())), spec.unit) if blocks else (), blocks=listening,
        surprise=surprise, guesses=guesses, classes=classes,
    )  # fmt: skip


def shown_pieces(tokenizer: Tokenizer, tokens: np.ndarray) -> list[str]:
    """Write down each of some tokens (T,); bytes that are no character by themselves become ``<e4>`` and the like."""
    pieces = []
    for token in tokens.tolist():
        piece = tokenizer.piece(token)
        try:
            pieces.append(piece.decode("utf-8"))
        except UnicodeDecodeError:
            pieces.append("".join(chr(byte) if byte < 0x80 else f"<{byte:02x}>" for byte in piece))
    return pieces


def _surprise(logits: Tensor, tokens: Tensor, tokenizer: Tokenizer) -> tuple[np.ndarray, tuple[Guess | None, ...]]:
    """Compute the surprise at each token [nats], (T,), and the likeliest token in its place.

    Args:
        logits: (T, V), of what follows each token.
        tokens: (T,).
        tokenizer: Writes guesses down.
    """
    surprise = np.full(len(tokens), np.nan, np.float32)  # nothing says what a text begins with
    logarithms = logits[:-1].float().log_softmax(-1)
    surprise[1:] = -logarithms.gather(1, tokens[1:, None])[:, 0].cpu().numpy()
    highest, likeliest = logarithms.max(-1)
    words = shown_pieces(tokenizer, likeliest.cpu().numpy())
    return surprise, (None, *map(Guess, words, highest.exp().tolist()))


def _classes(network: FocalTextClassifier, logits: Tensor) -> tuple[tuple[str, float], ...]:
    """Name all classes with their probabilities, the likeliest first, from logits (K,)."""
    probabilities = logits.float().softmax(-1).tolist()
    names = network.class_names or tuple(f"class {index}" for index in range(len(probabilities)))
    return tuple(sorted(zip(names, probabilities, strict=True), key=lambda each: -each[1]))
