"""``focalnets compare``: networks side by side, by cost or after the same training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.errors import ConfigError

EXAMPLES = """\
  focalnets compare --models focalnet_tiny_lrf swin_tiny_patch4_window7_224 convnext_tiny --sizes 224 384 --batch 1
  focalnets compare --variations --sizes 224 --batch 1
  focalnets compare --variations full additive no_gates --train photos --epochs 20 --seeds 3
"""

_DEFAULT_MODELS = ("focalnet_tiny_lrf", "focalnet_tiny_srf")


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--models", nargs="+", type=str, metavar="NAME", help="networks of focalnets and timm")
    parser.add_argument(
        "--variations", nargs="*", type=str, metavar="NAME", help="rows of the table of variations; all without NAME"
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[224], help="heights and widths of images [px]")
    parser.add_argument("--batch", nargs="+", type=int, default=[1], help="images at once")
    parser.add_argument("--tasks", nargs="+", type=str, default=["inference", "training"], help="inference, training")
    parser.add_argument("--minutes", type=float, default=15.0, help="time for all cells together")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ... or mps")
    parser.add_argument("--output", type=str, default="comparison", metavar="DIR", help="folder; what is there is kept")
    parser.add_argument("--fresh", action="store_true", help="measure and train again what is there already")
    parser.add_argument("--train", type=str, metavar="DATA", help="train all on these images instead of measuring cost")
    parser.add_argument("--epochs", type=int, default=10, help="with --train: passes over the images")
    parser.add_argument("--seeds", type=int, default=1, help="with --train: trainings of each network")
    parser.add_argument("--config", type=str, metavar="FILE", help="with --train: YAML file with other settings")


def run(arguments: Any) -> int:
    """Compare."""
    from focalnets.compare.entrants import find_entrants
    from focalnets.compare.variations import VARIATIONS

    names = list(arguments.models or ())
    if arguments.variations is not None:
        names += arguments.variations or list(VARIATIONS)
    entrants = find_entrants(names or _DEFAULT_MODELS)
    folder = Path(arguments.output)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The output '{folder}' is a file; name a folder.")
    return _train(arguments, entrants, folder) if arguments.train is not None else _measure(arguments, entrants, folder)


def _measure(arguments: Any, entrants: Any, folder: Path) -> int:
    unknown = sorted(set(arguments.tasks) - {"inference", "training"})
    if unknown:
        raise ConfigError(f"--tasks must be inference, training or both, got {', '.join(unknown)}.")

    from focalnets.cli.output import progress
    from focalnets.compare.charts import draw_comparison
    from focalnets.compare.measurement import Plan, describe_setting, fill
    from focalnets.compare.page import write_page
    from focalnets.compare.results import Comparison, read_comparison
    from focalnets.tasks.devices import choose_device

    plan = Plan(
        entrants=tuple(entrants),
        sizes_px=tuple(arguments.sizes),
        batches=tuple(arguments.batch),
        tasks=tuple(arguments.tasks),
        device=choose_device(arguments.device),
        minutes=arguments.minutes,
    )
    setting = describe_setting(plan.device)
    comparison = Comparison(setting) if arguments.fresh else read_comparison(folder, setting)
    with progress("comparing", len(plan.groups())) as bar:
        fill(comparison, plan, after_group=lambda some: some.write(folder), progress=bar)
    comparison.write(folder)
    write_page(comparison, draw_comparison(comparison, folder), folder)
    _show_cells(comparison)
    print(f"everything is in {folder}: report.html, comparison.csv, comparison.json, pictures")
    return 0


def _train(arguments: Any, entrants: Any, folder: Path) -> int:
    import dataclasses

    from focalnets.cli.train import _resolve
    from focalnets.compare.training import train_all
    from focalnets.files import write_json

    config = _resolve(None, arguments.config, {"epochs": arguments.epochs})
    rows = train_all(entrants, config, arguments.train, folder, seeds=arguments.seeds, fresh=arguments.fresh)
    write_json(folder / "accuracy.json", [dataclasses.asdict(row) for row in rows])
    lines = [("network", "top-1", "95 % interval", "ImageNet-1K top-1, published [%]")]
    for row in sorted(rows, key=lambda one: -one.mean):
        published = "-" if row.published_top1_percent is None else f"{row.published_top1_percent:.1f}"
        lines.append((row.model, f"{row.mean:.2%}", f"{row.interval[0]:.2%} to {row.interval[1]:.2%}", published))
    _show(lines)
    return 0


def _show_cells(comparison: Any) -> None:
    lines = [("network", "task", "size", "batch", "M params", "GMACs", "ms (20 to 80 %)", "images/s", "peak MiB")]
    for cell in comparison.sorted_cells():
        parameters, latency = comparison.networks[cell.model].parameters, cell.latency_s
        time = cell.status
        if latency is not None:
            time = f"{1e3 * latency['median']:.1f} ({1e3 * latency['p20']:.1f} to {1e3 * latency['p80']:.1f})"
        lines.append(
            (
                cell.model,
                cell.task,
                str(cell.size_px),
                str(cell.batch),
                "-" if parameters is None else f"{parameters / 1e6:.2f}",
                "-" if cell.macs is None else f"{cell.macs / 1e9:.2f}",
                time,
                "-" if cell.images_per_s is None else f"{cell.images_per_s:.2f}",
                "-" if cell.peak_bytes is None else f"{cell.peak_bytes / 2**20:.0f}",
            )
        )
    _show(lines)


def _show(lines: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, title in enumerate(lines[0]):
        table.add_column(title, justify="left" if index == 0 else "right", overflow="fold")
    for line in lines[1:]:
        table.add_row(*line)
    Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table, markup=False)
