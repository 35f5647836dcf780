"""The settings of a training from a recipe, a file and what was given beside them. Imports no torch."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from focalnets.errors import ConfigError, UnknownNameError, abridged, nearest
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import RECIPES
from focalnets.yaml_files import read_yaml

__all__ = ["default_output", "resolve_config"]


def resolve_config(
    recipe: str | None = None,
    config: TrainingConfig | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TrainingConfig:
    """Put the settings of a training together: those of the recipe, then the config, then what was given.

    Args:
        recipe: A key of :data:`focalnets.training.recipes.RECIPES`; None takes ``finetune`` where weights are given to
            start from, else ``small``.
        config: Some settings as a mapping or a YAML file, e.g. the ``config.yaml`` of a run; or all of them, which
            leaves no room for a recipe.
        settings: Fields of :class:`TrainingConfig` and of its task that override all others.

    Raises:
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
    if recipe is None:
        recipe = "finetune" if (given.get("pretrained") or from_file.get("pretrained")) else "small"
    if recipe not in RECIPES:
        raise UnknownNameError(f"There is no recipe {recipe!r}; {nearest(recipe, RECIPES)}")
    base = RECIPES[recipe]()
    overrides = {
        **base.model_overrides,
        **_section_of(from_file, "model_overrides", place),
        **_section_of(given, "model_overrides", place),
    }
    odd = next((name for name in from_file if not isinstance(name, str)), None)
    if odd is not None:
        raise ConfigError(f"{place} holds {abridged(odd)}, which is no name of a setting; put names before the colons.")
    task = given.get("task", from_file.get("task", base.task))
    if not isinstance(task, str):
        raise ConfigError(f"task in {place} must be a name, got {abridged(task)}.")
    section = _section_of(from_file, task, place)
    from_file.pop(task, None)
    return base.replace(**{**from_file, **section, **given, "model_overrides": overrides})


def default_output(config: TrainingConfig) -> Path:
    """The folder of a run that was given none: ``runs/MODEL-DATE``."""
    return Path("runs") / f"{config.model}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _section_of(settings: Mapping[str, Any], name: str, place: str) -> Mapping[str, Any]:
    """What stands below a name; nothing where it is missing or empty."""
    section = settings.get(name)
    if not isinstance(section, Mapping | None):
        raise ConfigError(f"{name} in {place} must be a section of settings, got {abridged(section)}.")
    return section or {}
