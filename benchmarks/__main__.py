"""All topics: ``python -m benchmarks [--quick] [--only TOPIC ...] [--data FOLDER] [--output FOLDER]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import (
    accuracy,
    dense_detection,
    dense_semantic,
    inference,
    memory,
    op,
    resolution,
    training_step,
)
from benchmarks.command import Topic, add_data_argument, add_size_arguments, main, results_folder

__all__ = ["TOPICS"]

TOPICS: dict[str, Topic] = {
    module.TOPIC.name: module.TOPIC
    for module in (inference, accuracy, training_step, memory, resolution, op, dense_semantic, dense_detection)
}


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the topics asked for; the exit status is 1 if contenders of one of them disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add_size_arguments(parser)
    add_data_argument(parser)
    parser.add_argument("--only", nargs="+", choices=TOPICS, metavar="TOPIC", help=", ".join(TOPICS))
    parser.add_argument("--output", type=Path, help="folder for the results; otherwise benchmarks/results or build/")
    options = parser.parse_args(arguments)
    needs_data = options.size == "full" and options.data is None
    if needs_data and options.only and "accuracy" in options.only:
        parser.error("accuracy needs labelled images: --data FOLDER, e.g. that of Imagenette.")
    names = options.only or [name for name in TOPICS if name != "accuracy" or not needs_data]
    if not options.only and needs_data:
        print("accuracy is left out: it needs labelled images, --data FOLDER.", file=sys.stderr)
    topics = [accuracy.on_data(options.data) if name == "accuracy" else TOPICS[name] for name in names]
    folder = options.output or results_folder(options.size)
    return main(topics, options.size, [folder / f"{topic.name}.json" for topic in topics])


if __name__ == "__main__":
    sys.exit(run())
