"""Writes docs/performance.md from benchmarks/results: ``python -m benchmarks.report``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import TOPICS
from benchmarks.command import RESULTS, Topic, topic_command
from benchmarks.markdown import table, wrapped

__all__ = ["DOCUMENT", "write_report"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"

_HEADINGS = {
    "inference": "Inference",
    "accuracy": "Accuracy",
    "training_step": "Training step",
    "memory": "Peak memory",
    "resolution": "Cost over resolution",
    "op": "The operator",
    "dense_semantic": "Naming pixels",
    "dense_detection": "Finding objects",
}

_OF_NETWORKS = ("inference", "accuracy", "training_step", "memory", "resolution")
"""Topics whose targets stand in the first table; those of others stand with their figures."""

_INTRODUCTION = """# Performance

Made from `benchmarks/results/` by `python -m benchmarks.report`; do not edit. `make bench` measures everything again
and rewrites this page, `python -m benchmarks --quick` shows within minutes that everything runs.

All contenders of a table ran in one process (memory: one process each), with the same weights and inputs, in rounds in
which each had one turn, in an order drawn anew. Before timing, their outputs were compared; had one differed by more
than the tolerance given, the benchmark would have ended with an error instead of a figure. Ratios are taken within
rounds. A figure with a range is the median with the 20th and 80th percentile.
"""

_OBSTACLES = """## What stands in the way

- float32: 224 px, batch 8, is 69.6 GFLOP of products. Two cores of Zen 4 (AMD EPYC, family 25) do at most 230 GFLOP/s,
  one multiply-add on 16 numbers a core and cycle, so products alone take 300 ms. Processors with two such units a core
  leave more room.
- bfloat16 and int8: an instruction of AVX-512 multiplies 32 pairs of bfloat16 or 64 of int8 in place of 16 of float32,
  and the aggregation stays in float32. The targets of bfloat16 were set for AMX, whose tiles multiply 8,192 pairs.
- Training: three quarters of a step in float32 are linear layers, and a third of these the gradients of weights, by MKL
  at 140 to 190 GFLOP/s; oneDNN was slower. What the compiler arranges gets the maps of a stage as fresh memory.
- The operator: the convolutions of three levels take 83 multiply-adds for 16 channels of a token, 22 ns at most speed;
  three GELUs take 8 ns; all of it took 39 to 52 ns on a thread. Where timm's convolutions run from cache too, in stages
  2 to 4 at 224 px, the ratio hangs on the few passes over memory that fusing saves.

How this was found, and what was tried, stands in [log.md](log.md).
"""

_GPUS = """## GPUs

Nothing has run on a GPU yet: no figure here is of one. The Triton kernels were tested in Triton's interpreter and
compiled for sm_80 and sm_90. `benchmarks/gpu/run.sh` measures them where there is one.
"""

Result = dict[str, Any]


def write_report(results: Path = RESULTS) -> str:
    """Write the page from the result files in a folder; topics without a file are named as not measured."""
    files = {name: results / f"{name}.json" for name in TOPICS}
    read = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.is_file()}
    parts = [_INTRODUCTION, _first_table([read[name] for name in _OF_NETWORKS if name in read]), _OBSTACLES]
    parts += [_section(topic, read.get(name)) for name, topic in TOPICS.items()]
    return "\n".join(part for part in [*parts, _GPUS] if part)


def _first_table(results: Iterable[Result]) -> str:
    rows = [("work", "contender", "against", "asked", "measured", "processor", "")]
    for result in results:
        for case, goal, unit in _goals(result):
            asked, measured, outcome = _asked(goal, unit), _ratio(goal) or "not measured", _outcome(goal)
            rows.append((case, goal["contender"], goal["against"], asked, measured, _processor(result), outcome))
    if len(rows) == 1:
        return ""
    note = (
        "FocalNet-T with large receptive field where no other network is named. Of time the ratio says how many times "
        "as fast, of memory and of errors which fraction. Where the processor lacks what a target was set for, the "
        "figure is what its other instructions reach."
    )
    return "\n".join(["## Asked and measured", "", wrapped(note), "", table(rows), ""])


def _goals(result: Result) -> Iterator[tuple[str, Result, str]]:
    """List the targets of a topic, each with its case's name and what its ratio is of."""
    for case in result["cases"]:
        for goal in case["targets"]:
            yield case["name"], goal, goal.get("of") or {"s": "time", "bytes": "memory"}[case["unit"]]
    for goal in result.get("targets", ()):
        yield goal["case"], goal, goal["of"]


def _asked(goal: Result, unit: str) -> str:
    wanted = f"at least {goal['at_least']}" if "at_least" in goal else f"at most {goal['at_most']}"
    return f"{wanted} points" if unit == "points" else f"{wanted} of its {unit}" if unit != "time" else wanted


def _outcome(goal: Result) -> str:
    if "missing" in goal:
        return f"cannot run here: {goal['missing']}"
    return {True: "reached", False: "missed"}.get(goal.get("reached"), "")


def _processor(result: Result) -> str:
    return result["machine"]["processor"]


def _section(topic: Topic, result: Result | None) -> str:
    title = f"## {_HEADINGS[topic.name]}\n\n"
    if result is None:
        text = wrapped(f"{topic.summary} {topic.method}")
        return f"{title}{text}\n\nNot measured yet; `{topic_command(topic)}` does.\n"
    lines = [wrapped(f"{result['summary']} {result['method']}"), "", _provenance(result), ""]
    if topic.name not in _OF_NETWORKS:
        lines += _own_targets(result)
    groups: dict[str, list[Result]] = {}
    for case in result["cases"]:
        groups.setdefault(case.get("group", case["name"]), []).append(case)
    for name, cases in groups.items():
        table = _points if cases[0]["unit"] == "points" else _list
        lines += [f"### {name[0].upper()}{name[1:]}", ""]
        lines += _matrix(cases) if "group" in cases[0] else table(cases[0])
        lines += [*_absent(cases), ""]
    for case in result["not_run"]:
        lines += [wrapped(f"Not measured here: {case['name']}. {case['why']}"), ""]
    return title + "\n".join(lines)


def _own_targets(result: Result) -> list[str]:
    rows = [
        (case, goal["contender"], goal["against"], _asked(goal, unit), _ratio(goal) or "not measured", _outcome(goal))
        for case, goal, unit in _goals(result)
    ]
    return [table([("work", "contender", "against", "asked", "measured", ""), *rows]), ""] if rows else []


def _provenance(result: Result) -> str:
    machine, source = result["machine"], result["source"]
    device = f", {machine['accelerator']}" if machine["accelerator"] else ""
    engines = f", engine: {', '.join(machine['engines'])}" if machine.get("engines") else ""
    commit = "no commit known" if source["commit"] is None else f"commit {source['commit'][:10]}"
    changed = " with uncommitted changes" if source["changed"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    size = "" if result["size"] == "full" else f" **Size {result['size']}: these figures only show that it runs.**"
    return wrapped(
        f"`{result['command']}`, {result['date'][:10]}, {commit}{changed}, {result['seconds']:.0f} s. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['instruction_set']}, {machine['memory_gib']} GiB{device}, {machine['system']}{engines}. "
        f"{versions}.{size}"
    )


def _list(case: Result) -> list[str]:
    heading = "times as fast as" if case["unit"] == "s" else "fraction of the memory of"
    rows = [
        ("contender", "time" if case["unit"] == "s" else "memory", f"{heading} {case['baseline']}", "relative error")
    ]
    for row in _measured(case):
        error = f"{row['relative_error']:.0e}" if "relative_error" in row else ""
        rows.append((row["name"], _spread(row, case), _ratio(row), error))
    return [table(rows), "", wrapped(f"{_tolerances(case)}; {_rounds(case)}.")]


def _tolerances(case: Result) -> str:
    others: dict[float, list[str]] = {}
    for row in _measured(case):
        if "tolerance" in row:
            others.setdefault(row["tolerance"], []).append(row["name"])
    return "; ".join(
        [
            f"Tolerance {case['tolerance']:.0e}",
            *(f"{value:.0e} of {' and of '.join(names)}" for value, names in others.items()),
        ]
    )


def _points(case: Result) -> list[str]:
    rows = [("contender", "computed", "top-1", f"points above {case['baseline']}", "lost", "gained", "differing")]
    measured = _measured(case)
    for row in measured:
        low, high = row["top1_interval"]
        top1 = f"{row['top1']:.2%} ({100 * low:.1f} to {100 * high:.1f})"
        counts = (f"{row[name]:,}" for name in ("lost", "gained", "answers_that_differ"))
        rows.append((row["name"], row["arithmetic"], top1, f"{row['difference_points']:+.2f}", *counts))
    images = measured[0]["images"] if measured else 0
    return [table(rows), "", f"{images:,} images; top-1 with its 95 % interval; differing: answers of any kind."]


def _matrix(cases: Sequence[Result]) -> list[str]:
    heading = ["contender", *(case["column"] for case in cases)]
    by_case = [{row["name"]: row for row in _measured(case)} for case in cases]
    names = dict.fromkeys(name for rows in by_case for name in rows)
    lines = [heading]
    for name in names:
        cells = []
        for case, rows in zip(cases, by_case, strict=True):
            row = rows.get(name)
            cells.append("" if row is None else "; ".join(filter(None, (_value(row["median"], case), _ratio(row)))))
        lines.append([name, *cells])
    first = cases[0]
    meaning = "how many times as fast as" if first["unit"] == "s" else "which fraction of the memory of"
    worst = max(row.get("relative_error", 0.0) for rows in by_case for row in rows.values())
    note = f"Each cell: median; {meaning} {first['baseline']}. "
    note += f"Largest relative error {worst:.0e}, tolerance {first['tolerance']:.0e}; {_rounds(*cases)}."
    return [table(lines), "", note, *_bandwidth(cases, by_case)]


def _bandwidth(cases: Sequence[Result], by_case: Sequence[dict[str, Result]]) -> list[str]:
    if cases[0].get("device", "cpu") == "cpu" or not all("copy of as many bytes" in rows for rows in by_case):
        return []
    cells = []
    for case, rows in zip(cases, by_case, strict=True):
        own, copy = (case["necessary_bytes"] / rows[name]["median"] for name in ("focalnets", "copy of as many bytes"))
        cells.append(f"{case['column']} {own / 1e9:.0f} GB/s ({100 * own / copy:.0f} % of the copy)")
    return ["", "Necessary bytes per second of focalnets: " + ", ".join(cells) + "."]


def _rounds(*cases: Result) -> str:
    fewest, most = min(case["rounds"] for case in cases), max(case["rounds"] for case in cases)
    return f"{fewest} round{'s' if most > 1 else ''}" if fewest == most else f"{fewest} to {most} rounds"


def _measured(case: Result) -> list[Result]:
    return [row for row in case["contenders"] if row["status"] == "measured"]


def _absent(cases: Sequence[Result]) -> list[str]:
    reasons = dict.fromkeys(
        f"{row['name']}: {row['status']}. {row['why'][:1].upper()}{row['why'][1:]}"
        for case in cases
        for row in case["contenders"]
        if row["status"] != "measured"
    )
    return ["", *(f"- {reason}" for reason in reasons)] if reasons else []


def _spread(row: Result, case: Result) -> str:
    median = _value(row["median"], case)
    return median if case["rounds"] == 1 else f"{median} ({_value(row['p20'], case)} to {_value(row['p80'], case)})"


def _ratio(row: Result) -> str:
    if "ratio" not in row:
        return ""
    ratio = row["ratio"]
    if ratio["p20"] == ratio["p80"]:
        return f"{ratio['median']:.2f}"
    return f"{ratio['median']:.2f} ({ratio['p20']:.2f} to {ratio['p80']:.2f})"


def _value(value: float, case: Result) -> str:
    if "pixels" in case:
        per_pixel = value / case["pixels"]
        return f"{per_pixel * 1e9:,.0f} ns/px" if case["unit"] == "s" else f"{per_pixel:,.0f} B/px"
    if case["unit"] == "bytes":
        return f"{value / 2**20:,.1f} MiB"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} us"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder with one JSON file a topic")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="page to write")
    options = parser.parse_args(arguments)
    partial = options.output.with_name(f"{options.output.name}.{os.getpid()}.partial")
    partial.write_text(write_report(options.results), encoding="utf-8")
    partial.replace(options.output)
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
