"""``focalnets runs``: trainings beside each other."""

from __future__ import annotations

import csv
import io
import math
import sys
from typing import Any

from focalnets.cli.destinations import require_file
from focalnets.cli.options import add_csv, add_json
from focalnets.cli.output import deliver

EXAMPLES = """\
  focalnets runs runs
  focalnets runs runs --plot runs.png
  focalnets runs runs --json"""


def add_arguments(parser: Any) -> None:
    """Add the folder and where to write."""
    parser.add_argument("folder", type=str, metavar="DIR", help="a run, or a folder with runs in it or below")
    add_json(parser, "everything")
    add_csv(parser, "the table")
    parser.add_argument("--plot", type=str, metavar="PNG", help="draw the curves of all runs")


def run(arguments: Any) -> int:
    """Show the table and write what was asked for."""
    from focalnets.training.runs import differing_settings, find_runs

    plot = None if arguments.plot is None else require_file("--plot", arguments.plot)
    runs = find_runs(arguments.folder)
    rows = _rows(runs, differing_settings(runs))

    def draw() -> list[str]:
        from focalnets.training.curves import draw_runs, run_panels

        assert plot is not None
        panels = run_panels({run.metric: run.shown for run in runs})
        draw_runs({run.name: run.history for run in runs}, plot, panels)
        return []

    deliver(
        arguments,
        lambda: _show(runs, rows),
        json=lambda: [
            {**_finite(row), "history": [_finite(figures) for figures in run.history]}
            for row, run in zip(rows, runs, strict=True)
        ],
        csv=lambda: _as_csv(rows),
        files=draw,
        output=arguments.plot,
    )
    return 0


def _rows(runs: Any, differences: Any) -> list[dict[str, Any]]:
    return [
        {
            "run": run.name,
            "complete": run.complete,
            "epochs": run.epochs,
            f"best_{run.metric}": run.best,
            "best_epoch": run.best_epoch,
            f"last_{run.metric}": run.last,
            "wall_time_s": run.wall_time_s,
            "images_per_s": run.images_per_s,
            "parameters": run.parameters,
            **{f"config.{key}": values[index] for key, values in differences.items()},
        }
        for index, run in enumerate(runs)
    ]


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """The row with nothing in place of numbers that JSON does not have."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


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
