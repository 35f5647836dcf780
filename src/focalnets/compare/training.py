"""The same training for every network: budget, augmentation, schedule, images and seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from focalnets.compare.entrants import Entrant, build
from focalnets.compare.variations import SKELETON, VARIATIONS
from focalnets.errors import ConfigError
from focalnets.models.config import Preprocessing
from focalnets.tasks.results import wilson_interval
from focalnets.training.config import TrainingConfig
from focalnets.training.data import TrainingData
from focalnets.training.foreign import ForeignNetwork
from focalnets.training.run_comparison import read_run
from focalnets.training.run_folder import RunFolder
from focalnets.training.trainer import BuildModel, resume, train

__all__ = ["Accuracy", "train_all"]

# 97.5 % quantiles of Student's distribution for 1 to 9 degrees of freedom.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """What one network reached.

    Attributes:
        model: Its name.
        parameters: Learnt numbers.
        top1: Validation accuracy after the last epoch of each seed, from 0 to 1; not the best epoch, whose choice would
            use the same images.
        mean, interval: Their mean with its 95 % interval: over seeds by Student's distribution, of one seed by the
            number of images.
        published_top1_percent: ImageNet-1K top-1 as published.
    """

    model: str
    parameters: int | None
    top1: tuple[float, ...]
    mean: float
    interval: tuple[float, float]
    published_top1_percent: float | None


def train_all(
    entrants: Sequence[Entrant],
    config: TrainingConfig,
    data_root: str | Path,
    folder: Path,
    *,
    seeds: int,
    fresh: bool = False,
) -> list[Accuracy]:
    """Train every network with every seed; runs that are complete are kept, stopped ones continued.

    Raises:
        ConfigError: If there are no seeds, the settings fit FocalNets only, or a kept run has other settings.
    """
    if not 1 <= seeds <= 10:
        raise ConfigError(f"--seeds must be a whole number from 1 to 10, got {seeds}.")
    ForeignNetwork.check(config)
    config = config.replace(image_size=config.image_size or 224)
    # One split for all seeds: they differ in weights, order and changes of images only.
    data = TrainingData.from_folder(data_root, config)
    for seed in range(seeds):
        for entrant in entrants:
            _train_one(entrant, config.replace(seed=config.seed + seed), data, _run(folder, entrant, seed), fresh)
    return [_accuracy(entrant, folder, seeds, len(data.val)) for entrant in entrants]  # type: ignore[arg-type]


def _train_one(entrant: Entrant, config: TrainingConfig, data: TrainingData, run: Path, fresh: bool) -> None:
    own: BuildModel | None = None
    row = VARIATIONS.get(entrant.name)
    if entrant.family == "focalnets":
        config = config.replace(model=entrant.name)
    elif row is not None and row.mixer is None:
        config = config.replace(model=SKELETON, model_overrides={**row.overrides, **config.model_overrides})
    else:
        config = config.replace(model=entrant.name, model_overrides={})

        def own(settings: TrainingConfig, classes: Sequence[str]) -> ForeignNetwork:
            seed_everything(settings.seed, workers=True, verbose=False)
            size = settings.image_size or 224
            network: torch.nn.Module = build(entrant, size_px=size, num_classes=len(classes))
            return ForeignNetwork(entrant.name, network, classes, Preprocessing(input_size_px=size)).train()

    files = RunFolder(run)
    if not fresh and files.config.exists():
        if files.read_config() != config:
            raise ConfigError(
                f"The run '{run}' has other settings; name another --output, or train again with --fresh."
            )
        if files.card.exists():
            return
        if files.resume_point.exists():
            resume(run, data=data, build=own)
            return
    train(config, data, output=run, overwrite=True, build=own)


def _run(folder: Path, entrant: Entrant, seed: int) -> Path:
    return folder / "runs" / entrant.name / f"seed{seed}"


def _accuracy(entrant: Entrant, folder: Path, seeds: int, images: int) -> Accuracy:
    runs = [read_run(_run(folder, entrant, seed)) for seed in range(seeds)]
    top1 = tuple(run.last_top1 or 0.0 for run in runs)
    mean = statistics.fmean(top1)
    if seeds == 1:
        interval = wilson_interval(round(mean * images), images)
    else:
        margin = _STUDENT[seeds - 2] * statistics.stdev(top1) / math.sqrt(seeds)
        interval = (max(0.0, mean - margin), min(1.0, mean + margin))
    return Accuracy(
        model=entrant.name,
        parameters=runs[0].parameters,
        top1=top1,
        mean=mean,
        interval=interval,
        published_top1_percent=None if entrant.published is None else entrant.published.top1_percent,
    )
