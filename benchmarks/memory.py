"""Peak memory of inference and of a training step: ``python -m benchmarks.memory [--quick]``."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.inference import TOLERANCE as LOGITS_TOLERANCE
from benchmarks.measure import Absent, Contender, DisagreementError, Target, check_agreement, describe_case
from benchmarks.peers import (
    EXPORTS_VARIABLE,
    INFERENCE,
    absent,
    drawn_network,
    exports_folder,
    network_config,
    network_export,
)
from benchmarks.trainers import TRAINING
from benchmarks.training_step import TOLERANCE as GRADIENTS_TOLERANCE

__all__ = ["METHOD", "TOPIC", "describe_memory", "run_worker"]

METHOD = (
    "Every contender runs alone in a process of its own: it first does the same on images of 64 px, which loads code "
    "and makes what is made once; then the peak of the resident size during one call is taken, less the resident size "
    "of the idle process before. Weights, code, the batch of images and, in training, the state of AdamW are there "
    "before and do not count; activations, workspaces and gradients do."
)

_EXPORTED = ("OpenVINO", "ONNX Runtime")

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
    table = INFERENCE if jobs[0]["task"] == "inference" else TRAINING
    reason = absent(contender, table[contender].packages, table[contender].sizes, size)
    if reason is None and contender.endswith("compiled"):
        reason = Absent(contender, "not run", "Its peak is that of the compiler.")
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
    tolerance: float,
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
    contenders = [Contender(key, _nothing, functools.partial(_tensors, outcome)) for key, outcome in present.items()]
    errors, _ = check_agreement(contenders, _tensors(judge), tolerance)
    case = describe_case(
        name,
        "bytes",
        {key: [outcome["added_bytes"]] for key, outcome in present.items()},
        [outcome for outcome in outcomes.values() if isinstance(outcome, Absent)],
        errors,
        baseline="timm",
        tolerance=tolerance,
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
        tolerance=LOGITS_TOLERANCE if task == "inference" else GRADIENTS_TOLERANCE,
        targets=targets if size == "full" else (),
        details={"batch": batch, "side_px": side_px, "dtype": "float32"},
    )
    return [case]


def _name(task: str, batch: int, side_px: int) -> str:
    return f"{'training step' if task == 'training' else task}, {side_px} px, batch {batch}"


def cases(size: Size) -> list[Case]:
    """List inference on a large image and training on two."""
    inference = {"full": (1, 2048), "quick": (1, 512), "tiny": (1, 96)}[size]
    training = {"full": (2, 512), "quick": (1, 224), "tiny": (2, 96)}[size]
    in_quick = ("focalnets", "timm")
    plans = (
        ("inference", INFERENCE, inference, [Target("focalnets", "timm", at_most=0.8)]),
        (
            "training",
            TRAINING,
            training,
            [
                Target("focalnets", "timm", at_most=0.72),
                Target("focalnets, blocks recomputed", "timm", at_most=0.45),
            ],
        ),
    )
    listed = []
    for task, table, shape, targets in plans:
        names = in_quick if size == "quick" else tuple(table)
        run = functools.partial(measure, task, names, *shape, targets, size)
        listed.append(Case(_name(task, *shape), (15 if size == "full" else 5) * len(names), run))
    return listed


TOPIC = Topic(
    "memory",
    "Peak memory of FocalNet-T (large receptive field), float32, random weights shared by all.",
    METHOD + " One measurement each.",
    cases,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
