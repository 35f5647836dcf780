"""The settings of a training from a recipe, a file and what was given beside them. Imports no torch."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from focalnets.errors import ConfigError, UnknownNameError, abridged, nearest
from focalnets.models.heads.table import DENSE_NETWORKS
from focalnets.models.sequence_config import LANGUAGE_VARIANTS
from focalnets.models.sequence_variants import SEQUENCE_VARIANTS
from focalnets.tasks.recognition import recognise_task
from focalnets.tasks.table import TASKS, settings_of
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import RECIPES, in_miniature
from focalnets.yaml_files import read_yaml

__all__ = ["default_output", "resolve_config"]


def resolve_config(
    recipe: str | None = None,
    config: TrainingConfig | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    on_recognised: Callable[[str], None] | None = None,
) -> TrainingConfig:
    """Put the settings of a training together: those of the recipe, then the config, then what was given.

    Which task is trained follows from what is given first of: the task itself, a network for one task, a recipe for
    one, the data.

    Args:
        recipe: A key of :data:`focalnets.training.recipes.RECIPES`; None takes that of the task, or else ``finetune``
            where weights are given to start from, else ``small``.
        config: Some settings as a mapping or a YAML file, e.g. the ``config.yaml`` of a run; or all of them, which
            leaves no room for a recipe.
        settings: Fields of :class:`TrainingConfig` and of its task that override all others.
        data: What will be trained on, which may say what task it is for; None leaves it unasked.
        on_recognised: Takes a sentence on what the data was recognised as.

    Raises:
        DataError: If the data is for several tasks and none is named.
        ConfigError: If a setting is unknown or out of range, the file cannot be read, or a recipe is given beside a
            complete config.
        UnknownNameError: If there is no such recipe.
    """
    given = dict(settings or {})
    if isinstance(config, TrainingConfig):
        if recipe is not None:
            raise ConfigError(
                f"A TrainingConfig is complete, which leaves no room for the recipe {recipe!r}; leave one out."
            )
        return config.replace(**given)
    place = "the config" if config is None or isinstance(config, Mapping) else f"'{os.fspath(config)}'"
    from_file: dict[str, Any] = {}
    if config is not None:
        from_file = dict(config) if isinstance(config, Mapping) else read_yaml(config)
    _require_names(from_file, place)
    weights = given.get("pretrained") or from_file.get("pretrained")
    if recipe is not None and recipe not in RECIPES:
        raise UnknownNameError(f"There is no recipe {abridged(recipe)}; {nearest(abridged(recipe), RECIPES)}")
    task = given.get("task", from_file.get("task"))
    if task is None:
        task = _task_without_name(recipe, {**from_file, **given}, data, on_recognised)
    if not isinstance(task, str):
        raise ConfigError(f"task in {place} must be a name, got {abridged(task)}.")
    if recipe is None:
        row = TASKS.get(task)
        recipe = (row.recipe if row is not None else "") or ("finetune" if weights else "small")
    base = RECIPES[recipe]()
    if recipe == "miniature" and task in TASKS and hasattr(settings_of(task), "miniature"):
        base = in_miniature(RECIPES[TASKS[task].recipe]())
    overrides = {
        **base.model_overrides,
        **_section_of(from_file, "model_overrides", place),
        **_section_of(given, "model_overrides", place),
    }
    section = _section_of(from_file, task, place)
    _require_names(section, place)
    from_file.pop(task, None)
    return base.replace(**{**from_file, **section, **given, "task": task, "model_overrides": overrides})


def _task_without_name(
    recipe: str | None, given: Mapping[str, Any], data: Any, on_recognised: Callable[[str], None] | None
) -> str:
    """Find the task that a network, a recipe, a setting or the data is for."""
    model = given.get("model")
    if isinstance(model, str) and model in DENSE_NETWORKS:
        return DENSE_NETWORKS[model].task
    if isinstance(model, str) and model in LANGUAGE_VARIANTS:
        return "language"
    if isinstance(model, str) and model in SEQUENCE_VARIANTS:
        return SEQUENCE_VARIANTS[model].task
    if given.get("label_field"):
        return "text"
    usual = "classify" if recipe is None else RECIPES[recipe]().task
    if usual != "classify" or data is None:
        return usual
    task, sentence = recognise_task(data)
    if sentence and on_recognised is not None:
        on_recognised(sentence)
    return task


def default_output(config: TrainingConfig) -> Path:
    """The folder of a run that was given none: ``runs/MODEL-DATE``."""
    return Path("runs") / f"{config.model}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _section_of(settings: Mapping[str, Any], name: str, place: str) -> Mapping[str, Any]:
    """What stands below a name; nothing where it is missing or empty."""
    section = settings.get(name)
    if not isinstance(section, Mapping | None):
        raise ConfigError(f"{name} in {place} must be a section of settings, got {abridged(section)}.")
    return section or {}


def _require_names(settings: Mapping[Any, Any], place: str) -> None:
    """Refuse settings of which one has something else than a name before its colon."""
    odd = [name for name in settings if not isinstance(name, str)]
    if odd:
        raise ConfigError(
            f"{place} holds {abridged(odd[0])}, which is no name of a setting; put names before the colons."
        )
