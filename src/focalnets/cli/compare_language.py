"""``focalnets compare`` of language models: what they learn from a text, what they recall and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from focalnets.cli.output import deliver, keep, prints_progress, progress_line
from focalnets.cli.result_table import show_lines
from focalnets.errors import ConfigError
from focalnets.models.sequence_config import LANGUAGE_VARIANTS

__all__ = ["compare_language", "compares_language"]

FILES = ("language.csv", "language.json", "language.png")

_RATES = (1e-3, 3e-3, 1e-2)
_OF_IMAGES = ("variations", "rows", "skeleton", "batch", "tasks", "minutes")
_OF_LANGUAGE = ("learning_rates", "search_epochs", "recall_steps", "recall_pairs")


def compares_language(arguments: Any) -> bool:
    """Tell whether language models are meant: by the task, by the networks, or by the data where nothing is named.

    Raises:
        ConfigError: If an option is for the other kind of networks.
    """
    named = arguments.models or ()
    if arguments.task is not None or named or arguments.variations is not None or arguments.train is None:
        is_meant = arguments.task == "language" or (
            arguments.task is None and any(name.partition(":")[0] in LANGUAGE_VARIANTS for name in named)
        )
    else:
        from focalnets.tasks.recognition import recognise_task

        is_meant = recognise_task(arguments.train)[0] == "language"
    others, kind = (_OF_IMAGES, "networks that see images") if is_meant else (_OF_LANGUAGE, "language models")
    unfit = [f"--{name}" for name in others if getattr(arguments, name) not in (None, [], {})]
    if unfit:
        raise ConfigError(f"{', '.join(unfit)} can be given for {kind} only; leave it out.")
    return is_meant


def compare_language(arguments: Any, folder: Path, origin: Callable[[float, dict[str, Any]], dict[str, Any]]) -> int:
    """Measure, and train where there is a text.

    Args:
        arguments: Of the command line.
        folder: Where everything goes.
        origin: Describes the call from its duration [s] and the machine.
    """
    from focalnets.compare.language.comparing import USUAL_MODELS, compare_language_models, require_language_models
    from focalnets.compare.language.page import write_language_page
    from focalnets.compare.language.recall import RecallSettings
    from focalnets.compare.language.results import LanguageComparison, read_language_comparison
    from focalnets.compare.language.speed import SpeedSettings
    from focalnets.compare.language.training import TrainingPlan, shared_config
    from focalnets.compare.measurement import describe_setting
    from focalnets.compare.models import find_models
    from focalnets.machine.devices import choose_device
    from focalnets.training.trainer import open_data

    models = find_models(list(arguments.models or USUAL_MODELS))
    require_language_models(models)
    given = dict(arguments.settings)
    given |= {} if arguments.epochs is None else {"epochs": arguments.epochs}
    given |= {} if arguments.device == "auto" else {"device": arguments.device}
    config = shared_config(given, arguments.train)
    plan, data = None, None
    if arguments.train is not None:
        rates = arguments.learning_rates or ([given["learning_rate"]] if "learning_rate" in given else _RATES)
        plan = TrainingPlan(
            config=config, place=arguments.train, folder=folder, learning_rates=tuple(dict.fromkeys(rates)),
            search_epochs=arguments.search_epochs, seeds=arguments.seeds, parallel=arguments.parallel,
            fresh=arguments.fresh,
        )  # fmt: skip
        data = open_data(arguments.train, config)
    settings: Any = config.settings
    lengths = tuple(sorted(set(arguments.size))) if arguments.size else SpeedSettings().lengths
    speed = SpeedSettings(context_length=settings.context_length, batch=config.batch_size, lengths=lengths)
    asked = {"steps": arguments.recall_steps, "pairs": arguments.recall_pairs}
    recall: RecallSettings | None = RecallSettings(
        **{name: value for name, value in asked.items() if value is not None}
    )
    recall = recall if recall is not None and recall.steps else None
    device = choose_device(config.device)
    machine = {name: value for name, value in describe_setting(device).items() if name not in ("skeleton", "timm")}
    setting = {
        "machine": machine,
        "speed": {"context_length": speed.context_length, "batch": speed.batch, "lengths": list(lengths)},
        "recall": None if recall is None else {**vars(recall), "learning_rates": list(recall.learning_rates)},
        "training": None if plan is None or data is None else plan.describe(data),
    }
    comparison = LanguageComparison(setting) if arguments.fresh else read_language_comparison(folder, setting)
    begun = time.monotonic()

    def keep_all(line: str) -> None:
        comparison.origin = origin(time.monotonic() - begun, machine)
        keep(lambda: comparison.write(folder), str(folder))
        progress_line(line)

    with prints_progress():
        compare_language_models(
            models, comparison, speed=speed, recall=recall, plan=plan, data=data, device=device, after=keep_all
        )
    comparison.origin = origin(time.monotonic() - begun, machine)

    def write() -> list[str]:
        comparison.write(folder)
        runs = [] if plan is None else ["runs"]
        return ["language.csv", "language.json", *write_language_page(comparison, folder), *runs]

    deliver(
        arguments, lambda: show_lines(_lines(comparison)), json=comparison.to_dict, csv=comparison.to_csv, files=write,
        output=str(folder),
    )  # fmt: skip
    return 0


def _lines(comparison: Any) -> list[Sequence[str]]:
    heading = ["network", "M params", "nats (95 %)", "seeds", "rate", "recall", "training tokens/s"]
    for length in comparison.lengths:
        heading += [f"tokens/s at {length:,}", f"KiB at {length:,}"]
    lines: list[Sequence[str]] = [heading]
    for row in comparison.sorted_rows():
        training, speed = row.training, row.speed
        line = [
            row.model,
            f"{row.parameters / 1e6:.3f}",
            "-" if training is None else training.result,
            "-" if training is None else str(len(training.nats)),
            "-" if training is None or training.learning_rate is None else f"{training.learning_rate:g}",
            "-" if row.recall is None else f"{row.recall.fraction:.1%}",
            "-" if speed is None else f"{speed.training['median']:,.0f}",
        ]
        for length in comparison.lengths:
            line += (
                ["-", "-"]
                if speed is None
                else [f"{speed.generation[length]['median']:,.0f}", f"{speed.state_bytes[length] / 2**10:,.1f}"]
            )
        lines.append(line)
    return lines
