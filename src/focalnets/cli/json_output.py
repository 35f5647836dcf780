"""The ``--json`` option that commands share: to a file, or to standard output."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from focalnets.errors import ConfigError

__all__ = ["STANDARD_OUTPUT", "add_json_argument", "write_json"]

STANDARD_OUTPUT = "-"


def add_json_argument(parser: Any, content: str) -> None:
    """Add ``--json [FILE]``; alone or with ``-`` it prints to standard output."""
    parser.add_argument(
        "--json",
        type=str,
        nargs="?",
        const=STANDARD_OUTPUT,
        metavar="FILE",
        help=f"write {content} as JSON to FILE, or to standard output if no FILE or - is given",
    )


def write_json(content: Any, target: str) -> None:
    """Print JSON, or write it under a temporary name and rename it.

    Raises:
        ConfigError: If the file cannot be written.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False)
    if target == STANDARD_OUTPUT:
        print(text)
        return
    path = Path(target)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(
            f"--json could not write {path} ({error.strerror}); name a file in a folder that exists."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
