"""``focalnets runs``: trainings beside each other."""

from __future__ import annotations

import csv
import io
import sys
from typing import Any

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

    runs = find_runs(arguments.folder)
    rows = _rows(runs, differing_settings(runs))
    deliver(
        arguments,
        lambda: _show(rows),
        json=lambda: [{**row, "history": list(run.history)} for row, run in zip(rows, runs, strict=True)],
        csv=lambda: _as_csv(rows),
    )
    if arguments.plot is not None:
        from focalnets.training.curves import draw_runs

        draw_runs({run.name: run.history for run in runs if run.history}, arguments.plot)
    return 0


def _rows(runs: Any, differences: Any) -> list[dict[str, Any]]:
    return [
        {
            "run": run.name,
            "complete": run.complete,
            "epochs": run.epochs,
            "best_top1": run.best_top1,
            "best_epoch": run.best_epoch,
            "last_top1": run.last_top1,
            "wall_time_s": run.wall_time_s,
            "images_per_s": run.images_per_s,
            "parameters": run.parameters,
            **{f"config.{key}": values[index] for key, values in differences.items()},
        }
        for index, run in enumerate(runs)
    ]


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from focalnets.training.console import short_duration

    table = Table(box=None, pad_edge=False)
    titles = ("run", "best top-1", "in epoch", "last top-1", "epochs", "time", "images/s", "parameters")
    settings = [key for key in rows[0] if key.startswith("config.")]
    for title in (*titles, *(key.removeprefix("config.") for key in settings)):
        table.add_column(title, justify="left" if title == "run" else "right", overflow="fold")
    for row in rows:
        table.add_row(
            row["run"],
            _text(row["best_top1"], ".2%"),
            _text(row["best_epoch"], "d"),
            _text(row["last_top1"], ".2%"),
            f"{row['epochs']}{'' if row['complete'] else ' (not complete)'}",
            short_duration(row["wall_time_s"]),
            _text(row["images_per_s"], ".0f"),
            _text(row["parameters"], ",d"),
            *(str(row[key]) for key in settings),
        )
    # A file or a pipe has no width to keep to, and a line for each run can be searched.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    console.print(table, markup=False)


def _text(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)
