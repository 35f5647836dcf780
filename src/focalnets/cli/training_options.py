"""Settings of a training: as options of `focalnets train`, and in the files that other commands take."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from typing import Any

from focalnets.cli.config_file import Declared
from focalnets.cli.options import add_config
from focalnets.tasks.settings import field_descriptions
from focalnets.tasks.table import TASKS, settings_of
from focalnets.training.config import TrainingConfig

__all__ = ["add_training_config", "add_training_options", "training_option_names"]

# What the option is called in the other commands.
_SIZES = {"image_size": ("--size",)}


def add_training_options(parser: Any) -> None:
    """Add one option for each field of the training config; those that are not given are absent afterwards."""
    from jsonargparse import ActionYesNo

    for name, (field, kind, description) in _fields().items():
        # Only what was given comes back, so that recipes and files are not overridden by defaults.
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(field, description)}
        if kind is bool:
            parser.add_argument(f"--{name}", action=ActionYesNo, **options)
        else:
            if name in _SIZES:
                options["metavar"] = "PX"
            parser.add_argument(f"--{name}", *_SIZES.get(name, ()), type=kind, **options)


def add_training_config(parser: Any) -> None:
    """Add ``--config`` to a command that trains, whose file may also hold settings of the training.

    They are kept as ``settings``, except those that are options of the command too.
    """
    add_config(parser, " and settings of the training, e.g. the config.yaml of a run")
    parser.settings = {name: Declared(type=kind) for name, (_, kind, _) in _fields().items()}
    # What belongs to a task may stand in its section.
    parser.settings |= {task: Declared(type=dict[str, Any]) for task in TASKS}
    # It may also be a mapping of sizes to epochs.
    parser.settings["image_size_schedule"] = Declared(type=str | dict[str, Any] | None)


def training_option_names() -> set[str]:
    """Name every setting of a training and of all tasks."""
    return set(_fields())


def _fields() -> dict[str, tuple[dataclasses.Field, Any, str]]:
    """Each field of a training config and of the sections of all tasks, with its type and what it is.

    Those of another task than the one that is trained are refused where the config is built.
    """
    fields: dict[str, tuple[dataclasses.Field, Any, str]] = {}
    said: dict[str, dict[str, list[str]]] = {}
    owners = {"": TrainingConfig, **{task: settings_of(task) for task in TASKS}}
    for owner, config_class in owners.items():
        hints, descriptions = typing.get_type_hints(config_class), field_descriptions(config_class)
        for field in dataclasses.fields(config_class):
            if field.name == "settings":
                continue
            kind = dict[str, Any] if field.name == "model_overrides" else hints[field.name]
            first, known, _ = fields.get(field.name, (field, kind, ""))
            said.setdefault(field.name, {}).setdefault(descriptions[field.name], []).append(owner)
            fields[field.name] = (first, kind if kind == known else known | kind, _joined(said[field.name]))
    return fields


def _joined(said: dict[str, list[str]]) -> str:
    """What an option is, task by task where it is not the same for all."""
    if len(said) == 1:
        return next(iter(said))
    return " ".join(f"{', '.join(owners)}: {text[0].lower()}{text[1:]}" for text, owners in said.items())


def _help(field: dataclasses.Field, description: str) -> str:
    default = field.default
    shown = "" if default is dataclasses.MISSING or default is None or default is False else f" (default: {default})"
    return (description[0].lower() + description[1:]).rstrip(".").replace("%", "%%") + shown
