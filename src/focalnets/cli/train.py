"""``focalnets train``: from a folder of images to a network, with everything about it in one folder."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from focalnets.cli.options import add_flag, add_json, add_output
from focalnets.cli.output import deliver, note
from focalnets.cli.training_options import add_training_options, training_option_names
from focalnets.errors import ConfigError
from focalnets.machine.process import end_with_parent, ignore_ctrl_c_in_helpers, keep_freed_memory
from focalnets.training.recipes import RECIPES
from focalnets.training.resolve import resolve_config

EXAMPLES = """\
  focalnets train photos --model focalnet_pico --epochs 10 --output runs/photos
  focalnets train photos --pretrained timm/focalnet_tiny_srf.ms_in1k --output runs/finetuned
  focalnets train --resume runs/photos
  focalnets train corpus.txt --output runs/text
  focalnets train messages.csv --text_field message --label_field kind --output runs/spam
  focalnets train sensors --output runs/sensors
  focalnets train photos --recipe small --print_config > config.yaml
  focalnets train photos --config config.yaml --model_overrides.stem convolutional

  photos holds one folder of images for each class, or train/ and val/ with such folders. It may also be a CSV file
  with columns path,label[,split], or shards: a folder of them, a pattern such as 'train-{000..012}.tar', or a URL.
  Texts (.txt, .jsonl, .gz of these, or a folder of them) train a language model. Tables of texts with labels (CSV, TSV,
  .jsonl), or a folder of text files for each class, train a classifier of texts; a folder of CSV or .npy files for each
  class, or an .npz with x and y, one of series of numbers.
  Settings come from the recipe, then --config, then the options given here."""


def add_arguments(parser: Any) -> None:
    """Add the folder, the run and one option for each field of the training config."""
    parser.add_argument(
        "data",
        type=str,
        nargs="?",
        metavar="DATA",
        help="images: folder, CSV file or shards; or texts, or series; not with --resume",
    )
    add_output(parser, "folder for the run (default: runs/MODEL-DATE)")
    add_json(parser, "what the training reached")
    parser.add_argument(
        "--resume", type=str, metavar="RUN", help="continue the run in this folder with its own settings"
    )
    add_flag(parser, "overwrite", "replace a run that is already in the output folder")
    parser.add_argument(
        "--recipe", choices=list(RECIPES), help="settings to start from (default: small, or finetune with --pretrained)"
    )
    parser.add_argument(
        "--config", type=str, metavar="FILE", help="YAML file with settings, e.g. the config.yaml of a run"
    )
    parser.add_argument(
        "--print_config", action="store_const", const="", help="show the resulting settings as YAML and stop"
    )
    add_training_options(parser)


def run(arguments: Any) -> int:
    """Train, continue, or show the settings."""
    ignore_ctrl_c_in_helpers()
    end_with_parent()
    keep_freed_memory()
    names = training_option_names()
    given = {name: value for name, value in vars(arguments).items() if name in names}
    if arguments.resume is not None:
        return _resume(arguments, given)
    config = resolve_config(arguments.recipe, arguments.config, given, data=arguments.data, on_recognised=note)
    if arguments.print_config is not None:
        print(yaml.safe_dump(config.to_dict(), sort_keys=False), end="")
        return 0
    if arguments.data is None:
        raise ConfigError("expected a folder of images to train on, got none; see focalnets train --help.")

    from focalnets import api
    from focalnets.training.launch import is_first_process

    result = api.train(
        arguments.data, config=config, output=arguments.output, overwrite=arguments.overwrite, quiet=arguments.quiet
    )
    if is_first_process(config):
        task = config.build_task()
        deliver(arguments, lambda: _report(result, arguments.data, task), json=result.to_dict)
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

    from focalnets import api
    from focalnets.training.launch import is_first_process
    from focalnets.training.run_folder import RunFolder

    result = api.train(arguments.data, resume=arguments.resume, quiet=arguments.quiet)
    config = RunFolder(arguments.resume).read_config()
    if is_first_process(config):
        task = config.build_task()
        deliver(arguments, lambda: _report(result, arguments.data or "DATA", task), json=result.to_dict)
    return 0


def _report(result: Any, data: str, task: Any) -> None:
    run_folder, folder = shlex.quote(str(result.run)), shlex.quote(str(data))
    print(
        f"best: {result.label} in epoch {result.best_epoch}; everything is in {result.run}\n"
        f"next: focalnets evaluate {run_folder} {folder}"
    )
    for command in task.next_commands:
        print(f"      focalnets {command.format(model=run_folder)}")
