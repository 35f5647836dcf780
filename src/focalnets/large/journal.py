"""How far the work on an image is, written after every band, so that it can go on there after an interruption."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.files import write_json

__all__ = ["Journal", "Position"]


@dataclasses.dataclass(frozen=True)
class Position:
    """Where the passes over the maps are.

    Attributes:
        stage: Number of the stage.
        sweep: Number of the sweep over its map.
        rows: Rows of tokens that are written.
        aggregated: Rows whose local levels are written.
        sums: Of the last level over these rows, (C,) float64.
        mean: Of the last level of the block before, (C,) float32.
    """

    stage: int = 0
    sweep: int = 0
    rows: int = 0
    aggregated: int = 0
    sums: Tensor | None = None
    mean: Tensor | None = None

    def is_after(self, stage: int, sweep: int) -> bool:
        """Tell whether a sweep is done."""
        return (self.stage, self.sweep) > (stage, sweep)


class Journal:
    """A file that says how far the work is, for one image, one network and one way of going through it.

    Args:
        path: The file.
        work: What the work is, in plain values; a file about other work counts as none.
    """

    def __init__(self, path: Path, work: dict[str, Any]) -> None:
        self.path = path
        self.work = json.loads(json.dumps(work))
        self._content = self._read()

    def read(self) -> Position:
        """Read how far the work was; the beginning if there is no record of it."""
        fields = self._content.get("position")
        if fields is None:
            return Position()
        for name, dtype in (("sums", torch.float64), ("mean", torch.float32)):
            if fields[name] is not None:
                fields = {**fields, name: torch.tensor(fields[name], dtype=dtype)}
        return Position(**fields)

    def write(self, position: Position) -> None:
        """Record how far the work is."""
        fields = {field.name: getattr(position, field.name) for field in dataclasses.fields(position)}
        plain = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in fields.items()}
        self._write("position", plain)

    def get(self, name: str) -> Any:
        """Return what was recorded under a name; None if nothing."""
        return self._content.get(name)

    def put(self, name: str, value: Any) -> None:
        """Record plain values under a name."""
        self._write(name, value)

    def done(self, name: str) -> list[Any]:
        """List the pieces of a kind that are done."""
        return list(self._content.get(name, []))

    def add(self, name: str, piece: Any) -> None:
        """Record that a piece is done."""
        self._write(name, [*self.done(name), piece])

    def _write(self, name: str, value: Any) -> None:
        self._content[name] = value
        write_json(self.path, {"work": self.work, **self._content})

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict) or content.pop("work", None) != self.work:
            return {}
        return content
