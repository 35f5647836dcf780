"""Classifying images with FocalNet-T: ``python -m benchmarks.inference [--quick]``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.measure import Target, Timing, time_case
from benchmarks.peers import INFERENCE, drawn_network, inference_contender, network_config

__all__ = ["TOLERANCE", "TOPIC"]

TOLERANCE = 1e-4
"""Of the logits, relative: about a hundred times what float32 rounding does, far below what a lost path does."""

_EAGER = tuple(name for name in INFERENCE if not name.endswith("compiled"))


def measure(
    name: str, batch: int, side_px: int, names: Sequence[str], targets: Sequence[Target], timing: Timing, size: Size
) -> list[dict[str, Any]]:
    """Time one batch of random images (batch, 3, side_px, side_px)."""
    ours = drawn_network(network_config(size))
    images = torch.randn(batch, 3, side_px, side_px, generator=torch.Generator().manual_seed(1))
    contenders = [inference_contender(contender, ours, images, size) for contender in names]
    outcome = time_case(
        name,
        contenders,
        baseline="timm",
        tolerance=TOLERANCE,
        timing=timing,
        targets=targets,
        details={"batch": batch, "side_px": side_px, "dtype": "float32"},
    )
    return [outcome]


def cases(size: Size) -> list[Case]:
    """List one batch at the training resolution, with all contenders; one image of 1024 px, not compiled."""
    shapes = {"full": ((8, 224), (1, 1024)), "quick": ((1, 224), (1, 320)), "tiny": ((2, 64), (1, 96))}[size]
    budget_s = {"full": 60.0, "quick": 0.0, "tiny": 0.0}[size]
    timing = Timing(budget_s) if size == "full" else Timing(budget_s, fewest=3, turn_s=0.01)
    wanted = (
        [
            Target("focalnets", "timm", at_least=1.25),
            Target("focalnets compiled", "timm", at_least=1.45),
            Target("focalnets compiled", "timm compiled", at_least=1.0),
        ],
        [Target("focalnets", "timm", at_least=1.35)],
    )
    listed = []
    for shape, names, targets, setup_s in zip(shapes, (tuple(INFERENCE), _EAGER), wanted, (180, 30), strict=True):
        name = f"inference, {shape[1]} px, batch {shape[0]}"
        goals = targets if size == "full" else []
        run = functools.partial(measure, name, *shape, names, goals, timing, size)
        listed.append(Case(name, budget_s + (setup_s if size == "full" else 3), run))
    return listed


TOPIC = Topic(
    "inference",
    "Classification with FocalNet-T (large receptive field), float32, random weights shared by all.",
    "One call classifies one batch that lies ready in memory. Compiled: torch.compile with frozen weights. OpenVINO "
    "and ONNX Runtime run timm's network, exported to ONNX and optimised by them for the CPU in float32.",
    cases,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
