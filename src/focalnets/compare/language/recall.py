"""Multi-query associative recall (MQAR): whether a kind of network can look up what a text said before.

A text begins with pairs of a key and a value; later each key comes again, at any place and in any order, and its value
is to be told there. Who knows the pairs but not which belong together is right in one of ``pairs`` cases.

Axes: B texts, T tokens, P pairs.

Source: Arora et al., Zoology, ICLR 2024. Keys come again at evenly spread places, with blanks between them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.errors import ConfigError
from focalnets.models.sequence import FocalLanguageModel
from focalnets.models.sequence_config import LanguageConfig
from focalnets.training.language_recipes import language
from focalnets.training.optimization import build_optimizer, scheduled_rates

__all__ = ["Recall", "RecallSettings", "draw_recall", "measure_recall", "recall_config"]

_NOT_ASKED = -100
_SOLVED = 0.99
"""Recall from which on no further rate is tried."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecallSettings:
    """The texts, and the small network that learns from them.

    Attributes:
        pairs: P.
        length: Tokens T of a text; at least 3 P.
        vocabulary: Tokens that there are: half of them, less the blank, are keys, the others values.
        dim, depth: Channels and blocks of the network.
        steps: Of the training; 0 leaves the measurement out.
        batch: Texts a step.
        learning_rates: Tried in this order until one solves the task.
        texts: That are asked about afterwards.
        seed: Of weights and texts.

    Raises:
        ConfigError: If a number is out of range.
    """

    pairs: int = 4
    length: int = 32
    vocabulary: int = 32
    dim: int = 32
    depth: int = 2
    steps: int = 1000
    batch: int = 64
    learning_rates: tuple[float, ...] = (3e-3, 1e-2, 1e-3)
    texts: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("pairs", 1), ("dim", 2), ("depth", 1), ("steps", 0), ("batch", 1), ("texts", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} of the recall must be at least {least}, got {getattr(self, name)}.")
        if self.length < 3 * self.pairs:
            raise ConfigError(f"length of the recall must be at least 3 x {self.pairs} pairs, got {self.length}.")
        if self.vocabulary // 2 - 1 < self.pairs:
            raise ConfigError(f"vocabulary of the recall must be at least {2 * self.pairs + 2}, got {self.vocabulary}.")
        if not self.learning_rates or not all(rate > 0 for rate in self.learning_rates):
            raise ConfigError(f"learning_rates of the recall must be above 0, got {self.learning_rates}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recall:
    """What a kind of network recalls.

    Attributes:
        fraction: Of the keys that came again whose value it told, at its best rate.
        learning_rate: That rate.
        by_rate: The fraction at each rate that was tried.
        parameters: Of the small network.
    """

    fraction: float
    learning_rate: float
    by_rate: Mapping[float, float]
    parameters: int


def draw_recall(settings: RecallSettings, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw texts.

    Args:
        settings: What they look like.
        count: B.
        generator: Where random numbers come from.

    Returns:
        Tokens (B, T), and what follows each (B, T): the value where a key comes again, -100 elsewhere; int64.
    """
    pairs, half = settings.pairs, settings.vocabulary // 2

    def drawn(choices: int) -> Tensor:
        """Choose as many different ones as there are pairs."""
        return torch.rand(count, choices, generator=generator).argsort(1)[:, :pairs]

    keys, values = drawn(half - 1) + 1, drawn(settings.vocabulary - half) + half
    tokens = torch.zeros(count, settings.length, dtype=torch.int64)
    targets = torch.full_like(tokens, _NOT_ASKED)
    tokens[:, 0 : 2 * pairs : 2], tokens[:, 1 : 2 * pairs : 2] = keys, values
    places = drawn(settings.length - 2 * pairs) + 2 * pairs
    return tokens.scatter_(1, places, keys), targets.scatter_(1, places, values)


def recall_config(config: LanguageConfig, settings: RecallSettings) -> LanguageConfig:
    """Make the small network of the same kind: at least one of its blocks attends where one of the large one does."""
    dim = settings.dim
    return config.replace(
        vocabulary_size=settings.vocabulary,
        dim=dim,
        depth=settings.depth,
        attention_every=min(config.attention_every, settings.depth),
        attention_heads=next(
            (count for count in range(config.attention_heads, 0, -1) if dim % count == 0 and dim // count % 2 == 0), 1
        ),
        gate_heads=next(count for count in range(config.gate_heads, 0, -1) if dim % count == 0),
        dropout=0.0,
    )


def measure_recall(config: LanguageConfig, settings: RecallSettings, device: torch.device | str = "cpu") -> Recall:
    """Train small networks of one kind at several rates and ask them; other random numbers are left alone.

    Args:
        config: Of the large network.
        settings: The texts and the training.
        device: Where.
    """
    small = recall_config(config, settings)
    by_rate: dict[float, float] = {}
    for rate in settings.learning_rates:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = FocalLanguageModel(small).to(device)
        _train(network, settings, rate)
        by_rate[rate] = _ask(network, settings)
        if by_rate[rate] >= _SOLVED:
            break
    best = max(by_rate, key=by_rate.__getitem__)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Recall(fraction=by_rate[best], learning_rate=best, by_rate=by_rate, parameters=parameters)


def _train(network: FocalLanguageModel, settings: RecallSettings, rate: float) -> None:
    """Learn with the optimiser of the recipe ``language``."""
    recipe = language().replace(learning_rate=rate)
    optimizer = build_optimizer(network, recipe)
    schedule = scheduled_rates(
        optimizer, steps=settings.steps, warmup_steps=settings.steps // 20, final=recipe.final_learning_rate
    )
    generator = torch.Generator().manual_seed(settings.seed + 1)
    network.train()
    for _ in range(settings.steps):
        loss = _loss(network, *draw_recall(settings, settings.batch, generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
        optimizer.step()
        schedule.step()


def _loss(network: FocalLanguageModel, tokens: Tensor, targets: Tensor) -> Tensor:
    device = network.embedding.weight.device
    logits, _ = network(tokens.to(device))
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten().to(device), ignore_index=_NOT_ASKED)


@torch.inference_mode()
def _ask(network: FocalLanguageModel, settings: RecallSettings) -> float:
    """Measure the fraction of keys whose value is told, on texts of their own."""
    network.eval()
    tokens, targets = draw_recall(settings, settings.texts, torch.Generator().manual_seed(settings.seed + 2))
    right = asked = 0
    for some, wanted in zip(tokens.split(settings.batch), targets.split(settings.batch), strict=True):
        told = network(some.to(network.embedding.weight.device))[0].argmax(-1).cpu()
        counts = wanted != _NOT_ASKED
        right += int((told[counts] == wanted[counts]).sum())
        asked += int(counts.sum())
    return right / asked
