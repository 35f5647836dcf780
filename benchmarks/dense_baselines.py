"""Ours beside torchvision's after equal minutes of training: ``python -m benchmarks.dense_baselines DATA``.

All contenders learn under one loop from the same images, changed alike at the same size, for the same time, with the
optimiser of the task's recipe and a rate that follows the clock: it rises, then falls along a cosine. Torchvision's
networks begin from random weights, as no others are at hand. All are measured by the task's own metrics. Building,
choosing anchors and measuring take no part of the time. The rows are written after each run; a run that is there
already is not made again.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from benchmarks.command import RESULTS
from benchmarks.dense_contenders import CONTENDERS, Contender, Learner
from benchmarks.machine import machine_fields, source_fields, version_fields
from benchmarks.markdown import table
from focalnets.data.labelled import TrainingData
from focalnets.files import read_json, write_json
from focalnets.intervals import mean_interval
from focalnets.machine.description import utc_now
from focalnets.models.config import Preprocessing
from focalnets.tasks.batch import Batch
from focalnets.tasks.recognition import recognise_task
from focalnets.tasks.table import task_class
from focalnets.training.config import TrainingConfig
from focalnets.training.data import TrainingLoader, training_loader, validation_loader
from focalnets.training.optimization import build_optimizer, ema_average
from focalnets.training.resolve import resolve_config
from focalnets.training.trainer import open_data

__all__ = ["COMMANDS", "DESCRIPTION", "OUTPUT", "format_tables", "main", "measure_all", "run_one"]

OUTPUT = RESULTS / "dense_baselines.json"

COMMANDS = tuple(
    f"python -m benchmarks.dense_baselines {data} --minutes 3 --clock cpu --seeds 0 1 2 "
    "--only focalnets MobileNet ResNet-18"
    for data in ("bccd", "penn_fudan --task instance")
)

DESCRIPTION = """\
All learn under one loop in float32 from the same images, changed alike at the same size, for the same time, with the
optimiser of our recipe and a rate that follows the clock. Torchvision's networks have the anchors and heads that
torchvision gives them and begin from random weights, as does the second of ours; the first of ours begins from the
network in the package, as the recipe does. Scores in percent are those of the weights' moving average on the images
held out: means over the seeds, with 95 % intervals by Student's distribution."""

Row = dict[str, Any]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_KEY = ("task", "data", "contender", "seed", "minutes", "clock", "learning_rate", "image_size")


def settings_for(data: str | Path, task: str | None, changes: Mapping[str, Any]) -> tuple[TrainingConfig, TrainingData]:
    """Take the recipe of the data's task, with what it chooses for these data, and open them."""
    given = {"device": "cpu", "precision": "float32", "workers": 0, "task": task or recognise_task(data)[0], **changes}
    config = resolve_config(settings=given)
    opened = open_data(data, config)
    return config.replace(**config.build_task().choose_settings(opened, image_size=config.image_size)), opened


def run_one(
    contender: Contender, config: TrainingConfig, data: TrainingData, *, minutes: float, clock: str
) -> dict[str, Any]:
    """Train one contender and measure it.

    Args:
        contender: Which.
        config: The recipe, with the seed.
        data: The images.
        minutes: Time of the training.
        clock: ``wall``; or ``cpu``, the time of all threads of this process together, for a machine that others use.

    Returns:
        What a row has beside its key.
    """
    task = config.build_task()
    spec = _spec(config, data)
    learner = contender.build(task, config, data.labels)
    loader = training_loader(task, data, learner.config, spec)
    begun, cpu_begun = time.monotonic(), time.process_time()
    steps, averaged = _train(learner, loader, 60 * minutes, time.process_time if clock == "cpu" else time.monotonic)
    trained, cpu = time.monotonic() - begun, time.process_time() - cpu_begun
    metrics = task.metrics(data.labels)
    averaged.eval()
    with torch.inference_mode():
        for batch in validation_loader(task, data, config, spec):
            learner.measure(averaged, metrics, batch)
    return {
        "figures": {name: float(value) for name, value in metrics.compute().items()},
        "parameters": sum(parameter.numel() for parameter in learner.module.parameters()),
        "steps": steps,
        "images": steps * config.batch_size,
        "training_s": round(trained, 1),
        "cpu_s": round(cpu, 1),
        "measuring_s": round(time.monotonic() - begun - trained, 1),
    }


def _spec(config: TrainingConfig, data: TrainingData) -> Preprocessing:
    """How all contenders get the images: as the network of the recipe."""
    module: Any = CONTENDERS[config.task][0].build(config.build_task(), config, data.labels).module
    return module.preprocessing


def _train(learner: Learner, loader: TrainingLoader, seconds: float, clock: Any) -> tuple[int, nn.Module]:
    """Train until the time is over; returns the steps, and the moving average of the network."""
    config, module = learner.config, learner.module
    optimizer = build_optimizer(module, config, is_head=learner.is_head)
    rates = [group["lr"] for group in optimizer.param_groups]
    average: Any = ema_average(config.ema_decay)
    averaged = AveragedModel(module, multi_avg_fn=average, use_buffers=True)
    module.train()
    if config.freeze_norms:
        for name, layer in module.named_modules():
            if isinstance(layer, _BATCH_NORMS) and not learner.is_head(f"{name}.weight"):
                layer.eval()
    begun, steps = clock(), 0
    for batch in _endless(loader):
        done = (clock() - begun) / seconds
        if done >= 1:
            break
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * _factor(done, config)
        optimizer.zero_grad(set_to_none=True)
        learner.loss(batch).backward()
        if config.gradient_clip:
            nn.utils.clip_grad_norm_(module.parameters(), config.gradient_clip)
        optimizer.step()
        averaged.update_parameters(module)
        steps += 1
    return steps, averaged.module


def _endless(loader: TrainingLoader) -> Iterator[Batch]:
    epoch = 0
    while True:
        loader.set_epoch(epoch)
        yield from loader
        epoch += 1


def _factor(done: float, config: TrainingConfig) -> float:
    """The rate after a part of the time, as a fraction of the highest."""
    warming = config.warmup_epochs / config.epochs
    if done < warming:
        return max(0.01, done / warming)
    last = config.final_learning_rate
    return last + (1 - last) * (1 + math.cos(math.pi * (done - warming) / (1 - warming))) / 2


def measure_all(
    data: str | Path,
    output: Path,
    *,
    minutes: float,
    seeds: Sequence[int],
    task: str | None = None,
    only: Sequence[str] = (),
    clock: str = "wall",
    baseline_rate: float | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Run every contender with every seed, and write each row as soon as it is known.

    Args:
        data: Annotated images.
        output: The result file; rows there are kept, and not made again unless they failed.
        minutes: Time of each training.
        clock: See :func:`run_one`.
        seeds: Of the trainings.
        task: What to train; None takes what the data is for.
        only: Contenders whose name holds one of these texts; all if there are none.
        baseline_rate: Highest rate of torchvision's networks; None takes that of the recipe.
        changes: Fields of the training config that all share.

    Returns:
        All rows of the file.
    """
    config, opened = settings_for(data, task, changes or {})
    chosen = [each for each in CONTENDERS[config.task] if not only or any(text in each.name for text in only)]
    content: Any = read_json(output) if output.exists() else {"schema": 1, "rows": []}
    rows: dict[tuple[Any, ...], Row] = {tuple(row[name] for name in _KEY): row for row in content["rows"]}
    for seed in seeds:
        for contender in chosen:
            own = config.replace(seed=seed)
            if baseline_rate is not None and not contender.is_ours:
                own = own.replace(learning_rate=baseline_rate)
            row: Row = {
                "task": config.task, "data": Path(data).name, "contender": contender.name, "seed": seed,
                "minutes": minutes, "clock": clock, "learning_rate": own.learning_rate, "image_size": own.image_size,
            }  # fmt: skip
            key = tuple(row[name] for name in _KEY)
            if "figures" in rows.get(key, {}):
                continue
            try:
                row |= run_one(contender, own, opened, minutes=minutes, clock=clock)
                shown = f"{row['figures'][task_class(config.task).watch.metric]:.1%} after {row['images']:,} images"
            except (RuntimeError, ValueError, MemoryError) as error:
                row["failed"] = shown = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
            rows[key] = {**row, "date": utc_now()}
            print(f"{config.task}, {row['data']}, {contender.name}, seed {seed}: {shown}", flush=True)
            described = {"machine": machine_fields(), "versions": version_fields(), "source": source_fields()}
            output.parent.mkdir(parents=True, exist_ok=True)
            write_json(output, {"schema": 1, **described, "rows": list(rows.values())})
    return list(rows.values())


def format_tables(rows: Sequence[Row]) -> str:
    """Write a table in Markdown for each task, data and time; scores are means over seeds with 95 % intervals."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["data"], row["minutes"], row["clock"], row["image_size"]), []).append(row)
    parts = []
    for (task, data, minutes, clock, size), some in groups.items():
        labels = {name: metric.label for name, metric in task_class(task).metric_labels.items()}
        lines = [["contender", "M parameters", "rate", "images", "seeds", *labels.values()]]
        contenders = dict.fromkeys((row["contender"], row["learning_rate"]) for row in some)
        for name, rate in contenders:
            done = [row for row in some if (row["contender"], row["learning_rate"]) == (name, rate)]
            lines.append([name, *_cells(done, rate, list(labels))])
        words = "minutes" if clock == "wall" else "minutes of processor time"
        parts.append(f"{task}, {data}, {size} px, {minutes:g} {words} each:")
        parts.append(table(lines))
    return "\n\n".join(parts)


def _cells(rows: Sequence[Row], rate: float, metrics: Sequence[str]) -> list[str]:
    whole = [row for row in rows if "figures" in row]
    if not whole:
        return ["", f"{rate:g}", "", "0", rows[0]["failed"], *[""] * (len(metrics) - 1)]
    scores = []
    for metric in metrics:
        values = {row["seed"]: row["figures"][metric] for row in whole}
        interval = mean_interval(values, None)
        spread = "" if interval is None else f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
        scores.append(f"{100 * statistics.fmean(values.values()):.1f}{spread}")
    images = statistics.fmean(row["images"] for row in whole)
    return [f"{whole[0]['parameters'] / 1e6:.2f}", f"{rate:g}", f"{images:,.0f}", str(len(whole)), *scores]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dense_baselines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help="annotated images; without it only prints the tables")
    parser.add_argument("--task", choices=CONTENDERS, help="what to train, where the data leaves it open")
    parser.add_argument("--minutes", type=float, default=3.0, help="time of each training (default: 3)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="wall, or cpu on a busy machine")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the trainings (default: 0)")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="contenders whose name holds a text")
    parser.add_argument("--baseline_rate", type=float, metavar="RATE", help="of torchvision's (default: the recipe's)")
    parser.add_argument("--image_size", type=int, metavar="PX", help="(default: the recipe's, or chosen for the data)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"result file (default: {OUTPUT.name})")
    options = parser.parse_args(arguments)
    if options.data is not None:
        measure_all(
            options.data,
            options.output,
            minutes=options.minutes,
            seeds=options.seeds,
            task=options.task,
            only=options.only,
            clock=options.clock,
            baseline_rate=options.baseline_rate,
            changes={} if options.image_size is None else {"image_size": options.image_size},
        )
    print(format_tables(read_json(options.output)["rows"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
