"""``focalnets explain`` with a network of texts: what it listens to at each token."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.cli.destinations import require_folder
from focalnets.cli.output import STANDARD_OUTPUT, deliver, result_line
from focalnets.errors import CheckpointError, ConfigError, DataError
from focalnets.files import is_there, user_path

__all__ = ["explain_texts", "reads_texts"]

_FOR_PICTURES = {
    "block": None, "map": None, "stage": None, "style": "overlay", "size": None, "format": "png", "kernels": False,
    "receptive_field": False, "every": 1, "most_frames": None, "top_k": 5,
}  # fmt: skip
"""Options that texts have no use for, and what they are where nobody gives them."""

_ENDINGS = ("html", "csv")


def reads_texts(source: str | None) -> bool:
    """Tell whether the network that was named reads texts; what cannot be opened is left for others to refuse."""
    if source is None:
        return False
    from focalnets.exporting.formats import is_exported
    from focalnets.models.input_specs import TextInput
    from focalnets.weights.loading import inspect_trained

    try:
        return not is_exported(source) and isinstance(inspect_trained(source).input, TextInput)
    except CheckpointError:
        return False


def explain_texts(arguments: Any, source: str) -> int:
    """Write a page and a table for each text."""
    from focalnets import api
    from focalnets.report.names import unique_names
    from focalnets.visualize.text.explain import MOST_TOKENS

    given = [name for name, usual in _FOR_PICTURES.items() if getattr(arguments, name) != usual]
    if given:
        raise ConfigError(f"--{given[0]} is for pictures, and the network '{source}' reads texts; leave it out.")
    if not arguments.inputs:
        raise ConfigError("There is nothing to read; give a text, the file of one, or - for standard input.")
    texts, failures = _read_inputs(arguments.inputs, source)
    output = user_path(arguments.output)
    pages = unique_names([name for name, _ in texts], "_explained.html")
    files = [[page, page.removesuffix("_explained.html") + "_tokens.csv"] for page in pages]
    require_folder(output, [file for pair in files for file in pair])
    model = api.load(source, device=arguments.device) if texts else None
    explained: list[dict[str, Any]] = []
    for (name, text), pair in zip(texts, files, strict=True):
        assert model is not None
        try:
            found = model.explain_text(text, name=str(name), most_tokens=arguments.most_tokens or MOST_TOKENS)
        except DataError as error:
            failures.append(str(error))
            continue
        written = [str(found.save(output / file)) for file in pair]
        explained.append({**found.to_dict(), "files": written})
        result_line(f"{found.in_words()}; {', '.join(written)}")
    deliver(arguments, lambda: None, json=lambda: {"model": source, "explained": explained, "failures": failures})
    for failure in failures:
        print(f"not explained: {failure}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} of {len(explained) + len(failures)} inputs could not be explained.", file=sys.stderr)
    return 0 if not failures else 1 if explained else 2


def _read_inputs(inputs: Sequence[str], source: str) -> tuple[list[tuple[Path, str]], list[str]]:
    """Read texts with what each is called; sentences about those that cannot be read."""
    from focalnets.data.text.inputs import read_stream
    from focalnets.data.text.reading import read_texts, without_surrogates
    from focalnets.tasks.language.data import field_of_run

    texts: list[tuple[Path, str]] = []
    failures: list[str] = []
    place = user_path(source)
    field = field_of_run(place if is_there(place) else None)
    for given in inputs:
        try:
            if given == STANDARD_OUTPUT:
                texts.append((Path("standard_input"), read_stream(sys.stdin, "standard input")))
                continue
            files = _files_of(given)
        except DataError as error:
            failures.append(str(error))
            continue
        if not files:
            texts.append((Path("text"), without_surrogates(given)))
        for file in files:
            try:
                texts.append((file, read_texts([file], text_field=field)))
            except DataError as error:
                failures.append(str(error))
    return texts, failures


def _files_of(given: str) -> tuple[Path, ...]:
    """List the file that was named, or every text of a folder; nothing where it is the text itself."""
    from focalnets.data.text.finding import TEXT_ENDINGS, find_texts

    path = user_path(given)
    if is_there(path):
        found = find_texts(path)
        if found.hold_tokens:
            raise DataError(f"'{given}' holds tokens; give texts.")
        return (*found.train, *found.val)
    if given.lower().endswith(TEXT_ENDINGS) and not any(letter.isspace() for letter in given):
        raise DataError(f"there is no file '{given}'; name a file, or give the text itself.")
    return ()
