"""``focalnets runs``: trainings beside each other."""

from __future__ import annotations

import csv
import io
import sys
from typing import Any

EXAMPLES = """\
  focalnets runs runs
  focalnets runs runs --plot runs.png
  focalnets runs runs --json -"""


def add_arguments(parser: Any) -> None:
    """Add the folder and where to write."""
    parser.add_argument("folder", metavar="DIR", help="a run, or a folder with runs in it or below")
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON; - shows it instead of the table")
    parser.add_argument("--csv", metavar="FILE", help="write the table as CSV; - shows it instead of the table")
    parser.add_argument("--plot", metavar="PNG", help="draw the curves of all runs")


def run(arguments: Any) -> int:
    """Show the table and write what was asked for."""
    from focalnets.cli.output import write_output, write_result
    from focalnets.training.runs import differing_settings, find_runs

    runs = find_runs(arguments.folder)
    differences = differing_settings(runs)
    rows = [
        {
            "run": one.name,
            "complete": one.complete,
            "epochs": one.epochs,
            f"best_{one.metric}": one.best,
            "best_epoch": one.best_epoch,
            f"last_{one.metric}": one.last,
            "wall_time_s": one.wall_time_s,
            "images_per_s": one.images_per_s,
            "parameters": one.parameters,
            **{f"config.{key}": values[index] for key, values in differences.items()},
        }
        for index, one in enumerate(runs)
    ]
    if arguments.json is not None:
        histories = {one.name: list(one.history) for one in runs}
        write_result([{**row, "history": histories[row["run"]]} for row in rows], arguments.json)
    if arguments.csv is not None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_output(text.getvalue(), arguments.csv)
    if arguments.plot is not None:
        from focalnets.training.curves import draw_runs, run_panels

        panels = run_panels({run.metric: run.shown for run in runs})
        draw_runs({run.name: run.history for run in runs}, arguments.plot, panels)
    if "-" not in (arguments.json, arguments.csv):
        _show(runs, rows)
    return 0


def _show(runs: list[Any], rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from focalnets.training.console import short_duration

    metrics = {run.metric: run.shown for run in runs}
    table = Table("run", box=None, pad_edge=False)
    titles = [title for metric in metrics.values() for title in (f"best {metric.label}", f"last {metric.label}")]
    settings = [key for key in rows[0] if key.startswith("config.")]
    for title in (*titles, "in epoch", "epochs", "time", "images/s", "parameters"):
        table.add_column(title, justify="right", overflow="fold")
    for key in settings:
        table.add_column(key.removeprefix("config."), justify="right", overflow="fold")
    for run, row in zip(runs, rows, strict=True):
        values = [
            "-" if value is None or run.metric != name else metric.format(value, 2)
            for name, metric in metrics.items()
            for value in (run.best, run.last)
        ]
        table.add_row(
            run.name,
            *values,
            _text(run.best_epoch, "d"),
            f"{run.epochs}{'' if run.complete else ' (not complete)'}",
            short_duration(run.wall_time_s),
            _text(run.images_per_s, ".0f"),
            _text(run.parameters, ",d"),
            *(str(row[key]) for key in settings),
        )
    # A file or a pipe has no width to keep to, and a line for each run can be searched.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    console.print(table, markup=False)


def _text(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)
