"""``focalnets predict`` for networks that classify texts or series."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.cli.destinations import require_folder
from focalnets.cli.output import STANDARD_OUTPUT, deliver, progress
from focalnets.cli.result_table import show_results
from focalnets.errors import ConfigError
from focalnets.files import is_there, user_path

__all__ = ["add_sequence_options", "predict_given_sequences", "reads_sequences"]


def add_sequence_options(parser: Any) -> None:
    """Add the options that are for texts alone."""
    from focalnets.cli.options import add_flag

    add_flag(parser, "lines", "take each line of a text file for a text of its own, as of standard input")
    parser.add_argument(
        "--text_field", type=str, metavar="COLUMN", help="column of a table that holds the text (default: as trained)"
    )


def reads_sequences(model: str | None) -> bool:
    """Whether a network that lies here classifies texts or series, by its file alone.

    Raises:
        ConfigError: If it continues texts in place of classifying them.
    """
    if model is None or not is_there(user_path(model)):
        return False
    from focalnets.exporting.formats import is_exported
    from focalnets.tasks.table import TASKS
    from focalnets.weights.loading import open_trained

    if is_exported(model):
        return False
    task = open_trained(model).recognition.task
    if task == "language":
        raise ConfigError("Networks of the task language continue texts; use `focalnets generate`.")
    return task in TASKS and TASKS[task].of_sequences


def predict_given_sequences(arguments: Any, source: str) -> int:
    """Predict and report."""
    from focalnets import api
    from focalnets.tasks.evaluation import Failure
    from focalnets.tasks.sequences.predicting import predict_sequences

    if arguments.output is not None:
        require_folder(arguments.output)
    model = api.load(source, device=arguments.device, top_k=arguments.top_k)
    options = {}
    if model.task.name == "text":
        options = {"text_field": arguments.text_field or "", "by_lines": arguments.lines}
        given: Sequence[Any] = _texts_given(arguments.inputs)
    else:
        given = [Path(word) for word in arguments.inputs]
    sequences, missing = model.task.gather(given, **options)  # type: ignore[attr-defined]
    failures = [Failure(path=Path(name), reason=reason) for name, reason in missing]
    with progress("predicting", len(sequences)) as show:
        results = predict_sequences(
            model, sequences, failures, batch_size=arguments.batch_size, size=arguments.size,
            on_progress=lambda done, _all: show(done),
        )  # fmt: skip
    if results and arguments.output is not None:
        results.write(arguments.output)
    deliver(
        arguments,
        lambda: show_results(results.task, [result.value for result in results]),
        json=results.to_dict,
        csv=results.to_csv,
    )
    for failure in results.failures:
        print(f"not classified: {failure.reason}", file=sys.stderr)
    return 0 if not results.failures else 1 if results else 2


def _texts_given(words: Sequence[str]) -> list[Any]:
    """Tell texts, files and standard input (``-``) apart."""
    from focalnets.data.text.inputs import as_texts_or_paths, lines_of

    given: list[Any] = []
    for word in words:
        if word != STANDARD_OUTPUT:
            given += as_texts_or_paths([word])
            continue
        lines = lines_of(sys.stdin, "standard input")
        if not lines:
            raise ConfigError("expected a text on each line of standard input, got none.")
        given += lines
    return given
