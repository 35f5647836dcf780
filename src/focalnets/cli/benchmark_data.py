"""``focalnets benchmark_data``: whether reading images or learning them takes the time."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.cli.options import add_device, add_json, add_size, require_whole
from focalnets.cli.output import deliver, note
from focalnets.cli.training_options import add_training_config
from focalnets.training.config import TrainingConfig

EXAMPLES = """\
  focalnets benchmark_data photos
  focalnets benchmark-data shards --size 128 --batch_size 64 --workers 2
  focalnets benchmark_data photos --config runs/photos/config.yaml --json

  The loader runs alone, then the training step on a batch that is already there. Close other programs meanwhile."""


def add_arguments(parser: Any) -> None:
    """Add the data, the settings that decide the speed, and how long to measure."""
    parser.add_argument("data", type=str, metavar="DATA", help="folder of images, CSV file or shards")
    add_training_config(parser)
    parser.add_argument("--model", type=str, metavar="NAME", help="name of the network (default: focalnet_pico)")
    add_size(parser, "side of the images that the network sees", aliases=("--image_size",), shown_default="128")
    parser.add_argument("--batch_size", type=int, help="images a batch (default: 64)")
    parser.add_argument("--workers", type=int, help="processes that read images (default: chosen for this machine)")
    parser.add_argument("--augmentation", type=str, help="none, light or strong (default: light)")
    parser.add_argument("--precision", type=str, help="float32, bfloat16, float16 or auto (default: float32)")
    add_device(parser)
    parser.add_argument("--batches", type=int, default=20, help="batches to time (default: 20)")
    parser.add_argument("--warmup", type=int, default=4, help="batches before that (default: 4)")
    add_json(parser, "the result")


def run(arguments: Any) -> int:
    """Measure and say what to change."""
    require_whole(arguments, batches=1, warmup=1)
    config = _config(arguments)

    from focalnets.training.throughput import measure_throughput
    from focalnets.training.trainer import open_data

    data = open_data(arguments.data, config)
    for text in data.notes:
        note(text)
    measured = measure_throughput(data, config, batches=arguments.batches, warmup=arguments.warmup)
    deliver(
        arguments,
        lambda: _show(measured),
        json=lambda: dataclasses.asdict(measured) | {"ratio": measured.ratio, "verdict": measured.verdict()},
    )
    return 0


def _config(arguments: Any) -> TrainingConfig:
    """The settings of the file over the defaults at 128 px, with the options given."""
    names = ("model", "batch_size", "workers", "augmentation", "precision")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.device != "auto":
        given["device"] = arguments.device
    if arguments.size is not None:
        given["image_size"] = arguments.size
    defaults = {"image_size": 128} if arguments.config is None else {}
    return TrainingConfig.from_dict({**defaults, **arguments.settings, **given})


def _show(measured: Any) -> None:
    print(
        f"loader alone: {measured.loader_images_s:,.0f} images/s with {measured.workers} workers\n"
        f"step alone:   {measured.step_images_s:,.0f} images/s on {measured.device}, batches of {measured.batch_size} "
        f"at {measured.image_size} px\n"
        f"ratio:        {measured.ratio:.2f} (2 or more: reading never holds training up)\n"
        f"{measured.verdict()}"
    )
