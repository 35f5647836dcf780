"""What a cell will cost, from the cells before it: so that time and memory are not spent on what cannot be finished."""

from __future__ import annotations

import dataclasses
import statistics

from focalnets.compare.results import Cell

__all__ = ["Forecast", "wanted_rounds"]

_TRAINING_OVER_INFERENCE = 3.5

_OVERHEAD_S = 2.0
"""Building the network three times, and what else a cell costs beside its calls [s]."""

_MARGIN = 1.1
"""Larger maps leave the caches, so that calls take longer than multiply-accumulates say."""

_SHORT_S = 1.0
"""Calls shorter than this are warmed up, estimated, and repeated within a round [s]."""


@dataclasses.dataclass
class Forecast:
    """Speeds and memory of the cells so far.

    Attributes:
        speeds: Multiply-accumulates a second, by network and task, of the newest cell.
        peaks: Pixels of the batch and the bytes that a call on them took, by network and task, of the largest cell.
    """

    speeds: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    peaks: dict[tuple[str, str], tuple[int, int]] = dataclasses.field(default_factory=dict)

    def learn(self, cell: Cell, seconds: float | None) -> None:
        """Take in what a call of a cell cost."""
        key = cell.model, cell.task
        if seconds:
            self.speeds[key] = _work(cell) / seconds
        pixels = cell.batch * cell.size_px**2
        if cell.peak_bytes is not None and pixels >= self.peaks.get(key, (0, 0))[0]:
            self.peaks[key] = pixels, cell.peak_bytes

    def call_s(self, cell: Cell) -> float | None:
        """Estimate how long a call takes [s], as the same network took elsewhere, or others; None if none was timed."""
        other = "training" if cell.task == "inference" else "inference"
        factor = _TRAINING_OVER_INFERENCE if cell.task == "training" else 1 / _TRAINING_OVER_INFERENCE
        speed = self.speeds.get((cell.model, cell.task))
        if speed is None and (cell.model, other) in self.speeds:
            speed = self.speeds[cell.model, other] / factor
        if speed is None:
            alike = [value for (_, task), value in self.speeds.items() if task == cell.task]
            speed = statistics.median(alike) if alike and cell.macs else None
        return None if speed is None else _work(cell) / speed

    def cell_s(self, cell: Cell) -> float:
        """Estimate how long a cell takes [s]: a call in a process of its own, warming up, and the wanted rounds."""
        call = self.call_s(cell) or 0.0
        calls = 1 + 1 / max(2, cell.batch) + (2 if call < _SHORT_S else 0) + wanted_rounds(call)
        return _OVERHEAD_S + _MARGIN * call * calls

    def peak_bytes(self, cell: Cell) -> int | None:
        """Estimate the memory of a call if it grows with the pixels; None if no smaller cell was measured."""
        pixels, peak = self.peaks.get((cell.model, cell.task), (0, 0))
        return round(peak * cell.batch * cell.size_px**2 / pixels) if pixels else None


def wanted_rounds(call_s: float) -> int:
    """Choose how many rounds come before dearer cells: enough for a spread, but fewer of calls that take long [s]."""
    return 3 if call_s < 2.0 else 2 if call_s < 5.0 else 1


def _work(cell: Cell) -> float:
    """Compute the multiply-accumulates of a batch; where they could not be counted, what grows in the same way."""
    return (cell.macs or cell.size_px**2) * cell.batch
