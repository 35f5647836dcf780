"""The same training for every network: budget, augmentation, schedule, images and seeds."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from focalnets.compare.accuracy import Accuracies, Accuracy, read_accuracies
from focalnets.compare.backbones import build_compared
from focalnets.compare.models import ComparedModel, find_models, multiply_accumulates
from focalnets.compare.runs import DEFAULT_SIZE_PX, Run, check_config, is_complete, train_run
from focalnets.compare.training_processes import train_in_processes
from focalnets.compare.variations import VARIATIONS
from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError, FocalNetsError
from focalnets.intervals import MOST_SEEDS, mean_interval
from focalnets.training.config import TrainingConfig
from focalnets.training.runs import read_run
from focalnets.training.trainer import open_data

__all__ = ["AfterRun", "Trained", "train_all"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A training that has ended.

    Attributes:
        model, seed: Which.
        result: Its accuracy in words, or why there is none.
        done, runs: How many have ended, of how many.
        left_s: About how long the others take [s]; None while none was trained from its beginning.
    """

    model: str
    seed: int
    result: str
    done: int
    runs: int
    left_s: float | None


AfterRun = Callable[[Accuracies, Trained], None]


def train_all(
    models: Sequence[ComparedModel],
    config: TrainingConfig,
    data_root: str | Path,
    folder: Path,
    *,
    seeds: int,
    parallel: int = 1,
    fresh: bool = False,
    after_run: AfterRun | None = None,
) -> Accuracies:
    """Train every network with every seed; runs that are complete are kept, stopped ones continued.

    Args:
        models: The networks.
        config: Settings that all share. ``model`` is not used but for the head, where it names a network with one; of
            ``model_overrides`` only ``drop_path`` (0 if it is not there), which holds for all.
        data_root: Images as the config's task stores them. One split serves all seeds, which differ in
            weights, order and changes of images.
        folder: Of the comparison. Networks trained there before under the same setting are in the table too.
        seeds: Trainings of each network.
        parallel: Trainings at once, each in a process of its own with a part of the threads.
        fresh: Train again what is there.
        after_run: Called whenever a training has ended, with all results so far.

    Raises:
        ConfigError: If a number is out of range, the settings fit FocalNets only, or kept runs have other settings.
        InterruptedRunError: If stopped by Ctrl-C, after saving.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"--seeds must be a whole number from 1 to {MOST_SEEDS}, got {seeds}.")
    if parallel < 1:
        raise ConfigError(f"--parallel must be a whole number from 1 up, got {parallel}.")
    check_config(config)
    data = open_data(data_root, config)
    config = config.replace(**config.build_task().for_comparison(data, image_size=config.image_size))
    kept = None if fresh else read_accuracies(folder)
    skeletons = [dict(model.skeleton) for model in models if model.family == "variation"]
    skeleton = skeletons[0] if skeletons else {} if kept is None else kept.setting["skeleton"]
    setting = _setting(config, data, data_root, skeleton)
    if kept is not None:
        kept.setting["training"].setdefault("task", "classify")  # files of before there were others
    if kept is not None and kept.setting != setting:
        differing = ", ".join(sorted(key for key in setting if setting[key] != kept.setting.get(key)))
        raise ConfigError(
            f"'{folder}' holds trainings under another setting ({differing}); name another --output, or train all "
            "again with --fresh."
        )
    before = [] if kept is None else [row.model for row in kept.rows]
    everyone = {model.name: model for model in [*find_models(before, skeleton), *models]}
    runs = [Run.of(model, seed, config, folder) for seed in range(seeds) for model in models]
    todo = [run for run in runs if fresh or not is_complete(run, data)]
    failed: dict[tuple[str, int], str] = {}
    durations: list[float] = []
    done = len(runs) - len(todo)

    def collect() -> Accuracies:
        rows = [_accuracy(model, config, folder, data, failed) for model in everyone.values()]
        return Accuracies(setting, {}, rows)

    def ended(run: Run, why: str | None, seconds: float) -> None:
        nonlocal done
        done += 1
        if why is None:
            durations.append(seconds)
        else:
            failed[run.model.name, run.seed] = why
        if after_run is not None:
            left = statistics.fmean(durations) * (len(runs) - done) / parallel if durations else None
            result = why or _score_in_words(run)
            ended_run = Trained(
                model=run.model.name, seed=run.seed, result=result, done=done, runs=len(runs), left_s=left
            )
            after_run(collect(), ended_run)

    if parallel == 1 or len(todo) < 2:
        for run in todo:
            begun = time.monotonic()
            ended(run, train_run(run, data, fresh=fresh), time.monotonic() - begun)
    else:
        train_in_processes(todo, config, data_root, min(parallel, len(todo)), fresh=fresh, ended=ended)
    return collect()


def _score_in_words(run: Run) -> str:
    summary = read_run(run.folder)
    return f"{summary.shown.label} {summary.shown.format(summary.last or 0.0, 2)}"


def _setting(
    config: TrainingConfig, data: TrainingData, root: str | Path, skeleton: Mapping[str, Any]
) -> dict[str, Any]:
    """What trainings that stand side by side must share."""
    shared = config.replace(image_size=config.image_size or DEFAULT_SIZE_PX).to_flat_dict()
    for name in ("model", "model_overrides", "workers"):
        del shared[name]
    setting = {
        "training": shared,
        "drop_path": config.model_overrides.get("drop_path", 0.0),
        "skeleton": dict(skeleton),
        "data": {
            "name": Path(root).name,
            "fingerprint": data.fingerprint,
            "classes": len(data.labels),
            "images_to_train": len(data.train),
            "images_to_validate": len(data.val),
        },
    }
    return json.loads(json.dumps(setting))  # as it will be read again


def _accuracy(
    model: ComparedModel, config: TrainingConfig, folder: Path, data: TrainingData, failed: dict[tuple[str, int], str]
) -> Accuracy:
    """From all complete runs of the network, also of seeds that are not asked for now."""
    scores: dict[int, float] = {}
    times: list[float] = []
    for seed in range(MOST_SEEDS):
        run = Run.of(model, seed, config, folder)
        with contextlib.suppress(FocalNetsError):  # a run of another setting, in a folder made anew in part
            if is_complete(run, data):
                summary = read_run(run.folder)
                scores[seed] = summary.last or 0.0
                times.append(summary.wall_time_s)
    images: int | None = None
    if config.build_task().watch.of_inputs:
        images = len(data.val)
        if config.limit_val_batches is not None:
            images = min(images, config.limit_val_batches * config.batch_size)
    parameters, macs = _cost(model, config, data.labels)
    row, published = VARIATIONS.get(model.name), model.published
    return Accuracy(
        model=model.name,
        summary=row.summary if row is not None and model.family == "variation" else None,
        parameters=parameters,
        macs=macs,
        scores=scores,
        mean=statistics.fmean(scores.values()) if scores else None,
        interval=mean_interval(scores, images) if scores else None,
        training_s=statistics.fmean(times) if times else None,
        failed={seed: why for (name, seed), why in failed.items() if name == model.name},
        published_top1_percent=None if published is None else published.top1_percent,
        published_by=None if published is None else published.source,
    )


_COSTS: dict[tuple[str, str, str, int], tuple[int | None, int | None]] = {}


def _cost(model: ComparedModel, config: TrainingConfig, labels: Sequence[str]) -> tuple[int | None, int | None]:
    """Learnt numbers and multiply-accumulates for one image; None where the network refuses the size."""
    size_px = config.image_size or DEFAULT_SIZE_PX
    key = model.name, repr(model.skeleton), repr((config.task, config.settings, size_px)), len(labels)
    if key not in _COSTS:
        parameters, macs = None, None
        with contextlib.suppress(Exception):
            network = build_compared(model, config.build_task(), labels, size_px=size_px)
            parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
            macs = multiply_accumulates(network, size_px)
        _COSTS[key] = parameters, macs
    return _COSTS[key]
