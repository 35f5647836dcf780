"""``focalnets predict --context``: images of any size, at the size that they have."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from focalnets.cli.destinations import require_folder
from focalnets.cli.look_options import add_look_options, read_look_options
from focalnets.cli.options import add_flag
from focalnets.cli.output import deliver, note, progress
from focalnets.cli.result_table import show_results
from focalnets.errors import ConfigError, FocalNetsError

__all__ = ["add_large_options", "predict_large_images"]

_STEPS = 1000


def add_large_options(parser: Any) -> None:
    """Add what concerns images of any size."""
    add_look_options(parser)
    parser.add_argument(
        "--level",
        type=int,
        default=0,
        metavar="N",
        help="size to take of files with several, 0 the largest (default: 0)",
    )
    add_flag(
        parser, "resumable", "keep maps of whole images in files, so that an interrupted image goes on where it was"
    )


def predict_large_images(arguments: Any, source: str) -> int:
    """Look at the images one after the other and report."""
    from focalnets import api
    from focalnets.data.finding import find_images
    from focalnets.errors import DataError
    from focalnets.files import user_path
    from focalnets.tasks.large import predict_large

    options = read_look_options(arguments)
    model = api.load(source, device=arguments.device, top_k=arguments.top_k)
    model.require_weights("--context")
    if arguments.threshold is not None:
        model = model.with_options(threshold=arguments.threshold, shown_from=arguments.threshold)
    output = None if arguments.output is None else Path(require_folder(arguments.output))
    answers: list[Any] = []
    failures: list[dict[str, str]] = []
    paths: list[Path] = []
    for given in arguments.inputs:
        path = user_path(given)
        try:  # Slides and NumPy files have endings by which folders are not searched.
            paths += [path] if path.is_file() else find_images([given])
        except DataError as error:
            failures.append({"path": given, "reason": str(error)})
    for path in dict.fromkeys(paths):
        folder = None if output is None else output if len(paths) == 1 else output / path.name
        try:
            with progress(path.name, _STEPS) as show:
                answers.append(
                    predict_large(
                        model.task,
                        model.network,
                        path,
                        options,
                        output=folder,
                        level=arguments.level,
                        on_plan=lambda plan, path=path: note(f"{path}: {plan.sentence()}"),  # type: ignore[misc]
                        on_progress=lambda done: show(int(done * _STEPS)),
                    )
                )
        except ConfigError:
            raise
        except FocalNetsError as error:
            failures.append({"path": str(path), "reason": str(error)})

    def content() -> dict[str, Any]:
        return {"model": source, "predictions": [answer.to_dict() for answer in answers], "failures": failures}

    def table() -> str:
        from focalnets.files import csv_text

        return csv_text(*model.task.result_table([answer.result for answer in answers]))

    def show_all() -> None:
        show_results(model.task, [answer.result for answer in answers])
        if output is not None and answers:
            each = "" if len(paths) == 1 else ", a folder for each image"
            print(f"written: {', '.join(answers[0].files)} in {output}{each}")

    deliver(arguments, show_all, json=content, csv=table)
    for failure in failures:
        print(f"not read: {failure['reason']}", file=sys.stderr)
    return 0 if not failures else 1 if answers else 2
