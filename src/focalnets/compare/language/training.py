"""The same training on a text for every kind of language model, each at its own best of some learning rates."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from focalnets.compare.foreign import FOCALNETS_ALONE
from focalnets.compare.models import ComparedModel
from focalnets.compare.runs import Run, check_config, folder_name, is_complete, train_run
from focalnets.compare.training_processes import train_in_processes
from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError
from focalnets.intervals import MOST_SEEDS, student_interval
from focalnets.training.config import TrainingConfig
from focalnets.training.resolve import resolve_config
from focalnets.training.runs import read_run
from focalnets.training.trainer import open_data

__all__ = ["AfterRun", "TextTraining", "TrainingPlan", "language_run", "shared_config", "train_language_models"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What every network gets.

    Attributes:
        config: Settings that all share.
        place: The texts.
        folder: Of the comparison.
        learning_rates: Of which each network takes its best, by one training each.
        search_epochs: Epochs of those trainings; None takes those of the config, so that the best one counts.
        seeds: Trainings of each network at its best rate.
        parallel: Trainings at once.
        fresh: Train again what is there.

    Raises:
        ConfigError: If a number is out of range, or a setting is not for all networks.
    """

    config: TrainingConfig
    place: str | Path
    folder: Path
    learning_rates: tuple[float, ...]
    search_epochs: int | None = None
    seeds: int = 1
    parallel: int = 1
    fresh: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise ConfigError(f"--seeds must be a whole number from 1 to {MOST_SEEDS}, got {self.seeds}.")
        if self.parallel < 1:
            raise ConfigError(f"--parallel must be a whole number from 1 up, got {self.parallel}.")
        if not self.learning_rates or not all(0 < rate < float("inf") for rate in self.learning_rates):
            raise ConfigError(f"--learning_rates must be numbers above 0, got {list(self.learning_rates)}.")
        if self.config.model_overrides:
            raise ConfigError(
                f"model_overrides.{', model_overrides.'.join(self.config.model_overrides)} would change all networks "
                "alike; change one behind its name: NAME:FIELD=VALUE."
            )
        check_config(self.config)

    def describe(self, data: TrainingData) -> dict[str, Any]:
        """Describe what trainings that stand side by side must share."""
        shared = self.config.to_flat_dict()
        for name in ("model", "model_overrides", "workers", "learning_rate"):
            del shared[name]
        place = {
            "name": Path(self.place).name,
            "fingerprint": data.fingerprint,
            "passages_to_train": len(data.train),
            "passages_to_validate": len(data.val),
        }
        rates = {"learning_rates": list(self.learning_rates), "search_epochs": self.search_epochs}
        return json.loads(json.dumps({**shared, **rates, "data": place}))  # as it will be read again


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTraining:
    """What one network learnt.

    Attributes:
        by_rate: Nats a token at each rate, of one training each; None where it did not come to its end.
        learning_rate: The best of them; None while there is none.
        nats: By seed at that rate, in the validation after the last epoch.
        mean, interval: Of these, with the 95 % interval by Student's distribution; None without any, or with one.
        curve: Epoch, and nats a token after it: the mean over the seeds.
        training_s: Mean time of a training with its validations [s].
        failed: Why trainings did not come to their end.
    """

    by_rate: Mapping[float, float | None]
    learning_rate: float | None
    nats: Mapping[int, float]
    mean: float | None
    interval: tuple[float, float] | None
    curve: tuple[tuple[int, float], ...]
    training_s: float | None
    failed: tuple[str, ...]

    @property
    def is_at_the_end(self) -> bool:
        """Whether the best rate is the highest or lowest of several, beyond which a better one may lie."""
        return len(self.by_rate) > 1 and self.learning_rate in (min(self.by_rate), max(self.by_rate))

    @property
    def result(self) -> str:
        """The mean with its interval, or why there is none."""
        if self.mean is None:
            return next(iter(self.failed), "not trained")
        if self.interval is None:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ({self.interval[0]:.3f} to {self.interval[1]:.3f})"


AfterRun = Callable[[dict[str, TextTraining], str], None]
"""Takes all results so far, and a line on the training that has ended."""


def shared_config(given: Mapping[str, Any], place: str | Path) -> TrainingConfig:
    """Put the settings together that all networks share; trainings show no samples unless asked to.

    Args:
        given: Settings that were typed or stand in a file.
        place: What will be trained on.

    Raises:
        ConfigError: If a setting is unknown or out of range.
    """
    section = given.get("language")
    quiet = {} if isinstance(section, Mapping) and "sample_length" in section else {"sample_length": 0}
    usual = {**FOCALNETS_ALONE, "precision": "float32", **quiet}
    own = dict(given)
    if isinstance(section, Mapping):
        own = {**own.pop("language"), **own}
    return resolve_config(settings={**usual, **own, "task": "language"}, data=place)


def language_run(model: ComparedModel, config: TrainingConfig, folder: Path, *, learning_rate: float, seed: int) -> Run:
    """Describe the training of a network with the settings that all share.

    Args:
        model: Which.
        config: The settings.
        folder: Of the comparison.
        learning_rate: Its highest rate.
        seed: Counted from 0.
    """
    own = config.replace(
        model=model.architecture,
        model_overrides=json.loads(json.dumps(dict(model.changes))),
        learning_rate=learning_rate,
        seed=config.seed + seed,
    )
    place = folder / "runs" / folder_name(model.name) / f"rate{learning_rate:g}_epochs{config.epochs}" / f"seed{seed}"
    return Run(model, seed, own, place)


def train_language_models(
    models: Sequence[ComparedModel], plan: TrainingPlan, data: TrainingData | None = None, *,
    after_run: AfterRun | None = None,
) -> dict[str, TextTraining]:  # fmt: skip
    """Find the best rate of every network, then train it with every seed; what is complete is kept.

    Args:
        models: The networks.
        plan: What all get.
        data: The texts of the plan's place, where they are open already.
        after_run: Called whenever a training has ended.

    Returns:
        By the name of each network.

    Raises:
        ConfigError: If runs that are there have other settings.
        InterruptedRunError: If stopped by Ctrl-C, after saving.
    """
    data = open_data(plan.place, plan.config) if data is None else data
    return _Trainings(models, plan, data, after_run).do()


class _Trainings:
    """The trainings of a plan, and what they gave so far."""

    def __init__(
        self, models: Sequence[ComparedModel], plan: TrainingPlan, data: TrainingData, after_run: AfterRun | None
    ) -> None:
        self.models, self.plan, self.data, self.after_run = models, plan, data, after_run
        self.failed: dict[Path, str] = {}
        self.done: set[Path] = set()
        self.ended, self.expected = 0, len(models) * len(plan.learning_rates)

    def do(self) -> dict[str, TextTraining]:
        plan = self.plan
        config = plan.config if plan.search_epochs is None else plan.config.replace(epochs=plan.search_epochs)
        searches = {
            model.name: [
                language_run(model, config, plan.folder, learning_rate=rate, seed=0) for rate in plan.learning_rates
            ]
            for model in self.models
        }
        self._train([run for runs in zip(*searches.values(), strict=True) for run in runs], searches)
        further = []
        for seed in range(plan.seeds):
            for model in self.models:
                rate = self._best_rate(searches[model.name])
                if rate is not None:
                    run = language_run(model, plan.config, plan.folder, learning_rate=rate, seed=seed)
                    further += [] if run in searches[model.name] else [run]
        self.expected += len(further)
        self._train(further, searches)
        return self._collect(searches)

    def _train(self, runs: Sequence[Run], searches: Mapping[str, Sequence[Run]]) -> None:
        plan = self.plan
        todo = [run for run in runs if plan.fresh or not is_complete(run, self.data)]
        self.done |= {run.folder for run in runs if run not in todo}
        self.ended += len(runs) - len(todo)

        def end(run: Run, why: str | None, seconds: float) -> None:
            self.ended += 1
            if why is None:
                self.done.add(run.folder)
            else:
                self.failed[run.folder] = why
            if self.after_run is not None:
                words = why or f"{self._nats(run):.3f} nats"
                self.after_run(
                    self._collect(searches),
                    f"[{self.ended}/{self.expected}] {run.model.name}, rate {run.config.learning_rate:g}, "
                    f"seed {run.seed}: {words} in {seconds / 60:.1f} min",
                )

        if plan.parallel > 1 and len(todo) > 1:
            processes = min(plan.parallel, len(todo))
            train_in_processes(todo, plan.config, plan.place, processes, fresh=plan.fresh, ended=end)
            return
        for run in todo:
            begun = time.monotonic()
            end(run, train_run(run, self.data, fresh=plan.fresh), time.monotonic() - begun)

    def _nats(self, run: Run) -> float | None:
        """Read what a training reached; None if it did not come to its end."""
        return read_run(run.folder).last if run.folder in self.done else None

    def _best_rate(self, runs: Sequence[Run]) -> float | None:
        reached = {run.config.learning_rate: nats for run in runs if (nats := self._nats(run)) is not None}
        return min(reached, key=reached.__getitem__, default=None)

    def _collect(self, searches: Mapping[str, Sequence[Run]]) -> dict[str, TextTraining]:
        return {model.name: self._result(model, searches[model.name]) for model in self.models}

    def _result(self, model: ComparedModel, searched: Sequence[Run]) -> TextTraining:
        plan, rate = self.plan, self._best_rate(searched)
        runs = [] if rate is None else [
            language_run(model, plan.config, plan.folder, learning_rate=rate, seed=seed) for seed in range(plan.seeds)
        ]  # fmt: skip
        nats = {run.seed: value for run in runs if (value := self._nats(run)) is not None}
        done = [read_run(run.folder) for run in runs if run.seed in nats]
        histories = [{int(row["epoch"]): row["val_nats"] for row in run.history} for run in done]
        shared = sorted(set.intersection(*map(set, histories))) if histories else []
        return TextTraining(
            by_rate={run.config.learning_rate: self._nats(run) for run in searched},
            learning_rate=rate,
            nats=nats,
            mean=statistics.fmean(nats.values()) if nats else None,
            interval=student_interval(list(nats.values())) if nats else None,
            curve=tuple((epoch, statistics.fmean(some[epoch] for some in histories)) for epoch in shared),
            training_s=statistics.fmean(run.wall_time_s for run in done) if done else None,
            failed=tuple(
                f"rate {run.config.learning_rate:g}, seed {run.seed}: {self.failed[run.folder]}"
                for run in {run.folder: run for run in [*searched, *runs]}.values()
                if run.folder in self.failed
            ),
        )
