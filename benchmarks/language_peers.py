"""Ways to mix the tokens of a text, after equal training: ``python -m benchmarks.language_peers TEXT``.

Networks of one skeleton and one size, which differ in the mixer, learn from the same text by the recipe ``language``.
Each takes the best of some learning rates, found by trainings of ``--search_steps`` steps, and is trained at it with
every seed. ``--long 10`` trains ours and the best of the others ten times as long at the same rate. Beside the loss
stands what small networks of the same kind recall (MQAR), and what each costs. The file is written after each training;
what is there already is not made again, and a training that was stopped goes on. Several calls may write one file.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from benchmarks.command import RESULTS
from benchmarks.language_tables import Content, Row, find_trainings, format_tables, mean_nats
from benchmarks.machine import machine_fields, source_fields, version_fields
from focalnets.compare.language.comparing import USUAL_MODELS, network_config
from focalnets.compare.language.recall import RecallSettings, measure_recall
from focalnets.compare.language.speed import SpeedSettings, measure_speeds
from focalnets.compare.language.training import language_run, shared_config
from focalnets.compare.models import find_models
from focalnets.compare.runs import Run, is_complete, train_run
from focalnets.compare.training_processes import train_in_processes
from focalnets.files import read_json, write_json
from focalnets.machine.description import utc_now
from focalnets.models.sequence import FocalLanguageModel
from focalnets.ops import cpu
from focalnets.training.config import TrainingConfig
from focalnets.training.runs import read_run
from focalnets.training.trainer import open_data

__all__ = ["OUTPUT", "Plan", "best_rate", "main", "measure_all"]

OUTPUT = RESULTS / "language_peers.json"
RUNS = Path("build/language_peers")

_KEYS = {
    "trainings": ("data", "model", "steps", "learning_rate", "seed"),
    "recall": ("model", "pairs", "length", "vocabulary", "steps"),
    "speed": ("model", "threads"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        models: Networks, as ``focalnets compare`` takes them.
        rates: Learning rates of which each takes its best.
        steps: Of a training.
        search_steps: Of the trainings that find the rate.
        seeds: Of the trainings at the best rate.
        long: Trains ours and the best of the others so many times as long; 0 does not.
        parallel: Trainings at once.
        recall: How recall is measured; None leaves it out.
        speed: How cost is measured; None leaves it out.
        changes: Further settings of all trainings.
    """

    models: tuple[str, ...] = USUAL_MODELS
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    steps: int = 800
    search_steps: int = 400
    seeds: tuple[int, ...] = (0, 1, 2)
    long: int = 0
    parallel: int = 1
    recall: RecallSettings | None = dataclasses.field(default_factory=RecallSettings)
    speed: SpeedSettings | None = dataclasses.field(default_factory=lambda: SpeedSettings(lengths=(256, 8192)))
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def measure_all(data: str | Path, output: Path, plan: Plan, runs: Path = RUNS) -> Content:
    """Measure what the file does not hold yet, and write it after each step.

    Args:
        data: The text.
        output: The result file.
        plan: What is measured.
        runs: Folder of the trainings.

    Returns:
        All that the file holds.
    """
    if plan.speed is not None:
        _measure_speeds(plan, output)
    if plan.recall is not None:
        _measure_recall(plan, output)
    searches = [_run(data, plan, name, plan.search_steps, rate, 0, runs) for rate in plan.rates for name in plan.models]
    _train(searches, data, plan, output)
    content = _read(output)
    best = {
        name: rate for name in plan.models if (rate := best_rate(content, Path(data).name, name, plan.search_steps))
    }
    short = [_run(data, plan, name, plan.steps, rate, seed, runs) for seed in plan.seeds for name, rate in best.items()]
    _train(short, data, plan, output)
    if plan.long:
        steps = plan.long * plan.steps
        chosen = _ours_and_the_best(_read(output), Path(data).name, plan)
        _train([_run(data, plan, name, steps, best[name], plan.seeds[0], runs) for name in chosen], data, plan, output)
    return _read(output)


def best_rate(content: Content, data: str, model: str, steps: int) -> float | None:
    """Find the rate at which a network learnt most in trainings of so many steps with the first seed."""
    reached = {
        row["learning_rate"]: row["nats"]
        for row in content["trainings"]
        if (row["data"], row["model"], row["steps"], row["seed"]) == (data, model, steps, 0) and "nats" in row
    }
    return min(reached, key=reached.__getitem__, default=None)


def _ours_and_the_best(content: Content, data: str, plan: Plan) -> list[str]:
    """Choose our first network of the plan, and the best of those that are not ours."""
    means = {name: mean_nats(find_trainings(content["trainings"], data, name, plan.steps)) for name in plan.models}
    ours = [name for name in means if name.startswith("focal_")][:1]
    others = {name: mean for name, mean in means.items() if not name.startswith("focal_") and mean is not None}
    return [*ours, *([min(others, key=others.__getitem__)] if others else [])]


def _run(data: str | Path, plan: Plan, name: str, steps: int, rate: float, seed: int, runs: Path) -> Run:
    config = shared_config({"device": "cpu", **plan.changes}, data)
    passages = max(1, steps * config.batch_size // config.epochs)
    (model,) = find_models([name])
    return language_run(
        model, config.replace(passages=passages), runs / f"{Path(data).name}_{steps}", learning_rate=rate, seed=seed
    )


def _train(runs: Sequence[Run], data: str | Path, plan: Plan, output: Path) -> None:
    """Do trainings of one length that the file does not hold, and note each."""
    known = {_key("trainings", row) for row in _read(output)["trainings"] if "nats" in row}
    todo = [run for run in runs if _key("trainings", _described(run, data)) not in known]
    if not todo:
        return
    opened = open_data(data, todo[0].config)

    def end(run: Run, why: str | None, seconds: float) -> None:
        row = {**_described(run, data), **({"failed": why} if why is not None else _reached(run)), "date": utc_now()}
        _add(output, "trainings", [row])
        shown = why or f"{row['nats']:.4f} nats"
        print(
            f"{run.model.name}, {row['steps']} steps, rate {row['learning_rate']:g}, seed {run.seed}: {shown}, "
            f"{seconds / 60:.1f} min",
            flush=True,
        )

    complete = [run for run in todo if is_complete(run, opened)]
    for run in complete:
        end(run, None, 0.0)
    rest = [run for run in todo if run not in complete]
    if plan.parallel > 1 and len(rest) > 1:
        train_in_processes(rest, rest[0].config, data, min(plan.parallel, len(rest)), fresh=False, ended=end)
        return
    for run in rest:
        begun = time.monotonic()
        end(run, train_run(run, opened, fresh=False), time.monotonic() - begun)


def _described(run: Run, data: str | Path) -> Row:
    settings: Any = run.config.settings
    return {
        "data": Path(data).name,
        "model": run.model.name,
        "steps": _steps(run.config),
        "learning_rate": run.config.learning_rate,
        "seed": run.seed,
        "batch": run.config.batch_size,
        "context_length": settings.context_length,
    }


def _steps(config: TrainingConfig) -> int:
    settings: Any = config.settings
    return config.epochs * -(-settings.passages // config.batch_size)


def _reached(run: Run) -> Row:
    summary = read_run(run.folder)
    settings: Any = run.config.settings
    return {
        "nats": summary.last,
        "curve": [[int(row["epoch"]), round(row["val_nats"], 4)] for row in summary.history],
        "parameters": summary.parameters,
        "training_s": round(summary.wall_time_s, 1),
        "tokens_per_s": None if summary.images_per_s is None else round(summary.images_per_s * settings.context_length),
        "threads": torch.get_num_threads(),
    }


def _measure_speeds(plan: Plan, output: Path) -> None:
    assert plan.speed is not None
    threads = torch.get_num_threads()
    known = {_key("speed", row) for row in _read(output)["speed"]}
    if all((name, threads) in known for name in plan.models):
        return
    networks = {model.name: FocalLanguageModel(network_config(model)) for model in find_models(plan.models)}
    rows = [
        {
            "model": name,
            "threads": threads,
            "context_length": plan.speed.context_length,
            "batch": plan.speed.batch,
            "training": speed.training,
            "generation": {str(length): figures for length, figures in speed.generation.items()},
            "state_bytes": {str(length): size for length, size in speed.state_bytes.items()},
            "date": utc_now(),
        }
        for name, speed in measure_speeds(networks, plan.speed).items()
    ]
    _add(output, "speed", rows)


def _measure_recall(plan: Plan, output: Path) -> None:
    assert plan.recall is not None
    known = {_key("recall", row) for row in _read(output)["recall"]}
    for model in find_models(plan.models):
        row: Row = {"model": model.name}
        row |= {name: getattr(plan.recall, name) for name in _KEYS["recall"] if name != "model"}
        if _key("recall", row) in known:
            continue
        begun, found = time.monotonic(), measure_recall(network_config(model), plan.recall)
        row |= {
            "recall": found.fraction,
            "learning_rate": found.learning_rate,
            "by_rate": {f"{rate:g}": value for rate, value in found.by_rate.items()},
            "parameters": found.parameters,
            "seconds": round(time.monotonic() - begun, 1),
            "date": utc_now(),
        }
        _add(output, "recall", [row])
        print(f"{model.name}: recalls {found.fraction:.1%} of {plan.recall.pairs} pairs", flush=True)


def _key(part: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEYS[part])


def _read(output: Path) -> Content:
    content = read_json(output) if output.exists() else {}
    return {"schema": 1, **{part: [] for part in _KEYS}, **content}


def _add(output: Path, part: str, rows: Iterable[Row]) -> None:
    """Put rows into the file, in place of older ones; others may write meanwhile."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{output}.lock"):
        content = _read(output)
        known = {_key(part, row): row for row in content[part]}
        known |= {_key(part, row): row for row in rows}
        described = {"machine": machine_fields(), "versions": version_fields(), "source": source_fields()}
        write_json(output, {**content, **described, part: list(known.values())})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    usual = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.language_peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="?", metavar="TEXT", help="text to learn from; without it only prints the tables")
    parser.add_argument("--models", nargs="+", default=usual.models, metavar="NAME", help="(default: one of each kind)")
    parser.add_argument("--rates", type=float, nargs="+", default=usual.rates, help="(default: 1e-3 3e-3 1e-2)")
    parser.add_argument("--steps", type=int, default=usual.steps, help="of a training (default: 800)")
    parser.add_argument("--search_steps", type=int, default=usual.search_steps, help="to find a rate (default: 400)")
    parser.add_argument("--seeds", type=int, nargs="+", default=usual.seeds, help="(default: 0 1 2)")
    parser.add_argument(
        "--long", type=int, default=0, metavar="TIMES", help="so many times as long for ours and the best"
    )
    parser.add_argument("--parallel", type=int, default=1, help="trainings at once (default: 1)")
    parser.add_argument("--no_recall", action="store_true", help="leave recall out")
    parser.add_argument("--no_speed", action="store_true", help="leave speed out")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"result file (default: {OUTPUT.name})")
    options = parser.parse_args(arguments)
    if options.data is not None:
        if missing := cpu.why_unavailable():
            parser.error(f"ours is measured with the C++ library: {missing}")
        plan = Plan(
            models=tuple(options.models), rates=tuple(options.rates), steps=options.steps,
            search_steps=options.search_steps, seeds=tuple(options.seeds), long=options.long, parallel=options.parallel,
            recall=None if options.no_recall else usual.recall, speed=None if options.no_speed else usual.speed,
        )  # fmt: skip
        measure_all(options.data, options.output, plan)
    print(format_tables(_read(options.output)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
