"""``focalnets benchmark_data``: whether reading images or learning them takes the time."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.training.config import TrainingConfig

EXAMPLES = """\
  focalnets benchmark_data photos
  focalnets benchmark-data shards --image_size 128 --batch_size 64 --workers 2
  focalnets benchmark_data photos --config runs/photos/config.yaml --json -

  The loader runs alone, then the training step on a batch that is already there. Close other programs meanwhile."""


def add_arguments(parser: Any) -> None:
    """Add the data, the settings that decide the speed, and how long to measure."""
    parser.add_argument("data", metavar="DATA", help="folder of images, CSV file or shards")
    parser.add_argument("--config", metavar="FILE", help="YAML file with settings, e.g. the config.yaml of a run")
    parser.add_argument("--model", help="name of the network (default: focalnet_pico)")
    parser.add_argument("--image_size", type=int, help="size of the images the network sees [px] (default: 128)")
    parser.add_argument("--batch_size", type=int, help="images a batch (default: 64)")
    parser.add_argument("--workers", type=int, help="processes that read images (default: chosen for this machine)")
    parser.add_argument("--augmentation", help="none, light or strong (default: light)")
    parser.add_argument("--precision", help="float32, bfloat16 or float16 (default: float32)")
    parser.add_argument("--device", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--batches", type=int, default=20, help="batches to time (default: 20)")
    parser.add_argument("--warmup", type=int, default=4, help="batches before that (default: 4)")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - for standard output")


def run(arguments: Any) -> int:
    """Measure and say what to change."""
    config = _config(arguments)

    from focalnets.files import json_text, write_json
    from focalnets.training.throughput import measure_throughput
    from focalnets.training.trainer import open_data

    data = open_data(arguments.data, config)
    measured = measure_throughput(data, config, batches=arguments.batches, warmup=arguments.warmup)
    result = dataclasses.asdict(measured) | {"ratio": measured.ratio, "verdict": measured.verdict()}
    if arguments.json == "-":
        print(json_text(result), end="")
        return 0
    if arguments.json is not None:
        write_json(arguments.json, result)
    print(
        f"loader alone: {measured.loader_images_s:,.0f} images/s with {measured.workers} workers\n"
        f"step alone:   {measured.step_images_s:,.0f} images/s on {measured.device}, batches of {measured.batch_size} "
        f"at {measured.image_size} px\n"
        f"ratio:        {measured.ratio:.2f} (2 or more: reading never holds training up)\n"
        f"{measured.verdict()}"
    )
    return 0


def _config(arguments: Any) -> TrainingConfig:
    """The settings of the file, or the defaults at 128 px, with the options given."""
    import yaml

    from focalnets.errors import ConfigError

    if arguments.config is None:
        config = TrainingConfig(image_size=128)
    else:
        try:
            with open(arguments.config, encoding="utf-8") as file:
                content = yaml.safe_load(file)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(
                f"The config '{arguments.config}' cannot be read ({' '.join(str(error).split())})."
            ) from error
        if not isinstance(content, dict):
            raise ConfigError(f"The config '{arguments.config}' must hold settings such as 'epochs: 10'.")
        config = TrainingConfig.from_dict(content)
    names = ("model", "image_size", "batch_size", "workers", "augmentation", "precision", "device")
    return config.replace(**{name: value for name in names if (value := getattr(arguments, name)) is not None})
