"""All stages, each in a process of its own and bounded in time: ``python -m benchmarks.gpu [FOLDER] [--minutes 9]``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from focalnets.files import write_json

__all__ = ["STAGES", "Stage", "main"]


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the measurement; ``seconds`` bounds it, ``place`` is ``module:function``."""

    name: str
    seconds: float
    place: str


STAGES = [
    Stage("correctness", 75, "benchmarks.gpu.correctness:measure"),
    Stage("causal_correctness", 30, "benchmarks.gpu.causal:measure_correctness"),
    Stage("forward", 95, "benchmarks.gpu.operator:measure_forward"),
    Stage("inference", 90, "benchmarks.gpu.network:measure_inference"),
    Stage("training", 70, "benchmarks.gpu.network:measure_training"),
    Stage("backward", 40, "benchmarks.gpu.operator:measure_backward"),
    Stage("causal", 30, "benchmarks.gpu.causal:measure_speed"),
    Stage("host", 20, "benchmarks.gpu.operator:measure_host"),
    Stage("memory", 30, "benchmarks.gpu.network:measure_memory"),
    Stage("profile", 20, "benchmarks.gpu.operator:profile_backward"),
    Stage("tiles", 40, "benchmarks.gpu.operator:measure_tiles"),
]
"""The most valuable first."""

_GRACE_S = 8.0
"""A stage begins no further row after its time, and is stopped so much later [s]."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left to do; the exit status is 1 if a kernel fails, or computes something else than the reference."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu/run.sh", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(os.environ.get("OUT", "build/gpu")))
    parser.add_argument("--minutes", type=float, default=9.0, help="most time of all stages together")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes; without a GPU in Triton's interpreter")
    parser.add_argument("--stage", choices=[stage.name for stage in STAGES], help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60.0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.stage:
        return _run_stage(next(stage for stage in STAGES if stage.name == options.stage), options)
    if not options.tiny and not _has_gpu():
        print("PyTorch finds no GPU here; --tiny shows within minutes that everything runs.", file=sys.stderr)
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    for stage in STAGES:
        _start(stage, options, end)
    return _sum_up(options.folder)


def _start(stage: Stage, options: argparse.Namespace, end: float) -> None:
    file = options.folder / f"{stage.name}.json"
    left = end - time.monotonic() - _GRACE_S
    if _content(file).get("complete"):
        print(f"{stage.name}: measured already")
        return
    if left < 5:
        print(f"{stage.name}: no time left; start again to go on")
        return
    seconds = left if options.tiny else min(stage.seconds, left)
    command = [sys.executable, "-m", "benchmarks.gpu", str(options.folder), "--stage", stage.name]
    command += ["--seconds", str(seconds), *["--tiny"] * options.tiny]
    environment = {**os.environ, **({"TRITON_INTERPRET": "1"} if options.tiny and not _has_gpu() else {})}
    print(f"{stage.name}: at most {seconds:.0f} s", flush=True)
    try:
        status = subprocess.run(command, env=environment, timeout=seconds + _GRACE_S, check=False).returncode
        if status:
            print(f"{stage.name}: ended with status {status}; its rows so far are kept")
    except subprocess.TimeoutExpired:
        print(f"{stage.name}: stopped after {seconds + _GRACE_S:.0f} s; its rows so far are kept")


def _run_stage(stage: Stage, options: argparse.Namespace) -> int:
    from benchmarks.gpu.operator import winners
    from benchmarks.gpu.record import Record
    from benchmarks.machine import machine_fields, version_fields

    module, _, function = stage.place.partition(":")
    record = Record(options.folder / f"{stage.name}.json", time.monotonic() + options.seconds)
    getattr(importlib.import_module(module), function)(record, options.tiny)
    write_json(options.folder / "winners.json", winners())
    record.finish(machine=machine_fields(), versions=version_fields(), tiny=options.tiny)
    return 0


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _content(file: Path) -> dict[str, object]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _sum_up(folder: Path) -> int:
    wrong = False
    for stage in STAGES:
        content = _content(folder / f"{stage.name}.json")
        rows = content.get("rows")
        rows = rows if isinstance(rows, dict) else {}
        failed = [name for name, row in rows.items() if "failed" in row]
        others = [name for name, row in rows.items() if row.get("passed") is False]
        wrong = wrong or bool(others) or (stage.name.endswith("correctness") and bool(failed))
        state = "complete" if content.get("complete") else "not complete"
        print(f"{stage.name}: {state}, {len(rows)} rows, {len(failed)} failed, {len(others)} differ from the reference")
        for name in [*failed, *others][:10]:
            print(f"    {name}: {json.dumps(rows[name])[:300]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
