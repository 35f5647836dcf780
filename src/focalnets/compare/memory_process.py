"""Asks another process what single calls add to memory, and survives whatever becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from focalnets.compare.variations import loaded_rows
from focalnets.machine.workers import Answers, Worker, was_ended_by_the_system

__all__ = ["MemoryProcess"]

_STARTING_S = 120.0
"""What starting the process may take on a busy machine [s]; where it has died one knows at once."""


class MemoryProcess:
    """A process of :mod:`focalnets.compare.memory_worker`, started when it is first needed; close it after use."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._answers: Answers[Worker] = Answers()

    def __enter__(self) -> MemoryProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def measure(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Have a job done; returns its outcome.

        A process that the system ended counts as out of memory, one that takes longer than ``timeout_s`` as over the
        time.
        """
        worker = self._start()
        worker.send({**job, "timeout_s": timeout_s, "threads": torch.get_num_threads(), "rows": loaded_rows()})
        try:
            _, outcome = self._answers.next(timeout_s + _STARTING_S)
        except TimeoutError:
            self.close()
            return {"status": "over the time", "why": f"It took more than {timeout_s:.0f} s; give more --minutes."}
        if outcome is None:
            outcome = _explain_end(worker, worker.wait())
            self.close()
        elif "exit" in outcome:  # of the copy that did the job
            outcome = _explain_end(worker, outcome["exit"])
        return outcome

    def close(self) -> None:
        """End the process."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _start(self) -> Worker:
        if self._worker is None or not self._worker.is_running:
            self.close()
            self._answers = Answers()
            self._worker = Worker("focalnets.compare.memory_worker", self._answers)
        return self._worker


def _explain_end(worker: Worker, status: int) -> dict[str, Any]:
    why = worker.explain_end(status)
    why = f"{why[0].upper()}{why[1:]}"
    if was_ended_by_the_system(status):
        return {"status": "out of memory", "why": f"{why}."}
    return {"status": "failed", "why": why}
