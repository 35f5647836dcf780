"""All topics: ``python -m benchmarks [--quick] [--only TOPIC ...] [--output FOLDER]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import dense_detection, dense_semantic, inference, memory, op, resolution, training_step
from benchmarks.command import Topic, add_size_arguments, main, results_folder

__all__ = ["TOPICS"]

TOPICS: dict[str, Topic] = {
    module.TOPIC.name: module.TOPIC
    for module in (op, inference, training_step, memory, resolution, dense_semantic, dense_detection)
}


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the topics asked for; the exit status is 1 if contenders of one of them disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add_size_arguments(parser)
    parser.add_argument(
        "--only", nargs="+", choices=TOPICS, default=list(TOPICS), metavar="TOPIC", help=", ".join(TOPICS)
    )
    parser.add_argument("--output", type=Path, help="folder for the results; otherwise benchmarks/results or build/")
    options = parser.parse_args(arguments)
    folder = options.output or results_folder(options.size)
    topics = [TOPICS[name] for name in options.only]
    return main(topics, options.size, [folder / f"{topic.name}.json" for topic in topics])


if __name__ == "__main__":
    sys.exit(run())
