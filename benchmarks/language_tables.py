"""What :mod:`benchmarks.language_peers` measured, as tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.markdown import table
from focalnets.intervals import student_interval

__all__ = ["COMMANDS", "DESCRIPTION", "Content", "Row", "find_trainings", "format_tables", "mean_nats"]

COMMANDS = (
    "OMP_NUM_THREADS=1 python -m benchmarks.language_peers input.txt --parallel 2",
    "OMP_NUM_THREADS=1 python -m benchmarks.language_peers input.txt --parallel 2 --seeds 0 --long 10",
)

DESCRIPTION = """\
One skeleton, about as many parameters, and another mixer of tokens in each row: causal focal modulation, alone (with
a running mean, or with three learnt time scales and gates of 4 groups: ema), with an associative memory, and with
attention in the last of four blocks, and what it is measured against, written with PyTorch alone: attention with
rotary positions, the same behind a convolution of four tokens, a gated linear recurrence (as in Griffin), and a gated
long convolution (as in Hyena, with the filters of S4D). All learn from the same text by the recipe language, each at
its own best of the learning rates in the last table, where one training each chose it (ema at that of the running
mean); longer trainings take the same. Nats a character are those of the last epoch on all that is held out: means
over the seeds, with 95 % intervals by Student's distribution; beside them the lowest after any of eight epochs, where
the last was not the lowest. Recall (MQAR, from Zoology: 4 pairs, texts of 32 tokens of which there are 32) is that of
a network of two blocks of 32 channels after 1,000 steps at its best of three rates; who knows the pairs but not which
belong together gets 25 %. Tokens a second of training and of continuing one text were taken in rounds in which each
network had a turn; those with focal modulation, and plain attention, continue by one call of the C++ library for a
token, the others by PyTorch's layers. The state is what is carried from token to token."""

Row = dict[str, Any]

Content = dict[str, Any]
"""Of the file: lists of rows ``trainings``, ``recall`` and ``speed``."""


def find_trainings(trainings: Iterable[Row], data: str, model: str, steps: int) -> list[Row]:
    """Find the trainings of a network at the rate of which there are most, of several the best."""
    rows = [
        row for row in trainings if (row["data"], row["model"], row["steps"]) == (data, model, steps) and "nats" in row
    ]
    by_rate: dict[float, list[Row]] = {}
    for row in rows:
        by_rate.setdefault(row["learning_rate"], []).append(row)
    return max(by_rate.values(), key=lambda some: (len(some), -(mean_nats(some) or 0.0)), default=[])


def mean_nats(rows: Sequence[Row]) -> float | None:
    """Average over trainings; None without any."""
    return statistics.fmean(row["nats"] for row in rows) if rows else None


def format_tables(content: Content) -> str:
    """Write a table in Markdown for each text and length of training, and one of the rates that were tried."""
    reached, rates = [], []
    groups = sorted({(row["data"], row["steps"]) for row in content["trainings"]})
    for data, steps in groups:
        rows = [row for row in content["trainings"] if (row["data"], row["steps"]) == (data, steps)]
        first = [row for row in rows if row["seed"] == 0]
        tried = {(row["model"], row["learning_rate"]) for row in first}
        compares_rates = len(tried) > len({model for model, _ in tried})
        if compares_rates:
            words = f"Nats by learning rate, {data}, {steps:,} steps, one seed:"
            rates += [words, table(_rate_lines(first))]
        if not compares_rates or len(first) < len(rows) or len(groups) == 1:
            size = f"{rows[0]['batch']} x {rows[0]['context_length']} tokens"
            reached += [f"{data}, {steps:,} steps of {size}:", table(_reached_lines(content, data, steps))]
    return "\n\n".join([*reached, *rates])


def _reached_lines(content: Content, data: str, steps: int) -> list[list[str]]:
    recall = {row["model"]: row for row in content["recall"]}
    speed = {row["model"]: row for row in content["speed"]}
    lengths = sorted({int(length) for row in speed.values() for length in row["generation"]})
    heading = ["network", "M parameters", "rate", "seeds", "nats (95 % interval)", "best on the way"]
    heading += ["recall", "training [tokens/s]"]
    heading += [f"continuing at {length:,} [tokens/s]" for length in lengths]
    heading += [f"state at {length:,} [KiB]" for length in lengths]
    names = dict.fromkeys(row["model"] for row in content["trainings"] if (row["data"], row["steps"]) == (data, steps))
    reached = {name: find_trainings(content["trainings"], data, name, steps) for name in names}
    lines = []
    for name, rows in sorted(reached.items(), key=lambda entry: mean_nats(entry[1]) or float("inf")):
        mean, interval = mean_nats(rows), student_interval([row["nats"] for row in rows]) if rows else None
        nats = "failed" if mean is None else f"{mean:.3f}"
        nats += "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
        costs = speed.get(name)
        line = [
            name, f"{rows[0]['parameters'] / 1e6:.3f}" if rows else "", f"{rows[0]['learning_rate']:g}" if rows else "",
            str(len(rows)), nats, _best_on_the_way(rows), f"{recall[name]['recall']:.1%}" if name in recall else "",
            "" if costs is None else f"{costs['training']['median']:,.0f}",
        ]  # fmt: skip
        line += ["" if costs is None else f"{costs['generation'][str(length)]['median']:,.0f}" for length in lengths]
        line += ["" if costs is None else f"{costs['state_bytes'][str(length)] / 2**10:,.0f}" for length in lengths]
        lines.append(line)
    measured = [index for index in range(len(heading)) if any(line[index] for line in lines)]
    return [[line[index] for index in measured] for line in [heading, *lines]]


def _best_on_the_way(rows: Sequence[Row]) -> str:
    """Average the lowest nats after any epoch; empty where that was the last."""
    curves = [[nats for _, nats in row["curve"]] for row in rows if row.get("curve")]
    if all(min(curve) == curve[-1] for curve in curves):
        return ""
    return f"{statistics.fmean(map(min, curves)):.3f}"


def _rate_lines(rows: Sequence[Row]) -> list[list[str]]:
    rates = sorted({row["learning_rate"] for row in rows})
    reached = {(row["model"], row["learning_rate"]): row for row in rows}

    def cell(name: str, rate: float) -> str:
        row = reached.get((name, rate))
        return "" if row is None else f"{row['nats']:.3f}" if "nats" in row else "failed"

    names = dict.fromkeys(row["model"] for row in rows)
    lines = [[name, *(cell(name, rate) for rate in rates)] for name in names]
    return [["network", *(f"{rate:g}" for rate in rates)], *lines]
