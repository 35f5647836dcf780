"""Language models of several kinds measured one after the other into one folder, which a second call completes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch

from focalnets.compare.language.recall import RecallSettings, measure_recall
from focalnets.compare.language.results import LanguageComparison, LanguageRow
from focalnets.compare.language.speed import SpeedSettings, measure_speeds
from focalnets.compare.language.training import TextTraining, TrainingPlan, train_language_models
from focalnets.compare.models import ComparedModel
from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError
from focalnets.models.sequence import FocalLanguageModel
from focalnets.models.sequence_config import LanguageConfig, language_variant
from focalnets.training.trainer import open_data

__all__ = ["USUAL_MODELS", "compare_language_models", "network_config", "require_language_models"]

USUAL_MODELS = (
    "focal_language_small_ema",
    "focal_language_small_memory",
    "focal_language_small_hybrid",
    "attention_language_small",
    "short_conv_attention_language_small",
    "recurrence_language_small",
    "long_convolution_language_small",
)
"""What is compared if nothing is named: one of each kind, all of one size."""


def require_language_models(models: Sequence[ComparedModel]) -> None:
    """Refuse networks that read no text.

    Raises:
        ConfigError: With the name of the first.
    """
    for model in models:
        if model.family != "language":
            raise ConfigError(f"'{model.name}' reads no text; a comparison of language models takes these alone.")


def network_config(model: ComparedModel, vocabulary_size: int | None = None) -> LanguageConfig:
    """Describe a network of a comparison, with the vocabulary of a text if there is one."""
    vocabulary = {} if vocabulary_size is None else {"vocabulary_size": vocabulary_size}
    return language_variant(model.architecture).config.replace(**{**model.changes, **vocabulary})


def compare_language_models(
    models: Sequence[ComparedModel],
    comparison: LanguageComparison,
    *,
    speed: SpeedSettings,
    recall: RecallSettings | None,
    plan: TrainingPlan | None = None,
    data: TrainingData | None = None,
    device: torch.device | str = "cpu",
    after: Callable[[str], None] | None = None,
) -> None:
    """Fill a comparison: cost and recall of what has none yet, then trainings, which are kept in their own folders.

    Args:
        models: The networks.
        comparison: Takes the rows; those of other networks stay.
        speed: How cost is measured: of all networks in the same rounds, as soon as one of them has none.
        recall: How recall is measured; None leaves it out.
        plan: Trainings on a text; None leaves them out.
        data: The texts of the plan, where they are open already.
        device: Where cost and recall are measured.
        after: Called with a line for people whenever something is done; the comparison is worth keeping then.

    Raises:
        ConfigError: If a network reads no text, or runs that are there have other settings.
        InterruptedRunError: If stopped by Ctrl-C, after saving.
    """
    require_language_models(models)
    say = after or (lambda line: None)
    vocabulary = None
    if plan is not None:
        data = open_data(plan.place, plan.config) if data is None else data
        task: Any = plan.config.build_task().with_data(data)
        vocabulary = task.spec.vocabulary_size
    configs = {model.name: network_config(model, vocabulary) for model in models}
    for model in models:
        with torch.device("meta"):
            parameters = sum(each.numel() for each in FocalLanguageModel(configs[model.name]).parameters())
        summary = ", ".join(
            [
                language_variant(model.architecture).summary,
                *(f"{name} {value}" for name, value in model.changes.items()),
            ]
        )
        comparison.add(LanguageRow(model=model.name, summary=summary, parameters=parameters))

    def put(name: str, **parts: Any) -> None:
        comparison.rows[name] = dataclasses.replace(comparison.rows[name], **parts)

    if any(comparison.rows[name].speed is None for name in configs):
        networks = {name: FocalLanguageModel(config).to(device) for name, config in configs.items()}
        for name, measured in measure_speeds(networks, speed).items():
            put(name, speed=measured)
        say("measured tokens a second")
    if recall is not None:
        for name, config in configs.items():
            if comparison.rows[name].recall is None:
                found = measure_recall(config, recall, device)
                put(name, recall=found)
                say(f"{name}: recalls {found.fraction:.1%} of {recall.pairs} pairs")

    def keep(trainings: dict[str, TextTraining], line: str) -> None:
        for name, training in trainings.items():
            put(name, training=training)
        say(line)

    if plan is not None:
        for name, training in train_language_models(models, plan, data, after_run=keep).items():
            put(name, training=training)
