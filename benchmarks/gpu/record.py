"""The file of a stage: rows of plain values, written whole after each one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from focalnets.files import write_json

__all__ = ["Record"]


class Record:
    """Rows by name; those that an earlier start has measured are kept and not measured again.

    Args:
        file: JSON file of the stage.
        deadline: ``time.monotonic`` after which no further row is begun [s].
    """

    def __init__(self, file: Path, deadline: float) -> None:
        self.file, self.deadline = file, deadline
        self.content: dict[str, Any] = {"complete": False, "rows": {}}
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            self.content["rows"] = dict(before["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # Nothing of use was left behind.
        self.left_out = 0

    def measure(self, name: str, run: Callable[[], dict[str, Any]]) -> None:
        """Measure one row, unless it is there already or the time is over; what fails becomes the row."""
        if "failed" not in self.content["rows"].get(name, {"failed": True}):
            return
        if time.monotonic() > self.deadline:
            self.left_out += 1
            return
        begin = time.monotonic()
        try:
            row = run()
        except Exception as error:  # The next row may work all the same.
            row = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
        row["seconds"] = round(time.monotonic() - begin, 2)
        self.content["rows"][name] = row
        self._write()
        print(f"  {name}: {json.dumps(row)[:400]}", flush=True)

    def finish(self, **facts: Any) -> None:
        """Say whether the next start has anything left to do: rows left out, or failed ones to try again."""
        failed = sum("failed" in row for row in self.content["rows"].values())
        self.content.update(facts, complete=self.left_out + failed == 0, left_out=self.left_out, failed=failed)
        self._write()

    def _write(self) -> None:
        write_json(self.file, self.content)
