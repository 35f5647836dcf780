"""What language models cost: tokens a second in training and while they continue a text, and what they carry on.

Axes: B passages, T tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.errors import ConfigError
from focalnets.machine.timing import Timing, interleave, spread
from focalnets.models.sequence import FocalLanguageModel, LanguageState, begin_steps
from focalnets.training.language_recipes import language
from focalnets.training.optimization import build_optimizer

__all__ = ["LanguageSpeed", "SpeedSettings", "measure_speeds", "state_bytes"]

_CHUNK = 1024
"""Tokens of a prompt read at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedSettings:
    """What is timed.

    Attributes:
        context_length, batch: Tokens of a passage, and passages, of a training step.
        lengths: Tokens read before a text is continued.
        tokens: That are then drawn in each turn.
        budget_s: Time for the training steps of all networks together [s].
        rounds: Turns of each network at each length.

    Raises:
        ConfigError: If a number is out of range.
    """

    context_length: int = 256
    batch: int = 8
    lengths: tuple[int, ...] = (256, 2048)
    tokens: int = 64
    budget_s: float = 20.0
    rounds: int = 5

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise ConfigError(f"lengths must be whole numbers from 1 up, got {list(self.lengths)}.")
        for name in ("context_length", "batch", "tokens", "rounds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be a whole number from 1 up, got {getattr(self, name)}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageSpeed:
    """What one network costs.

    Attributes:
        training: Tokens a second in training steps: ``median``, ``p20`` and ``p80``.
        generation: Tokens a second of one text that is continued, by the tokens read before; the same three.
        state_bytes: What is carried from token to token, by the tokens read before.
    """

    training: Mapping[str, float]
    generation: Mapping[int, Mapping[str, float]]
    state_bytes: Mapping[int, int]


def state_bytes(state: Any) -> int:
    """Count the bytes of all tensors of a state."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    return 0 if state is None else sum(map(state_bytes, state))


def measure_speeds(networks: Mapping[str, FocalLanguageModel], settings: SpeedSettings) -> dict[str, LanguageSpeed]:
    """Time networks side by side, in rounds in which each has one turn.

    Args:
        networks: By name, on the device where they are timed; their weights stay as they are.
        settings: What is timed.
    """
    steps = {name: _training_step(network, settings) for name, network in networks.items()}
    timing = Timing(settings.budget_s, fewest=3, most=20, turn_s=0.0)
    samples = interleave({name: step for name, (step, _) in steps.items()}, timing)
    for _, finish in steps.values():
        finish()
    tokens = settings.batch * settings.context_length
    generation: dict[str, dict[int, Mapping[str, float]]] = {name: {} for name in networks}
    carried: dict[str, dict[int, int]] = {name: {} for name in networks}
    for length in settings.lengths:
        speeds: dict[str, list[float]] = {name: [] for name in networks}
        states = {name: _read(network, length) for name, network in networks.items()}
        for name, state in states.items():
            carried[name][length] = state_bytes(state)
        order = random.Random(0)
        for _ in range(settings.rounds):
            for name in order.sample(list(networks), len(networks)):
                speeds[name].append(_continue(networks[name], states[name], settings.tokens))
        for name, some in speeds.items():
            generation[name][length] = spread(some)
    return {
        name: LanguageSpeed(
            training=spread([tokens / seconds for seconds in samples[name]]),
            generation=generation[name],
            state_bytes=carried[name],
        )
        for name in networks
    }


def _training_step(
    network: FocalLanguageModel, settings: SpeedSettings
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Make a step that leaves the weights as they are, and what puts the network back."""
    weight, was_training = network.embedding.weight, network.training
    shape = (settings.batch, settings.context_length + 1)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(network.config.vocabulary_size, shape, generator=generator).to(weight.device)
    tokens, targets = drawn[:, :-1], drawn[:, 1:].flatten()
    optimizer = build_optimizer(network, language().replace(weight_decay=0.0))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    network.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(tokens)[0].flatten(0, 1), targets).backward()
        optimizer.step()
        _wait_for(weight)

    def finish() -> None:
        optimizer.zero_grad(set_to_none=True)
        network.train(was_training)

    return step, finish


@torch.inference_mode()
def _read(network: FocalLanguageModel, length: int) -> LanguageState:
    """Read a text of random tokens; the last one alone, as in continuing, so that the state is what goes on then."""
    weight = network.embedding.weight
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(network.config.vocabulary_size, (1, length), generator=generator).to(weight.device)
    network.eval()
    state: LanguageState | None = None
    parts: Iterable[Tensor] = (*tokens[:, :-1].split(_CHUNK, 1), tokens[:, -1:])
    for part in parts:
        if part.shape[1]:
            _, state = network(part, state)
    assert state is not None
    return state


@torch.inference_mode()
def _continue(network: FocalLanguageModel, state: LanguageState, tokens: int) -> float:
    """Continue a text by its likeliest tokens; returns tokens a second."""
    weight = network.embedding.weight
    step = begin_steps(network, state)
    logits = step(torch.zeros(1, dtype=torch.int64, device=weight.device))
    _wait_for(weight)
    begun = time.perf_counter()
    for _ in range(tokens):
        logits = step(logits.argmax(-1))
    _wait_for(weight)
    return tokens / max(time.perf_counter() - begun, 1e-9)


def _wait_for(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
