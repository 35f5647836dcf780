"""Causal focal modulation beside attention: generation, its state, and training: ``python -m benchmarks.causal``.

Axes: B sequences, T tokens.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.markdown import table
from benchmarks.measure import Contender, Target, Timing, time_case
from focalnets.compare.language.speed import state_bytes
from focalnets.models.sequence import FocalLanguageModel, LanguageState, begin_steps
from focalnets.models.sequence_config import language_variant

__all__ = ["COMMANDS", "DESCRIPTION", "TOPIC", "format_tables"]

COMMANDS = ("python -m benchmarks.causal",)

DESCRIPTION = """\
Networks of 0.8 M parameters, float32, random weights. Generation: one sequence, after 256 and after 8,192 tokens,
each token through one call of the C++ library, or by calling the layers. Training: forward and backward pass on two
sequences of 4,096 tokens. Attention has rotary positions; it trains by PyTorch's scaled_dot_product_attention. Ratios
say how many times as fast as the network in the next column, within rounds."""

TOLERANCE = 1e-4
"""Of logits, and of the gradients of all weights, relative."""

_SHORT, _LONG = 256, 8192
"""Tokens read before those that are timed."""

_PEERS = {
    "focalnets": {},
    "focalnets, three time scales": {"running": "ema", "scales": 3, "gate_heads": 4},
    "focalnets, gated": {"running": "gated"},
    "attention": {"attention_every": 1},
}
"""What differs from ``focal_language_small``: with ``attention_every`` 1 every block attends, with rotary positions, by
PyTorch's scaled_dot_product_attention."""


def build(fields: Mapping[str, Any], size: Size, backend: str | None = None) -> FocalLanguageModel:
    """Draw a network of 0.8 M parameters, or a miniature."""
    torch.manual_seed(0)
    small = {"dim": 16, "depth": 2} if size == "tiny" else {}
    config = language_variant("focal_language_small").config.replace(**{**fields, **small})
    return FocalLanguageModel(config, backend=backend).eval()


@torch.inference_mode()
def read(network: FocalLanguageModel, length: int) -> LanguageState:
    """Read random tokens, a thousand at once; returns the state after them."""
    tokens = torch.randint(network.config.vocabulary_size, (1, length), generator=torch.Generator().manual_seed(1))
    state: LanguageState | None = None
    for piece in tokens.split(1024, 1):
        _, state = network(piece, state)
    assert state is not None
    return state


@torch.inference_mode()
def _generate(network: FocalLanguageModel, state: LanguageState, count: int) -> Tensor:
    step, token = begin_steps(network, state), torch.zeros(1, dtype=torch.int64)
    for _ in range(count):
        logits = step(token)
        token = logits.argmax(-1)
    return logits.clone()


@torch.inference_mode()
def _generate_by_layers(network: FocalLanguageModel, state: LanguageState, count: int) -> Tensor:
    token = torch.zeros(1, 1, dtype=torch.int64)
    for _ in range(count):
        logits, state = network(token, state)
        token = logits[:, -1:].argmax(-1)
    return logits[:, -1]


def measure_generation(size: Size, timing: Timing) -> list[dict[str, Any]]:
    """Time tokens of one sequence after few and after many others, in one process; a case a network."""
    short, long, count = (8, 40, 3) if size == "tiny" else (_SHORT, _LONG, 64)
    cases = []
    for name, fields in _PEERS.items():
        network = build(fields, size)
        states = {length: read(network, length) for length in (short, long)}
        contenders = [
            Contender(f"{name}, after {length:,}", functools.partial(_generate, network, states[length], count), None)
            for length in (short, long)
        ]
        for length in (short, long):  # the fused step against the layers
            expected = {"logits": _generate_by_layers(network, states[length], count)}
            found = functools.partial(_generate, network, states[length], count)
            contenders.append(_checked(f"layers, after {length:,}", network, states[length], count, found, expected))
        goal = Target(f"{name}, after {long:,}", f"{name}, after {short:,}", at_least=0.9)
        cases.append(
            time_case(
                f"generation, one sequence, {name}",
                contenders,
                baseline=f"{name}, after {short:,}",
                tolerance=TOLERANCE,
                timing=timing,
                expected={"agreement": torch.ones(1)},
                targets=[goal] if name != "attention" and size == "full" else (),
                details={
                    "tokens": count,
                    "parameters": sum(parameter.numel() for parameter in network.parameters()),
                    "state_bytes": {str(length): state_bytes(state) for length, state in states.items()},
                },
            )
        )
    return cases


def _checked(
    name: str,
    network: FocalLanguageModel,
    state: LanguageState,
    count: int,
    found: Callable[[], Tensor],
    expected: Mapping[str, Tensor],
) -> Contender:
    """Make a contender of the layers called one by one, whose logits the fused step must give too."""

    def agreement() -> dict[str, Tensor]:
        difference = (found() - expected["logits"]).norm() / expected["logits"].norm()
        return {"agreement": 1 + difference.view(1)}

    return Contender(name, functools.partial(_generate_by_layers, network, state, count), agreement)


def measure_training(size: Size, timing: Timing) -> list[dict[str, Any]]:
    """Time forward and backward pass on sequences of 4,096 tokens."""
    batch, length = (2, 24) if size == "tiny" else (2, 4096)
    tokens = torch.randint(65, (batch, length + 1), generator=torch.Generator().manual_seed(2))

    def gradients(network: FocalLanguageModel) -> dict[str, Tensor]:
        network.zero_grad(set_to_none=True)
        logits, _ = network(tokens[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}

    networks = {name: build(fields, size) for name, fields in _PEERS.items()}
    networks["focalnets, plain PyTorch"] = build({}, size, "reference")
    contenders = [
        Contender(
            name,
            functools.partial(gradients, network),
            functools.partial(gradients, network) if name in ("focalnets", "focalnets, plain PyTorch") else None,
        )
        for name, network in networks.items()
    ]
    expected = {name: gradient.clone() for name, gradient in gradients(networks["focalnets, plain PyTorch"]).items()}
    parameters = {name: sum(weight.numel() for weight in network.parameters()) for name, network in networks.items()}
    outcome = time_case(
        f"forward and backward, {length:,} tokens, batch {batch}",
        contenders,
        baseline="attention",
        tolerance=10 * TOLERANCE,
        timing=timing,
        expected=expected,
        targets=[Target("focalnets", "attention", at_least=2.0)] if size == "full" else (),
        details={"tokens": batch * length, "parameters": parameters},
    )
    return [outcome]


def cases(size: Size) -> list[Case]:
    """List generation and training."""
    budget_s = {"full": 30.0, "quick": 0.0, "tiny": 0.0}[size]
    timing = Timing(budget_s) if size == "full" else Timing(0.0, fewest=3, turn_s=0.01)
    listed: Sequence[tuple[str, float, Callable[[Size, Timing], list[dict[str, Any]]]]] = (
        ("generation", 4 * budget_s, measure_generation),
        ("training", 3 * budget_s, measure_training),
    )
    return [Case(name, expected_s + 5, functools.partial(run, size, timing)) for name, expected_s, run in listed]


TOPIC = Topic(
    "causal",
    "Causal focal modulation and attention in language models of 0.8 M parameters, float32, random weights.",
    "Generation: tokens of one sequence, each the likeliest after those before, from a state that was read before the "
    "clock starts and is taken over within its time. Both kinds of blocks go through one call of the C++ library a "
    "token. Agreement is checked between that call and the layers called one by one. Training: forward pass, "
    "cross-entropy and backward pass; attention has rotary positions and PyTorch's scaled_dot_product_attention. "
    "Agreement is checked on the gradient of every weight against the plain PyTorch form.",
    cases,
)


def format_tables(content: Mapping[str, Any]) -> str:
    """Write how many tokens a second each network generates and trains on, from the file of results, in Markdown."""
    rows = [["work", "network", "tokens a second (20 to 80 %)", "ratio (20 to 80 %)", "against", "state [KiB]"]]
    for case in content["cases"]:
        states = case.get("state_bytes", {})
        for row in case["contenders"]:
            rate, ratio = [1 / row[key] for key in ("median", "p80", "p20")], row["ratio"]
            held = next((size for length, size in states.items() if row["name"].endswith(f" {int(length):,}")), None)
            rows.append(
                [
                    case["name"], row["name"],
                    "{:,.0f} ({:,.0f} to {:,.0f})".format(*(case["tokens"] * value for value in rate)),
                    f"{ratio['median']:.2f} ({ratio['p20']:.2f} to {ratio['p80']:.2f})", case["baseline"],
                    "" if held is None else f"{held / 1024:,.0f}",
                ]
            )  # fmt: skip
    return table(rows)


if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
