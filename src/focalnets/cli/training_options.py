"""Settings of a training: as options of `focalnets train`, and in the files that other commands take."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from typing import Any

from focalnets.cli.config_file import Declared
from focalnets.cli.options import add_config
from focalnets.training.config import TrainingConfig, field_descriptions

__all__ = ["add_training_config", "add_training_options"]

# What the option is called in the other commands.
_SIZES = {"image_size": ("--size",)}


def add_training_options(parser: Any) -> None:
    """Add one option for each field of the training config; those that are not given are absent afterwards."""
    from jsonargparse import ActionYesNo

    descriptions = field_descriptions(TrainingConfig)
    for name, kind in _types().items():
        # Only what was given comes back, so that recipes and files are not overridden by defaults.
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(name, descriptions[name])}
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
    parser.settings = {name: Declared(type=kind) for name, kind in _types().items()}
    # It may also be a mapping of sizes to epochs.
    parser.settings["image_size_schedule"] = Declared(type=str | dict[str, Any] | None)


def _types() -> dict[str, Any]:
    hints = typing.get_type_hints(TrainingConfig)
    return {
        field.name: dict[str, Any] if field.name == "model_overrides" else hints[field.name]
        for field in dataclasses.fields(TrainingConfig)
    }


def _help(name: str, description: str) -> str:
    default = TrainingConfig.__dataclass_fields__[name].default
    shown = "" if default is dataclasses.MISSING or default is None or default is False else f" (default: {default})"
    return (description[0].lower() + description[1:]).rstrip(".").replace("%", "%%") + shown
