"""One training step of FocalNet-T: ``python -m benchmarks.training_step [--quick]``."""

from __future__ import annotations

import functools
import sys
from typing import Any

import torch

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.measure import Target, Timing, time_case
from benchmarks.peers import drawn_network, network_config
from benchmarks.trainers import TOLERANCES, TRAINING, training_contender

__all__ = ["TOPIC"]

_NOT_AT_FULL_SIZE = ("timm, blocks recomputed", "transformers")
"""They take long and are compared in memory, or were never fast."""

_TARGETS = [
    Target("focalnets", "timm", at_least=1.45),
    Target("focalnets bfloat16", "timm", at_least=2.6),
    Target("focalnets bfloat16", "timm bfloat16", at_least=2.2),
    Target("focalnets compiled", "focalnets", at_least=1.0),
]


def measure(name: str, batch: int, side_px: int, timing: Timing, size: Size) -> list[dict[str, Any]]:
    """Time steps on one batch of random images (batch, 3, side_px, side_px) with random labels."""
    ours = drawn_network(network_config(size))
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(batch, 3, side_px, side_px, generator=generator)
    labels = torch.randint(ours.config.num_classes, (batch,), generator=generator)
    names = [each for each in TRAINING if size != "full" or each not in _NOT_AT_FULL_SIZE]
    contenders = [training_contender(contender, ours, images, labels, size) for contender in names]
    outcome = time_case(
        name,
        contenders,
        baseline="timm",
        tolerance=TOLERANCES["float32"],
        timing=timing,
        targets=_TARGETS if size == "full" else (),
        details={"batch": batch, "side_px": side_px, "dtype": "float32"},
    )
    return [outcome]


def cases(size: Size) -> list[Case]:
    """List one batch at the training resolution."""
    batch, side_px = {"full": (8, 224), "quick": (1, 128), "tiny": (2, 64)}[size]
    budget_s = {"full": 70.0, "quick": 0.0, "tiny": 0.0}[size]
    name = f"training step, {side_px} px, batch {batch}"
    timing = Timing(budget_s, fewest=5) if size == "full" else Timing(budget_s, fewest=3, turn_s=0.01)
    run = functools.partial(measure, name, batch, side_px, timing, size)
    return [Case(name, budget_s + (150 if size == "full" else 8), run)]


TOPIC = Topic(
    "training_step",
    "A training step of FocalNet-T (large receptive field), random weights shared by all.",
    "One step drops the gradients, runs the forward pass, cross-entropy, the backward pass and fused AdamW at "
    "learning rate 0, which leaves the weights as they are. No stochastic depth and no dropout. bfloat16: "
    "torch.autocast, weights stay in float32. Agreement is checked on the loss and on the gradient of every weight. "
    "Blocks recomputed: the backward pass computes every block again.",
    cases,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
