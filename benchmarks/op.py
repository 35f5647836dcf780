"""Focal aggregation alone, from the projected tokens to the modulator's input: ``python -m benchmarks.op [--quick]``.

Axes: B batch, H W height and width [tokens], C channels, L focal levels.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.aggregation import Problem, Setting, copy_of_bytes, own_both, own_forward, peer_both, peer_forward
from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.measure import Absent, Contender, Target, Timing, time_case
from benchmarks.peers import network_config

__all__ = ["TOPIC"]

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 3e-2}
"""Relative to the reference in float32; bfloat16 has 8 bits, and peers round every level to them."""


def measure(
    group: str,
    column: str,
    setting: Setting,
    backward: bool,
    targets: Sequence[Target],
    timing: Timing,
    size: Size,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[dict[str, Any]]:
    """Time the forward pass, or forward and backward pass, of one aggregation."""
    problem = Problem(setting, device, dtype)
    own = own_both if backward else own_forward
    contenders: list[Contender | Absent] = [
        own("focalnets", None, problem),
        own("focalnets reference", "reference", problem),
    ]
    eager = ("timm", "timm channels_last")
    if backward:
        contenders += [peer_both(peer, problem, size) for peer in eager]
    elif dtype == torch.float32:
        everyone = (*eager, "timm compiled", "transformers", "OpenVINO", "ONNX Runtime")
        contenders += [peer_forward(peer, problem, size) for peer in everyone]
    else:
        contenders += [peer_forward(peer, problem, size) for peer in (*eager, "timm compiled", "transformers")]
    if not backward:
        contenders.append(copy_of_bytes(problem))
    judge = own("reference in float32", "reference", problem.in_float32())
    assert judge.outputs is not None
    details = {**dataclasses.asdict(setting), "backward": backward, "dtype": str(dtype)[6:], "device": device}
    outcome = time_case(
        f"{group}, {column}",
        contenders,
        baseline="timm",
        tolerance=TOLERANCES[dtype],
        timing=timing,
        expected={key: output.clone() for key, output in judge.outputs().items()},
        targets=targets,
        details={"group": group, "column": column, **details, "necessary_bytes": problem.necessary_bytes()},
    )
    return [outcome]


def settings(size: Size, side_px: int, batch: int) -> list[Setting]:
    """List the aggregation of every stage of the network for a batch of square images."""
    config = network_config(size)
    return [
        Setting(batch, side_px // stride, channels, config.kernel_sizes(stage))
        for stage, (stride, channels) in enumerate(zip(config.strides, config.dims, strict=True))
    ]


def cases(size: Size) -> list[Case]:
    """List every stage: forward at two resolutions, forward with backward at the lower; on CUDA too if there is one."""
    (low_batch, low_px), (high_batch, high_px) = {
        "full": ((8, 224), (1, 1024)),
        "quick": ((1, 224), (1, 320)),
        "tiny": ((2, 64), (1, 96)),
    }[size]
    forward = [Target("focalnets", "timm", at_least=3.3), Target("focalnets", "focalnets reference", at_least=4.0)]
    both = [Target("focalnets", "timm", at_least=5.0)]
    plans = [
        ("forward", False, low_batch, low_px, forward),
        ("forward", False, high_batch, high_px, forward),
        ("forward and backward", True, low_batch, low_px, both),
    ]
    budget_s = {"full": 8.0, "quick": 0.5, "tiny": 0.0}[size]
    timing = Timing(budget_s) if size == "full" else Timing(0.0, fewest=3, turn_s=0.01)
    listed = []
    for what, backward, batch, side_px, targets in plans:
        for stage, setting in enumerate(settings(size, side_px, batch)):
            group, column = f"{what}, {side_px} px, batch {batch}", f"stage {stage + 1}"
            goals = targets if size == "full" else []
            run = functools.partial(measure, group, column, setting, backward, goals, timing, size)
            setup_s = 0 if size != "full" or backward else 12
            listed.append(Case(f"{group}, {column}", budget_s + setup_s, run))
    if torch.cuda.is_available():
        listed += cuda_cases(size)
    return listed


def cuda_cases(size: Size, device: str = "cuda") -> list[Case]:
    """List every stage in bfloat16, forward and with backward, at resolutions with about as many pixels a batch."""
    shapes = {
        "full": ((256, 224), (48, 512), (12, 1024), (3, 2048)),
        "quick": ((32, 224), (1, 1024)),
        "tiny": ((2, 64),),
    }[size]
    timing = Timing(3.0) if size == "full" else Timing(0.0, fewest=3, turn_s=0.01)
    listed = []
    for batch, side_px in shapes:
        for what, backward in (("forward", False), ("forward and backward", True)):
            group = f"{device}, bfloat16, {what}, {side_px} px, batch {batch}"
            for stage, setting in enumerate(settings(size, side_px, batch)):
                column = f"stage {stage + 1}"
                run = functools.partial(
                    measure, group, column, setting, backward, (), timing, size, device=device, dtype=torch.bfloat16
                )
                listed.append(Case(f"{group}, {column}", timing.budget_s + (8 if size == "full" else 1), run))
    return listed


def not_run() -> list[tuple[str, str]]:
    """List the CUDA cases where there is no device."""
    if torch.cuda.is_available():
        return []
    return [("CUDA, bfloat16, 224 to 2048 px", "No CUDA device is visible to PyTorch on this machine.")]


TOPIC = Topic(
    "op",
    "Focal aggregation alone (depthwise convolutions, GELU, gates, mean), shapes of FocalNet-T with 3 levels.",
    "From the projected tokens, each in the layout in which its network has them, to the input of the modulator's "
    "projection; both projections are left out. With backward: the gradients of context, gates and kernels for a given "
    "upstream gradient. OpenVINO and ONNX Runtime run timm's layers, exported. The copy reads and writes as many bytes "
    "as the forward pass must: context, gates and result once each. Agreement is checked against the reference backend "
    "in float32.",
    cases,
    not_run,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
