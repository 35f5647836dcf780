"""``focalnets compare``: networks side by side, by cost or after the same training; also language models."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from focalnets.cli.compare_language import FILES, compare_language, compares_language
from focalnets.cli.destinations import require_folder
from focalnets.cli.options import add_csv, add_device, add_flag, add_json, add_output, require_whole
from focalnets.cli.output import deliver, is_quiet, keep, note, prints_progress, progress_line
from focalnets.cli.result_table import show_lines
from focalnets.cli.training_options import add_training_config
from focalnets.tasks.table import TASKS

EXAMPLES = """\
  focalnets compare --models focalnet_tiny_lrf swin_tiny_patch4_window7_224 convnext_tiny --size 224 384 --batch 1
  focalnets compare --variations --size 224 --batch 1
  focalnets compare --variations full additive no_gates --train photos --epochs 20 --seeds 3
  focalnets compare --variations --skeleton.embed_dim 24 --train photos --config settings.yaml --parallel 2
  focalnets compare --rows my_mixer.py --variations full my_mixer --size 224
  focalnets compare --models focalnet_pico swin_tiny_patch4_window7_224:embed_dim=36 --train photos --epochs 5
  focalnets compare --models focalnet_pico resnet18 --task detect --size 256
  focalnets compare --models focalnet_pico resnet18 convnext_atto --train bccd --epochs 20 --seeds 3
  focalnets compare --task language --size 256 4096
  focalnets compare --train corpus.txt --learning_rates 1e-3 3e-3 1e-2 --seeds 3 --parallel 2
  focalnets compare --models focal_language_small attention_language_small:depth=5 --train corpus.txt

  Cells are measured from the cheapest on until --minutes are used up; those that no longer fit say what they would have
  taken. What is in the output folder already is kept, so a command that was stopped goes on, and more --minutes fill
  what was left out."""

_FILES = (
    "accuracy.csv",
    "accuracy.json",
    "accuracy.png",
    "comparison.csv",
    "comparison.json",
    *FILES,
    "report.html",
    "runs/.writable",
)
_DEFAULT_MODELS = ("focalnet_tiny_lrf", "focalnet_tiny_srf")


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--models",
        nargs="+",
        type=str,
        metavar="NAME",
        help="networks of focalnets and timm, changed or not: NAME:FIELD=VALUE,FIELD=VALUE",
    )
    parser.add_argument(
        "--variations", nargs="*", type=str, metavar="NAME", help="rows of the table of variations; all without NAME"
    )
    parser.add_argument(
        "--rows", nargs="+", type=str, default=[], metavar="FILE", help="Python files that add rows to that table"
    )
    parser.add_argument(
        "--skeleton", type=dict[str, Any], default={}, help="fields of the variations' config to change for all of them"
    )
    add_output(parser, "folder for everything; what is there is kept", default="comparison")
    add_flag(parser, "fresh", "measure and train again what is there already")
    cost = "without --train: "
    parser.add_argument(
        "--size",
        "--sizes",
        nargs="+",
        type=int,
        metavar="PX",
        help=f"input sizes [px]: {cost}heights and widths of images (default: 224); of language models the tokens read "
        "before a text is continued (default: 256 2048)",
    )
    parser.add_argument("--batch", nargs="+", type=int, help=f"{cost}images at once (default: 1)")
    parser.add_argument("--tasks", nargs="+", type=str, help=f"{cost}inference, training (default: both)")
    parser.add_argument("--minutes", type=float, help=f"{cost}time for all cells together (default: 15)")
    add_device(parser)
    parser.add_argument(
        "--task",
        type=str,
        choices=[*(name for name, row in TASKS.items() if row.of_images), "language"],
        help="whose head all networks get, or language (default: classify, or with --train what the data is for)",
    )
    parser.add_argument(
        "--train",
        type=str,
        metavar="DATA",
        help="train all on these images instead of measuring cost; language models on a text, besides measuring cost",
    )
    parser.add_argument("--epochs", type=int, help="with --train: passes over the data (default: of --config, or 10)")
    parser.add_argument("--seeds", type=int, default=1, help="with --train: trainings of each network")
    parser.add_argument("--parallel", type=int, default=1, help="with --train: trainings at once")
    language = "language models: "
    parser.add_argument(
        "--learning_rates",
        nargs="+",
        type=float,
        metavar="RATE",
        help=f"{language}with --train: each takes its best of these (default: of --config, or 1e-3 3e-3 1e-2)",
    )
    parser.add_argument(
        "--search_epochs", type=int, metavar="N", help=f"{language}epochs of the trainings that find it (default: all)"
    )
    parser.add_argument(
        "--recall_steps",
        type=int,
        metavar="N",
        help=f"{language}steps of learning to recall; 0 for none (default: 1000)",
    )
    parser.add_argument(
        "--recall_pairs", type=int, metavar="N", help=f"{language}pairs of a text to recall (default: 4)"
    )
    add_training_config(parser)
    add_json(parser, "all figures in the output folder")
    add_csv(parser, "one line for each cell, or with --train for each network,")


def run(arguments: Any) -> int:
    """Compare."""
    require_whole(
        arguments, size=(1, 65_536), batch=(1, 2**20), epochs=1, seeds=1, parallel=(1, 1024), search_epochs=1,
        recall_steps=0, recall_pairs=1,
    )  # fmt: skip
    folder = require_folder(arguments.output, _FILES)
    if compares_language(arguments):
        return compare_language(arguments, folder, _origin)

    from focalnets.compare.models import find_models
    from focalnets.compare.variations import VARIATIONS, load_rows

    load_rows(arguments.rows)
    names = list(arguments.models or ())
    if arguments.variations is not None:
        names += arguments.variations or list(VARIATIONS)
    models = find_models(names or _DEFAULT_MODELS, arguments.skeleton)
    return _train(arguments, models, folder) if arguments.train is not None else _measure(arguments, models, folder)


def _measure(arguments: Any, models: Any, folder: Path) -> int:
    from focalnets.compare.accuracy import read_accuracies
    from focalnets.compare.calls import TASKS as TASK_KINDS
    from focalnets.compare.measurement import Plan, describe_setting, fill
    from focalnets.compare.results import Comparison, read_comparison
    from focalnets.machine.devices import choose_device

    plan = Plan(
        models=tuple(models),
        sizes_px=tuple(arguments.size or [224]),
        batches=tuple(arguments.batch or [1]),
        tasks=tuple(arguments.tasks or TASK_KINDS),
        device=choose_device(arguments.device),
        minutes=15.0 if arguments.minutes is None else arguments.minutes,
        trained_for=arguments.task or "classify",
    )
    setting = describe_setting(plan.device, arguments.skeleton, plan.trained_for)
    comparison = Comparison(setting) if arguments.fresh else read_comparison(folder, setting)
    accuracies = read_accuracies(folder)
    begun = time.monotonic()
    with _progress() as show:
        fill(comparison, plan, after_group=lambda some: keep(lambda: some.write(folder), str(folder)), progress=show)
    comparison.origin = _origin(time.monotonic() - begun, setting)

    def write() -> list[str]:
        comparison.write(folder)
        return ["comparison.csv", "comparison.json", *_write_report(folder, comparison, accuracies)]

    deliver(
        arguments, lambda: _show_cells(comparison), json=comparison.to_dict, csv=comparison.to_csv, files=write,
        output=str(folder),
    )  # fmt: skip
    return 0


def _train(arguments: Any, models: Any, folder: Path) -> int:
    from focalnets.compare.accuracy import Accuracies
    from focalnets.compare.measurement import describe_setting
    from focalnets.compare.results import read_comparison
    from focalnets.compare.runs import shared_config
    from focalnets.compare.training import Trained, train_all
    from focalnets.machine.devices import choose_device
    from focalnets.training.console import short_duration

    given = dict(arguments.settings)
    if arguments.epochs is not None:
        given["epochs"] = arguments.epochs
    if arguments.device != "auto":
        given["device"] = arguments.device
    if arguments.task is not None:
        given["task"] = arguments.task
    config = shared_config(given, arguments.train)
    machine = describe_setting(choose_device(config.device), arguments.skeleton, config.task)
    comparison = read_comparison(folder, None)
    begun = time.monotonic()

    def keep_all(accuracies: Accuracies, trained: Trained) -> None:
        accuracies.origin = _origin(time.monotonic() - begun, machine)
        keep(lambda: accuracies.write(folder), str(folder))
        left = (
            ""
            if trained.left_s is None or trained.done == trained.runs
            else f"; about {short_duration(trained.left_s)} left"
        )
        progress_line(f"[{trained.done}/{trained.runs}] {trained.model}, seed {trained.seed}: {trained.result}{left}")

    with prints_progress():
        accuracies = train_all(
            models,
            config,
            arguments.train,
            folder,
            seeds=arguments.seeds,
            parallel=arguments.parallel,
            fresh=arguments.fresh,
            after_run=keep_all,
        )
    accuracies.origin = _origin(time.monotonic() - begun, machine)

    def write() -> list[str]:
        accuracies.write(folder)
        return ["accuracy.csv", "accuracy.json", *_write_report(folder, comparison, accuracies), "runs"]

    deliver(
        arguments, lambda: _show_accuracies(accuracies), json=accuracies.to_dict, csv=accuracies.to_csv, files=write,
        output=str(folder),
    )  # fmt: skip
    return 0


def _write_report(folder: Path, comparison: Any, accuracies: Any) -> list[str]:
    """Draw and describe cost, accuracy or both; returns the names of pictures and page."""
    from focalnets.compare.charts import draw_accuracies, draw_comparison
    from focalnets.compare.page import write_page

    pictures = draw_comparison(comparison, folder)
    if accuracies is not None and draw_accuracies(accuracies, folder / "accuracy.png"):
        pictures.append("accuracy.png")
    write_page(comparison, accuracies, pictures, folder)
    return [*pictures, "report.html"]


def _origin(seconds: float, machine: dict[str, Any]) -> dict[str, Any]:
    from focalnets.machine.description import utc_now

    command = shlex.join(["focalnets", *sys.argv[1:]])
    return {"command": command, "date": utc_now(), "seconds": round(seconds, 1), "machine": machine}


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Any], None]]:
    """Show what comes next and the time left on standard error: a line that changes, or one for each group of cells."""
    from focalnets.training.console import short_duration

    def words(step: Any) -> str:
        return f"[{step.done + 1}/{step.groups}] {step.doing}; about {short_duration(step.left_s)} left"

    if is_quiet():
        yield lambda step: None
        return
    if not sys.stderr.isatty():
        shown: set[int] = set()

        def print_once(step: Any) -> None:
            if step.done < step.groups and step.done not in shown:
                shown.add(step.done)
                note(words(step))

        yield print_once
        return
    from rich.console import Console

    with Console(stderr=True, highlight=False).status("looking at the networks") as status:
        yield lambda step: status.update(words(step).replace("[", r"\["))


def _show_cells(comparison: Any) -> None:
    lines = [
        ("network", "task", "batch", "size", "M params", "GMACs", "ms (20 to 80 %)", "rounds", "images/s", "peak MiB")
    ]
    for cell in comparison.sorted_cells():
        parameters = comparison.networks[cell.model].parameters
        lines.append(
            (
                cell.model,
                cell.task,
                str(cell.batch),
                str(cell.size_px),
                "-" if parameters is None else f"{parameters / 1e6:.2f}",
                "-" if cell.macs is None else f"{cell.macs / 1e9:.2f}",
                cell.result,
                str(cell.rounds) if cell.rounds else "-",
                "-" if cell.images_per_s is None else f"{cell.images_per_s:.2f}",
                "-" if cell.peak_bytes is None else f"{cell.peak_bytes / 2**20:.0f}",
            )
        )
    show_lines(lines)


def _show_accuracies(accuracies: Any) -> None:
    score = f"{accuracies.metric.label} (95 % interval)"
    lines = [("network", "M params", "GMACs", "seeds", score, "min", "published on ImageNet-1K [%]")]
    for row in sorted(accuracies.rows, key=lambda row: -(row.mean or 0.0)):
        published = row.published_top1_percent
        lines.append(
            (
                row.model,
                "-" if row.parameters is None else f"{row.parameters / 1e6:.2f}",
                "-" if row.macs is None else f"{row.macs / 1e9:.3f}",
                str(len(row.scores)),
                row.result,
                "-" if row.training_s is None else f"{row.training_s / 60:.1f}",
                "-" if published is None else f"{published:.1f}",
            )
        )
    show_lines(lines)
