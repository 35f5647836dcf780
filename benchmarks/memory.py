"""Peak memory of inference and of a training step: ``python -m benchmarks.memory [--quick]``."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.exported import EXPORTS_VARIABLE, exports_folder
from benchmarks.measure import (
    Absent,
    Contender,
    DisagreementError,
    Target,
    check_agreement,
    describe_case,
    own_tolerances,
)
from benchmarks.peers import INFERENCE, TOLERANCES, Peer, drawn_network, network_config, network_export
from benchmarks.trainers import TOLERANCES as TRAINING_TOLERANCES
from benchmarks.trainers import TRAINING

__all__ = ["METHOD", "TOPIC", "describe_memory", "run_worker"]

METHOD = (
    "Every contender runs alone in a process of its own: it first does the same on images of 64 px, which loads code "
    "and makes what is made once; then the peak of the resident size during one call is taken, less the resident size "
    "of the idle process before. Weights, code, the batch of images and, in training, the state of AdamW are there "
    "before and do not count; activations, workspaces and gradients do."
)

_EXPORTED = ("OpenVINO", "ONNX Runtime")

_TABLES: dict[str, Mapping[str, Peer]] = {"inference": INFERENCE, "training": TRAINING}
_TOLERANCES = {"inference": TOLERANCES, "training": TRAINING_TOLERANCES}

Outcome = dict[str, Any]


def run_worker(contender: str, jobs: Sequence[dict[str, Any]], size: Size) -> list[Outcome] | Absent:
    """Do jobs in a process of their own, in order.

    Args:
        contender: Name in :data:`benchmarks.peers.INFERENCE` or ``TRAINING``.
        jobs: Each with ``task`` (``"inference"`` or ``"training"``), ``batch`` and ``side_px``.
        size: Of the network.

    Returns:
        One outcome a job, see :mod:`benchmarks.memory_worker`, or why there is none.
    """
    table = _TABLES[jobs[0]["task"]]
    reason = table[contender].absent(contender, size)
    if reason is not None:
        return reason
    if contender in _EXPORTED:
        network_export(drawn_network(network_config(size)))
    root = Path(__file__).parents[1]
    environment = {
        **os.environ,
        EXPORTS_VARIABLE: str(exports_folder()),
        "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)]),
    }
    request = {
        "threads": torch.get_num_threads(),
        "jobs": [{**job, "contender": contender, "size": size} for job in jobs],
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory_worker"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=environment,
        cwd=root,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Absent(contender, "failed", f"Its process ended with status {done.returncode}: {last}")
    return json.loads(done.stdout)


def describe_memory(
    name: str,
    outcomes: dict[str, Outcome | Absent],
    *,
    task: str,
    targets: Sequence[Target],
    details: dict[str, Any],
) -> dict[str, Any]:
    """Check that outcomes of one job agree, and describe them.

    Raises:
        DisagreementError: If a contender does not compute what timm, or in its absence the first one, does.
    """
    present = {key: outcome for key, outcome in outcomes.items() if not isinstance(outcome, Absent)}
    if not present:
        raise DisagreementError("no contender could be measured; nothing is reported.")
    judge = present.get("timm") or next(iter(present.values()))
    allowed, tolerance = _TOLERANCES[task], _TOLERANCES[task]["float32"]
    contenders = [
        Contender(key, _nothing, functools.partial(_tensors, outcome), allowed[_TABLES[task][key].precision])
        for key, outcome in present.items()
    ]
    errors, _ = check_agreement(contenders, _tensors(judge), tolerance)
    case = describe_case(
        name,
        "bytes",
        {key: [outcome["added_bytes"]] for key, outcome in present.items()},
        [outcome for outcome in outcomes.values() if isinstance(outcome, Absent)],
        errors,
        baseline="timm",
        tolerance=tolerance,
        tolerances=own_tolerances(contenders, tolerance),
        targets=targets,
        details=details,
    )
    for row in case["contenders"]:
        if row["name"] in present:
            row |= {key: value for key, value in present[row["name"]].items() if key != "outputs"}
    return case


def _nothing() -> None:
    """Do nothing: what is measured here is not time."""


def _tensors(outcome: Outcome) -> dict[str, Tensor]:
    return {key: torch.tensor(values, dtype=torch.float64) for key, values in outcome["outputs"].items()}


def measure(
    task: str, names: Sequence[str], batch: int, side_px: int, targets: Sequence[Target], size: Size
) -> list[dict[str, Any]]:
    """Measure the peak of one job for every contender."""
    outcomes: dict[str, Outcome | Absent] = {}
    for contender in names:
        done = run_worker(contender, [{"task": task, "batch": batch, "side_px": side_px}], size)
        outcomes[contender] = done if isinstance(done, Absent) else done[0]
    case = describe_memory(
        _name(task, batch, side_px),
        outcomes,
        task=task,
        targets=targets if size == "full" else (),
        details={"batch": batch, "side_px": side_px, "dtype": "float32"},
    )
    return [case]


def _name(task: str, batch: int, side_px: int) -> str:
    return f"{'training step' if task == 'training' else task}, {side_px} px, batch {batch}"


_FAST = "focalnets accelerated"
_TWO = ("focalnets", "timm")


def cases(size: Size) -> list[Case]:
    """List inference on large images and training on two."""
    if size == "full":
        plans: list[tuple[str, Sequence[str], int, int, list[Target]]] = [
            (
                "inference",
                ("focalnets", _FAST, f"{_FAST}, bfloat16", "timm", "OpenVINO", "ONNX Runtime"),
                1,
                2048,
                [Target(_FAST, "timm", at_most=0.33)],
            ),
            ("inference", (_FAST, "timm"), 1, 4096, [Target(_FAST, "timm", at_most=0.33)]),
            (
                "training",
                (
                    *("focalnets", "focalnets, blocks recomputed", "focalnets bfloat16"),
                    *("timm", "timm, blocks recomputed", "timm bfloat16"),
                ),
                2,
                512,
                [
                    Target("focalnets", "timm", at_most=0.5),
                    Target("focalnets, blocks recomputed", "timm", at_most=0.3),
                ],
            ),
        ]
    elif size == "quick":
        plans = [("inference", (*_TWO, _FAST), 1, 512, []), ("training", _TWO, 1, 224, [])]
    else:
        plans = [("inference", _TWO, 1, 96, []), ("training", _TWO, 2, 96, [])]
    listed = []
    for task, names, batch, side_px, targets in plans:
        run = functools.partial(measure, task, names, batch, side_px, targets, size)
        expected_s = (15 if size == "full" else 5) * len(names) + (45 if side_px == 4096 else 0)
        listed.append(Case(_name(task, batch, side_px), expected_s, run))
    return listed


TOPIC = Topic(
    "memory",
    "Peak memory of FocalNet-T (large receptive field), float32 unless said otherwise, random weights shared by all.",
    METHOD + " One measurement each.",
    cases,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
