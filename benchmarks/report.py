"""Writes docs/performance.md from benchmarks/results: ``python -m benchmarks.report``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import TOPICS
from benchmarks.command import RESULTS, Topic

__all__ = ["DOCUMENT", "write_report"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"

_HEADINGS = {
    "op": "The operator",
    "inference": "Inference",
    "training_step": "Training step",
    "memory": "Peak memory",
    "resolution": "Cost over resolution",
    "dense_semantic": "Naming pixels",
    "dense_detection": "Finding objects",
}

_INTRODUCTION = """# Performance

Made from `benchmarks/results/` by `python -m benchmarks.report`; do not edit. `make bench` measures everything again
and rewrites this page, `python -m benchmarks --quick` shows within a minute that everything runs.

All contenders of a table ran in one process (memory: one process each), with the same weights and inputs, in rounds in
which each had one turn, in an order drawn anew. Before timing, their outputs were compared; had one differed by more
than the tolerance given, the benchmark would have ended with an error instead of a figure. Ratios are taken within
rounds. A figure with a range is the median with the 20th and 80th percentile.

No figure is of a GPU: the Triton kernels were tested in Triton's interpreter and compiled for sm_80 and sm_90, but have
not yet run on one.
"""

_OBSTACLES = """## What stands in the way

These figures are of the processor of the tables, an AMD EPYC of the Zen 4 kind: a core of it does one multiply-add on
16 float32 numbers a cycle, both together at most 230 GFLOP/s. Processors with two such units a core leave more room.

- The operator: the convolutions of three levels take 83 multiply-adds for 16 channels of a token, 22 ns at most speed;
  three GELUs take 8 ns; all of it took 39 to 44 ns on one thread and 45 to 52 ns on each of two. In stage 1 and on
  large maps timm's convolutions wait for memory, and the ratio is high; in stages 2 to 4 at 224 px they run from cache
  near the same most speed, and the ratio hangs on the few passes over memory that fusing saves.
- Inference: about 80 % of the time are linear layers, by oneDNN at 200 to 217 GFLOP/s in stages 2 to 4 and 100 to 199
  in stage 1; timm's are by MKL at 160 to 200 when eager, by oneDNN when compiled. At most speed they would still take
  290 ms.
- Inference, compiled: what the compiler arranges gets the maps of a whole stage as fresh memory again, which eager
  inference does without, because it goes by groups of tokens; and timm's linear layers are then oneDNN's too. Whole
  blocks as one operator would be the next step.
- Training step: three quarters of the time are linear layers, and a third of these the gradients of weights, which MKL
  computes at 140 to 190 GFLOP/s; oneDNN was slower.

How they were found, and what was tried, stands in [log.md](log.md).
"""

Result = dict[str, Any]


def write_report(results: Path = RESULTS) -> str:
    """Write the page from the result files in a folder; topics without a file are named as not measured."""
    files = {name: results / f"{name}.json" for name in TOPICS}
    read = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.is_file()}
    parts = [_INTRODUCTION, _targets(read.values())]
    parts += [_section(topic, read.get(name)) for name, topic in TOPICS.items()]
    return "\n".join(part for part in parts if part)


def _section(topic: Topic, result: Result | None) -> str:
    title = f"## {_HEADINGS[topic.name]}\n\n"
    if result is None:
        text = _wrapped(f"{topic.summary} {topic.method}")
        return f"{title}{text}\n\nNot measured yet; `python -m benchmarks.{topic.name}` does.\n"
    lines = [_wrapped(f"{result['summary']} {result['method']}"), "", _provenance(result), ""]
    groups: dict[str, list[Result]] = {}
    for case in result["cases"]:
        groups.setdefault(case.get("group", case["name"]), []).append(case)
    for name, cases in groups.items():
        lines += [f"### {name[0].upper()}{name[1:]}", ""]
        lines += _matrix(cases) if "group" in cases[0] else _list(cases[0])
        lines += [*_absent(cases), ""]
    for case in result["not_run"]:
        lines += [_wrapped(f"Not measured here: {case['name']}. {case['why']}"), ""]
    return title + "\n".join(lines)


def _provenance(result: Result) -> str:
    machine, source = result["machine"], result["source"]
    device = f", {machine['accelerator']}" if machine["accelerator"] else ""
    commit = "no commit known" if source["commit"] is None else f"commit {source['commit'][:10]}"
    changed = " with uncommitted changes" if source["changed"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    size = "" if result["size"] == "full" else f" **Size {result['size']}: these figures only show that it runs.**"
    return _wrapped(
        f"`{result['command']}`, {result['date'][:10]}, {commit}{changed}, {result['seconds']:.0f} s. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['instruction_set']}, {machine['memory_gib']} GiB{device}, {machine['system']}. {versions}.{size}"
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _list(case: Result) -> list[str]:
    heading = "times as fast as" if case["unit"] == "s" else "fraction of the memory of"
    rows = [
        ("contender", "time" if case["unit"] == "s" else "memory", f"{heading} {case['baseline']}", "relative error")
    ]
    for row in _measured(case):
        error = f"{row['relative_error']:.0e}" if "relative_error" in row else ""
        rows.append((row["name"], _spread(row, case), _ratio(row), error))
    return [*_table(rows), "", f"Tolerance {case['tolerance']:.0e}; {_rounds(case)}."]


def _matrix(cases: Sequence[Result]) -> list[str]:
    heading = ["contender", *(case["column"] for case in cases)]
    by_case = [{row["name"]: row for row in _measured(case)} for case in cases]
    names = dict.fromkeys(name for rows in by_case for name in rows)
    lines = [heading]
    for name in names:
        cells = []
        for case, rows in zip(cases, by_case, strict=True):
            row = rows.get(name)
            cells.append("" if row is None else f"{_value(row['median'], case)}; {_ratio(row)}")
        lines.append([name, *cells])
    first = cases[0]
    meaning = "how many times as fast as" if first["unit"] == "s" else "which fraction of the memory of"
    worst = max(row.get("relative_error", 0.0) for rows in by_case for row in rows.values())
    note = f"Each cell: median; {meaning} {first['baseline']}. "
    note += f"Largest relative error {worst:.0e}, tolerance {first['tolerance']:.0e}; {_rounds(*cases)}."
    return [*_table(lines), "", note, *_bandwidth(cases, by_case)]


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
        f"{row['name']}: {row['status']}. {row['why']}"
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


def _targets(results: Iterable[Result]) -> str:
    rows = [("topic", "case", "contender", "against", "target", "measured", "")]
    for result in results:
        for case in result["cases"]:
            for goal in case["targets"]:
                wanted = f"at least {goal['at_least']}" if "at_least" in goal else f"at most {goal['at_most']}"
                measured = _ratio(goal) or "not measured"
                outcome = {True: "reached", False: "missed"}.get(goal.get("reached"), "")
                names = (_HEADINGS[result["topic"]], case["name"], goal["contender"], goal["against"])
                rows.append((*names, wanted, measured, outcome))
    if len(rows) == 1:
        return ""
    note = "For times the ratio is how many times as fast, for memory which fraction."
    return "\n".join(["## Targets", "", note, "", *_table(rows), "", _OBSTACLES])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


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
