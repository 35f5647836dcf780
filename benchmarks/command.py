"""What the topics have in common: sizes, arguments, progress, the result file and the exit status."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.machine import machine_fields, source_fields, version_fields
from benchmarks.measure import DisagreementError
from focalnets.machine.description import utc_now

__all__ = [
    "RESULTS",
    "SIZES",
    "Case",
    "Size",
    "Topic",
    "add_data_argument",
    "add_size_arguments",
    "main",
    "results_folder",
    "run_topic",
    "topic_command",
    "topic_main",
]

Size = Literal["full", "quick", "tiny"]
"""``full`` is what results are reported from; ``quick`` shows within a minute that everything runs; ``tiny`` is for
tests: the networks are miniatures and the times mean nothing."""

SIZES: tuple[Size, ...] = ("full", "quick", "tiny")

RESULTS = Path(__file__).parent / "results"

_QUICK_RESULTS = Path(__file__).parents[1] / "build" / "benchmarks"


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: As printed.
        expected_s: About how long it takes on two cores [s]; only for the time left.
        run: Measures; returns the outcome as plain values for JSON, one or more entries.
    """

    name: str
    expected_s: float
    run: Callable[[], list[dict[str, Any]]]


def _no_goals(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return []


@dataclasses.dataclass(frozen=True)
class Topic:
    """What one file measures.

    Attributes:
        name: Of the file and of its results.
        summary: One sentence.
        method: What exactly is counted, in sentences.
        cases: The cases of a size.
        not_run: What this machine cannot measure, with the reason: pairs for the report.
        goals: What the cases together came to, from their plain values; only at full size.
        options: What the command needs besides the topic.
    """

    name: str
    summary: str
    method: str
    cases: Callable[[Size], list[Case]]
    not_run: Callable[[], list[tuple[str, str]]] = list
    goals: Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]] = _no_goals
    options: str = ""


class Progress:
    """Says on standard error what runs and about how long the rest will take."""

    def __init__(self, cases: Sequence[tuple[str, Case]]) -> None:
        self._expected = [case.expected_s for _, case in cases]
        self._labels = [f"{topic}: {case.name}" for topic, case in cases]
        self._begin = time.monotonic()
        self._started = 0

    def start(self) -> None:
        """Announce the next case."""
        index = self._started
        done, left = sum(self._expected[:index]), sum(self._expected[index:])
        some_s = 20.0  # stands in for cases not yet seen, so that the first few do not decide the pace
        pace = (time.monotonic() - self._begin + some_s) / (done + some_s)
        seconds = left * pace
        rest = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
        print(
            f"[{index + 1}/{len(self._labels)}] {self._labels[index]} - about {rest} left", file=sys.stderr, flush=True
        )
        self._started += 1

    def skip(self, cases: int) -> None:
        """Leave out cases that will not run."""
        self._started += cases


def topic_command(topic: Topic) -> str:
    """Write what measures a topic at full size."""
    return " ".join(filter(None, [f"python -m benchmarks.{topic.name}", topic.options]))


def run_topic(topic: Topic, size: Size, output: Path, progress: Progress, cases: Sequence[Case]) -> dict[str, Any]:
    """Run the cases of a topic and write its result file.

    Raises:
        DisagreementError: If contenders differ; nothing is written then.
    """
    begin, date = time.monotonic(), utc_now()
    machine = machine_fields()
    measured: list[dict[str, Any]] = []
    for index, case in enumerate(cases):
        progress.start()
        try:
            measured.extend(case.run())
        except DisagreementError:
            progress.skip(len(cases) - index - 1)
            raise
        gc.collect()
        torch.compiler.reset()
    result = {
        "schema": 1,
        "topic": topic.name,
        "summary": topic.summary,
        "method": topic.method,
        "size": size,
        "command": " ".join(filter(None, [topic_command(topic), "" if size == "full" else f"--size {size}"])),
        "date": date,
        "seconds": round(time.monotonic() - begin, 1),
        "source": source_fields(),
        "machine": machine,
        "versions": version_fields(),
        "cases": measured,
        "not_run": [{"name": name, "why": why} for name, why in topic.not_run()],
        "targets": topic.goals(measured) if size == "full" else [],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f"{output.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(output)
    _print_targets(result)
    return result


def _print_targets(result: dict[str, Any]) -> None:
    goals = [(case["name"], goal) for case in result["cases"] for goal in case["targets"]]
    for name, goal in [*goals, *((goal["case"], goal) for goal in result["targets"])]:
        if "ratio" in goal:
            wanted = f">= {goal['at_least']}" if "at_least" in goal else f"<= {goal['at_most']}"
            lacking = f"; {goal['missing']}" if "missing" in goal else ""
            print(
                f"{result['topic']}: {name}: {goal['contender']} against {goal['against']}: "
                f"{goal['ratio']['median']:.2f} (target {wanted}{lacking})"
            )


def results_folder(size: Size) -> Path:
    """Choose where results of a size go unless said otherwise: only those of full size are kept in the repository."""
    return RESULTS if size == "full" else _QUICK_RESULTS / size


def add_size_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--size`` and ``--quick``."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--size", choices=SIZES, default="full", help="full (default), quick, or tiny as in the tests")
    choice.add_argument("--quick", dest="size", action="store_const", const="quick", help="the same as --size quick")


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``."""
    parser.add_argument(
        "--data",
        type=existing_folder,
        metavar="FOLDER",
        help="labelled images for the topic accuracy: a folder with val and train in it, e.g. Imagenette",
    )


def existing_folder(text: str) -> Path:
    """Read the name of a folder that is there."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder; name one that is there")
    return Path(text)


def main(topics: Sequence[Topic], size: Size, outputs: Sequence[Path]) -> int:
    """Run topics; returns the exit status: 1 if contenders of any topic disagree, the others are still measured."""
    cases = [topic.cases(size) for topic in topics]
    progress = Progress([(topic.name, case) for topic, some in zip(topics, cases, strict=True) for case in some])
    status = 0
    for topic, output, some in zip(topics, outputs, cases, strict=True):
        try:
            run_topic(topic, size, output, progress, some)
            print(f"{topic.name}: written to {output}")
        except DisagreementError as error:
            print(f"error: {topic.name}: {error}", file=sys.stderr)
            status = 1
    return status


def topic_main(
    topic: Topic,
    arguments: Sequence[str] | None = None,
    on_data: Callable[[Path | None], Topic] | None = None,
) -> int:
    """Run the program of one topic: ``[--quick | --size SIZE] [--output FILE]``.

    With ``on_data``, which makes the topic for a folder of labelled images, also ``--data FOLDER``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{topic.name}", description=topic.summary)
    add_size_arguments(parser)
    parser.add_argument("--output", type=Path, help="result file; otherwise in benchmarks/results or build/")
    if on_data is not None:
        add_data_argument(parser)
    options = parser.parse_args(arguments)
    if on_data is not None:
        if options.data is None and options.size == "full":
            parser.error(f"{topic.name} needs labelled images: --data FOLDER, e.g. that of Imagenette.")
        topic = on_data(options.data)
    output = options.output or results_folder(options.size) / f"{topic.name}.json"
    return main([topic], options.size, [output])
