"""What an audit's statistics find and what they make up, on answers whose truth is known.

    python -m benchmarks.audit_statistics [--repetitions 2000] [--json FILE]

Pull: an answerer that names the background with a chance of R, and else makes mistakes in a tenth of the cases, is
asked about 400 objects before two backgrounds. Groups: eight groups of 150 images of four classes, all alike or one of
them 10 points less; and groups of many sizes, all alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.auditing.answers import Answers
from focalnets.auditing.groups import find_gaps
from focalnets.auditing.statistics.pull import measure_pull
from focalnets.cli.destinations import require_file
from focalnets.errors import ConfigError
from focalnets.files import write_json

__all__ = ["main", "simulate_groups", "simulate_pull"]

PAIRS, CLASSES, MISTAKES = 400, 8, 0.1
GAP, ALPHA, LEAST = 0.05, 0.05, 30
RELIANCES = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95)
SIZES = {"eight of 150": [150] * 8, "eight of 30": [30] * 8, "30 to 800": [30, 40, 60, 100, 200, 400, 800, 30]}


def simulate_pull(reliance: float, repetitions: int, seed: int = 0) -> dict[str, Any]:
    """Measure bias, coverage and how often pull is found."""
    random = np.random.default_rng([seed, round(1000 * reliance)])
    values, covered, found = [], 0, 0
    for _ in range(repetitions):
        mistakes = (random.random((2, PAIRS)) < MISTAKES) & (random.integers(0, CLASSES, (2, PAIRS)) == 0)
        relies = random.random((2, PAIRS)) < reliance
        pull = measure_pull(np.where(relies[0], True, mistakes[0]), np.where(relies[1], False, mistakes[1]))
        values.append(pull.value.value)
        covered += pull.value.low <= reliance <= pull.value.high
        found += pull.found(gap=GAP, alpha=ALPHA)
    return {
        "reliance": reliance,
        "bias": float(np.mean(values)) - reliance,
        "coverage": covered / repetitions,
        "found": found / repetitions,
    }


def simulate_groups(sizes: Sequence[int], recalls: Sequence[float], repetitions: int, seed: int = 0) -> dict[str, Any]:
    """Measure how often any group is found, and the first."""
    random = np.random.default_rng([seed, len(sizes), round(1000 * recalls[0]), round(1000 * recalls[-1])])
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    chances = np.repeat(recalls, sizes)
    anyone = first = 0
    for _ in range(repetitions):
        labels = random.integers(0, 4, len(groups))
        right = random.random(len(groups)) < chances
        answers = Answers(
            classes=("a", "b", "c", "d"), indices=np.arange(len(groups)), labels=labels,
            predicted=np.where(right, labels, (labels + 1) % 4), confidences=np.full(len(groups), 0.8),
        )  # fmt: skip
        statuses = [each.status for each in find_gaps(answers, {"group": groups}, gap=GAP, alpha=ALPHA, least=LEAST)]
        anyone += "found" in statuses
        first += statuses[0] == "found"
    return {"any": anyone / repetitions, "first": first / repetitions}


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repetitions",
        type=int,
        default=2000,
        metavar="N",
        help="of groups; of pull five times as many (default: 2000)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    if options.repetitions < 1:
        parser.error(f"--repetitions must be a whole number from 1 up, got {options.repetitions}.")
    if options.json is not None:
        try:
            require_file("--json", options.json)
        except ConfigError as error:
            parser.error(str(error))
    pulls = [simulate_pull(reliance, 5 * options.repetitions) for reliance in RELIANCES]
    print("| reliance | bias | covered | found |\n|---|---|---|---|")
    for row in pulls:
        print(f"| {row['reliance']:g} | {row['bias']:+.4f} | {row['coverage']:.1%} | {row['found']:.1%} |", flush=True)
    rows = []
    print("\n| groups | recall | first group | any found | first found |\n|---|---|---|---|---|")
    for name, sizes in SIZES.items():
        for recall in (0.85, 0.9):
            for less in (0.0, 0.1) if name == "eight of 150" else (0.0,):
                recalls = [recall - less] + [recall] * (len(sizes) - 1)
                row = simulate_groups(sizes, recalls, options.repetitions)
                rows.append({"groups": name, "recall": recall, "less": less, **row})
                print(f"| {name} | {recall:g} | {recalls[0]:g} | {row['any']:.1%} | {row['first']:.1%} |", flush=True)
    if options.json is not None:
        write_json(options.json, {"repetitions": options.repetitions, "pull": pulls, "groups": rows})


if __name__ == "__main__":
    main()
