"""``focalnets train``: from a folder of images to a network, with everything about it in one folder."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import shlex
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from focalnets.errors import ConfigError, UnknownNameError
from focalnets.machine.process import ignore_ctrl_c_in_helpers, keep_freed_memory
from focalnets.tasks.settings import field_descriptions
from focalnets.tasks.table import TASKS, settings_of
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import RECIPES

EXAMPLES = """\
  focalnets train photos --model focalnet_pico --epochs 10 --output runs/photos
  focalnets train photos --pretrained timm/focalnet_tiny_srf.ms_in1k --output runs/finetuned
  focalnets train --resume runs/photos
  focalnets train photos --recipe small --print_config > config.yaml
  focalnets train photos --config config.yaml --model_overrides.stem convolutional

  photos holds one folder of images for each class, or train/ and val/ with such folders. It may also be a CSV file
  with columns path,label[,split], or shards: a folder of them, a pattern such as 'train-{000..012}.tar', or a URL.
  Settings come from the recipe, then --config, then the options given here."""


def add_arguments(parser: Any) -> None:
    """Add the folder, the run and one option for each field of the training config."""
    parser.add_argument("data", nargs="?", metavar="DATA", help="images: folder, CSV file or shards; not with --resume")
    parser.add_argument("--output", metavar="RUN", help="folder for the run (default: runs/MODEL-DATE)")
    parser.add_argument("--resume", metavar="RUN", help="continue the run in this folder with its own settings")
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is already in the output folder")
    parser.add_argument(
        "--recipe", choices=list(RECIPES), help="settings to start from (default: small, or finetune with --pretrained)"
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with settings, e.g. the config.yaml of a run")
    # jsonargparse gives this option an empty value when it prepares the arguments.
    parser.add_argument("--print_config", nargs="?", const="", help="show the resulting settings as YAML and stop")
    _add_fields(parser, TrainingConfig, leave_out=("settings",))
    # The settings of all tasks are offered; those of another task than the one trained are refused when they are used.
    for task in TASKS:
        _add_fields(parser, settings_of(task))


def _add_fields(parser: Any, config_class: type, leave_out: Sequence[str] = ()) -> None:
    from jsonargparse import ActionYesNo

    hints = typing.get_type_hints(config_class)
    descriptions = field_descriptions(config_class)
    for field in dataclasses.fields(config_class):
        if field.name in leave_out or f"--{field.name}" in parser._option_string_actions:
            continue
        # Only what was given comes back, so that recipe and file below are not overridden by defaults.
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(field, descriptions[field.name])}
        if hints[field.name] is bool:
            parser.add_argument(f"--{field.name}", action=ActionYesNo, **options)
        else:
            hint = dict[str, Any] if field.name == "model_overrides" else hints[field.name]
            parser.add_argument(f"--{field.name}", type=hint, **options)


def run(arguments: Any) -> int:
    """Train, continue, or show the settings."""
    ignore_ctrl_c_in_helpers()
    keep_freed_memory()
    sections = (TrainingConfig, *map(settings_of, TASKS))
    names = {field.name for section in sections for field in dataclasses.fields(section)} - {"settings"}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    if arguments.resume is not None:
        return _resume(arguments, given)
    config = _resolve(arguments.recipe, arguments.config, given)
    if arguments.print_config is not None:
        print(yaml.safe_dump(config.to_dict(), sort_keys=False), end="")
        return 0
    if arguments.data is None:
        raise ConfigError("expected a folder of images to train on, got none; see focalnets train --help.")

    from focalnets.training.launch import is_first_process
    from focalnets.training.run_folder import RunFolder
    from focalnets.training.trainer import open_data, train

    output = arguments.output
    if output is None:
        output = Path("runs") / f"{config.model}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    first = is_first_process(config)
    if first:
        RunFolder(output).check_free(arguments.overwrite)  # Before the images are looked at, which may take a while.
    data = open_data(arguments.data, config)
    for file, reason in data.left_out:
        print(f"left out {file}: {reason}", file=sys.stderr)
    result = train(config, data, output=output, overwrite=arguments.overwrite)
    if first:
        _report(result, arguments.data)
    return 0


def _resume(arguments: Any, given: dict[str, Any]) -> int:
    unfitting = [
        name for name in ("recipe", "config", "output", "print_config") if getattr(arguments, name) is not None
    ]
    unfitting += (["overwrite"] if arguments.overwrite else []) + sorted(given)
    if unfitting:
        raise ConfigError(
            f"--resume continues a run with its own settings, without {', '.join(f'--{name}' for name in unfitting)}; "
            "leave that out, or start a new run with --pretrained RUN."
        )

    from focalnets.training.launch import is_first_process
    from focalnets.training.run_folder import RunFolder
    from focalnets.training.trainer import resume

    result = resume(arguments.resume, root=arguments.data)
    if is_first_process(RunFolder(arguments.resume).read_config()):
        _report(result, arguments.data or "DATA")
    return 0


def _resolve(recipe: str | None, file: str | None, given: dict[str, Any]) -> TrainingConfig:
    from_file = {} if file is None else _read_config(Path(file))
    if recipe is None:
        recipe = "finetune" if (given.get("pretrained") or from_file.get("pretrained")) else "small"
    if recipe not in RECIPES:
        raise UnknownNameError(f"There is no recipe {recipe!r}; the recipes are {', '.join(RECIPES)}.")
    base = RECIPES[recipe]()
    overrides = {**base.model_overrides, **from_file.get("model_overrides", {}), **given.get("model_overrides", {})}
    task = given.get("task", from_file.get("task", base.task))
    section = from_file.pop(task, None) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{task} in '{file}' must be a section of settings, got {section!r}.")
    return base.replace(**{**from_file, **section, **given, "model_overrides": overrides})


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The config '{path}' cannot be read ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict):
        raise ConfigError(f"The config '{path}' must hold settings such as 'epochs: 10', got {type(content).__name__}.")
    return content


def _report(result: Any, data: str) -> None:
    run_folder, folder = shlex.quote(str(result.run)), shlex.quote(str(data))
    print(
        f"best: {result.label} in epoch {result.best_epoch}; everything is in {result.run}\n"
        f"next: focalnets evaluate {run_folder} {folder}\n"
        f"      focalnets predict IMAGE --model {run_folder}\n"
        f"      focalnets explain IMAGE --model {run_folder}"
    )


def _help(field: dataclasses.Field, description: str) -> str:
    default = field.default
    shown = "" if default is dataclasses.MISSING or default is None or default is False else f" (default: {default})"
    return (description[0].lower() + description[1:]).rstrip(".").replace("%", "%%") + shown
