"""Classifying images with FocalNet-T and the network in the package: ``python -m benchmarks.inference [--quick]``."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.machine import missing_for
from benchmarks.measure import Target, Timing, time_case
from benchmarks.peers import INFERENCE, TOLERANCES, drawn_network, exact_logits, inference_contender, network_config
from focalnets.weights.loading import load_model
from focalnets.weights.shipped import DEFAULT

__all__ = ["TOPIC"]

_FAST = "focalnets accelerated"
_BFLOAT16, _INT8, _COMPILED = (f"{_FAST}, {how}" for how in ("bfloat16", "int8", "compiled"))

_EVERYBODY = tuple(name for name in INFERENCE if name != "PyTorch")
_FEW = ("focalnets", _FAST, _COMPILED, _BFLOAT16, _INT8, "timm", "timm bfloat16", "OpenVINO", "OpenVINO bfloat16")
_OURS = ("PyTorch", "focalnets", _FAST, _COMPILED, _BFLOAT16, _INT8)


@dataclasses.dataclass(frozen=True)
class Work:
    """What is classified: a batch of square images, by FocalNet-T, or by the network in the package (``shipped``)."""

    batch: int
    side_px: int
    names: Sequence[str]
    budget_s: float = 0.0
    setup_s: float = 0.0
    shipped: bool = False
    targets: Sequence[Target] = ()

    @property
    def name(self) -> str:
        """As printed."""
        return f"inference{' of pico' if self.shipped else ''}, {self.side_px} px, batch {self.batch}"


def _targets(
    baseline: str, float32: float, bfloat16: float, int8: float | None = None, amx: bool = True
) -> list[Target]:
    """List what the engine should reach; with ``amx`` in bfloat16 on processors that have it."""
    lacks_amx = missing_for("amx") if amx else missing_for("amx", "bfloat16")
    wanted = [
        Target(_FAST, baseline, at_least=float32),
        Target(_BFLOAT16, baseline, at_least=bfloat16, missing=lacks_amx),
    ]
    if int8 is not None:
        wanted.append(Target(_INT8, baseline, at_least=int8, missing=missing_for("int8")))
    return [*wanted, Target(_FAST, "focalnets", at_most=2.0, of="error")]


def _full() -> list[Work]:
    lacks_amx = missing_for("amx")
    beside_others = [
        Target(_BFLOAT16, "OpenVINO bfloat16", at_least=1.5, missing=lacks_amx),
        Target(_BFLOAT16, "timm bfloat16", at_least=2.9, missing=lacks_amx),
        Target(_COMPILED, _FAST, at_least=1.0),
        Target(_COMPILED, "timm compiled", at_least=1.0),
    ]
    pico = _targets("PyTorch", 1.5, 3.0, amx=False)
    return [
        Work(8, 224, _EVERYBODY, 50, 230, targets=[*_targets("timm", 1.85, 6.0, 4.2), *beside_others]),
        Work(1, 1024, _FEW, 60, 60, targets=_targets("timm", 1.85, 6.3, 4.3)),
        Work(1, 224, _FEW, 20, 30, targets=_targets("timm", 1.7, 4.8)),
        Work(1, 128, _OURS, 8, 20, shipped=True, targets=pico),
        Work(32, 128, _OURS, 15, 20, shipped=True, targets=pico),
    ]


def measure(work: Work, timing: Timing, size: Size) -> list[dict[str, Any]]:
    """Time one batch of random images."""
    ours = load_model(DEFAULT).eval() if work.shipped else drawn_network(network_config(size))
    images = torch.randn(work.batch, 3, work.side_px, work.side_px, generator=torch.Generator().manual_seed(1))
    outcome = time_case(
        work.name,
        [inference_contender(contender, ours, images, size) for contender in work.names],
        baseline="PyTorch" if work.shipped else "timm",
        tolerance=TOLERANCES["float32"],
        timing=timing,
        expected=exact_logits(ours, images),
        targets=work.targets,
        details={"batch": work.batch, "side_px": work.side_px, "dtype": "float32"},
    )
    return [outcome]


def cases(size: Size) -> list[Case]:
    """List batches at the training resolution, one large image, and the network in the package at its own size."""
    if size == "full":
        works = _full()
    else:
        shapes = {"quick": ((1, 224), (1, 320), (1, 128)), "tiny": ((2, 64), (1, 96), (2, 64))}[size]
        works = [
            Work(*shape, names, shipped=names is _OURS)
            for shape, names in zip(shapes, (_EVERYBODY, _FEW, _OURS), strict=True)
        ]
    listed = []
    for work in works:
        timing = Timing(work.budget_s) if size == "full" else Timing(0.0, fewest=3, turn_s=0.01)
        expected_s = work.budget_s + work.setup_s if size == "full" else 4
        listed.append(Case(work.name, expected_s, functools.partial(measure, work, timing, size)))
    return listed


TOPIC = Topic(
    "inference",
    "Classification with FocalNet-T (large receptive field) with random weights shared by all, and with the small "
    "network in the package.",
    "One call classifies one batch that lies ready in memory, in the dtype that the contender takes. Accelerated: "
    "focalnets.accelerate(network, precision), in float32 unless the name says otherwise. Compiled: torch.compile, of "
    "timm with frozen weights. timm bfloat16: the whole network in bfloat16. OpenVINO and ONNX Runtime run timm's "
    "network, exported to ONNX and optimised by them for the CPU. PyTorch: our network by PyTorch's own operators "
    "only. Errors are relative to float64.",
    cases,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
