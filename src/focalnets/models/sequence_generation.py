"""Continuing sequences one token after the other, in constant memory where no block attends.

Axes: B sequences, T positions, V tokens of the vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from focalnets.errors import ConfigError, ShapeError
from focalnets.models.fields import is_finite, is_number, shortened

__all__ = ["check_drawing", "continue_tokens", "draw_tokens", "padded_prompts", "step_by_calls", "without_dropout"]

Prompt = Tensor | Sequence[int] | Sequence[Sequence[int]]


def padded_prompts(prompt: Prompt, vocabulary_size: int) -> tuple[Tensor, Tensor | None]:
    """Put prompts of any lengths into one tensor, the ends below each other.

    Args:
        prompt: Tokens of one prompt (T,), of several of the same length (B, T), or a sequence of sequences.
        vocabulary_size: V; tokens are whole numbers below it.

    Returns:
        Tokens (B, T), and booleans (B, T) that are False for padding on the left; None if there is none.

    Raises:
        ShapeError: If there is no prompt, an empty one, or a token outside the vocabulary.
    """
    if not isinstance(prompt, Tensor | Sequence) or isinstance(prompt, str | bytes):
        raise ShapeError(f"A prompt must be tokens, given as a tensor or a list, got {type(prompt).__name__}.")
    if isinstance(prompt, Tensor):
        rows = [*prompt.unbind(0)] if prompt.ndim == 2 else [prompt]
    elif len(prompt) > 0 and not isinstance(prompt[0], int):
        rows = [torch.as_tensor(row) for row in prompt]
    else:
        rows = [torch.as_tensor(prompt)]
    if not rows or any(row.ndim != 1 or row.numel() == 0 or row.is_floating_point() for row in rows):
        raise ShapeError("A prompt needs at least one token, given as whole numbers: (T,), (B, T) or a list of lists.")
    if any(row.min() < 0 or row.max() >= vocabulary_size for row in rows):
        raise ShapeError(f"Tokens of a prompt must be whole numbers from 0 to below {vocabulary_size:,}.")
    longest = max(map(len, rows))
    tokens = rows[0].new_zeros((len(rows), longest), dtype=torch.int64)
    for row, filled in zip(rows, tokens, strict=True):
        filled[longest - len(row) :] = row
    if all(len(row) == longest for row in rows):
        return tokens, None
    lengths = torch.tensor([len(row) for row in rows], device=tokens.device)
    return tokens, torch.arange(longest, device=tokens.device) >= longest - lengths[:, None]


_COLDEST = 1e-30
"""A temperature below draws as this one does; float32 has no numbers much smaller."""


def draw_tokens(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> Tensor:
    """Draw a token for each row of logits.

    Args:
        logits: (B, V).
        temperature: What logits are divided by; 0 takes the most probable token.
        top_p: Only the most probable tokens that together reach this probability are drawn.
        generator: Where random numbers come from.

    Returns:
        (B,), int64.

    Source: Holtzman et al., The Curious Case of Neural Text Degeneration, ICLR 2020 (top_p).
    """
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits.float()
    # The largest is 0 before it is divided, so that none is too small.
    probabilities = torch.softmax((logits - logits.amax(-1, keepdim=True)) / max(temperature, _COLDEST), -1)
    if top_p >= 1:
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
    probabilities, order = probabilities.sort(-1, descending=True)
    before = probabilities.cumsum(-1) - probabilities
    drawn = torch.multinomial(probabilities.masked_fill(before >= top_p, 0), 1, generator=generator)
    return order.gather(1, drawn).squeeze(1)


def check_drawing(length: int | None, temperature: float, top_p: float, seed: int | None) -> None:
    """Refuse what no tokens can be drawn by.

    Raises:
        ConfigError: With the name of the argument.
    """
    if length is not None and (type(length) is not int or length < 0):
        raise ConfigError(f"length must be a whole number from 0 up or None for no end, got {shortened(length)}.")
    if not is_number(temperature) or not is_finite(temperature) or temperature < 0:
        raise ConfigError(f"temperature must be a finite number from 0 up, got {shortened(temperature)}.")
    if not is_number(top_p) or not 0 < top_p <= 1:
        raise ConfigError(f"top_p is a probability above 0 and at most 1, got {shortened(top_p)}.")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
        raise ConfigError(f"seed must be a whole number from 0 to below 2^63 or None, got {shortened(seed)}.")


def continue_tokens(
    network: nn.Module,
    tokens: Tensor,
    mask: Tensor | None,
    length: int | None,
    draw: Callable[[Tensor], Tensor],
    begin: Callable[[Any], Callable[[Tensor], Tensor]],
) -> Iterator[Tensor]:
    """Read prompts (B, T) and go on drawing tokens (B,) until there are ``length`` of them.

    Args:
        network: Called with tokens, state and mask; gives logits and state.
        tokens: (B, T), as :func:`padded_prompts` gives them.
        mask: (B, T), likewise.
        length: Tokens to draw; None for no end.
        draw: Chooses tokens (B,) from logits (B, V).
        begin: Takes the state after the prompts and gives what computes logits (B, V) from the next tokens (B,).
    """
    if length == 0:
        return
    with torch.inference_mode():
        with without_dropout(network):
            logits, state = _read_in_chunks(network, tokens, mask)
        drawn = draw(logits)
        step = begin(state)
    count = 1
    yield drawn
    while length is None or count < length:
        # Who asks for the next token must not find itself in inference mode in between.
        with torch.inference_mode():
            drawn = draw(step(drawn))
        count += 1
        yield drawn


def step_by_calls(network: nn.Module, state: Any) -> Callable[[Tensor], Tensor]:
    """Make what calls the network for one token after the other and carries the state on."""
    held = [state]

    def step(tokens: Tensor) -> Tensor:
        with without_dropout(network):
            logits, held[0] = network(tokens[:, None], held[0])
        return logits[:, -1]

    return step


_CHUNK = 1024
"""Positions of a prompt read at once, so that long prompts need no more memory than this."""


def _read_in_chunks(network: nn.Module, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Any]:
    state = None
    for first in range(0, tokens.shape[1], _CHUNK):
        part = slice(first, first + _CHUNK)
        logits, state = network(tokens[:, part], state, None if mask is None else mask[:, part])
    return logits[:, -1], state


@contextlib.contextmanager
def without_dropout(network: nn.Module) -> Iterator[None]:
    """Switch to evaluation and back again; modules that were in it stay in it."""
    learning = [module for module in network.modules() if module.training] if network.training else []
    for module in learning:
        module.training = False
    try:
        yield
    finally:
        for module in learning:
            module.training = True
