"""Asks another process what single calls add to memory, and survives whatever becomes of it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import IO, Any

import torch

from focalnets.compare.variations import loaded_rows

__all__ = ["MemoryProcess"]

_STARTING_S = 120.0
"""What starting the process may take on a busy machine [s]; where it has died one knows at once."""

_ENDED_BY_THE_SYSTEM = (-9, 137)


class MemoryProcess:
    """A process of :mod:`focalnets.compare.memory_worker`, started when it is first needed; close it after use."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._errors: IO[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> MemoryProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def measure(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Have a job done; returns its outcome.

        A process that the system ended counts as out of memory, one that takes longer than ``timeout_s`` as over the
        time.
        """
        request = {**job, "timeout_s": timeout_s, "threads": torch.get_num_threads(), "rows": loaded_rows()}
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = self._answers.get(timeout=timeout_s + _STARTING_S)
        except queue.Empty:
            self.close()
            return {"status": "over the time", "why": f"It took more than {timeout_s:.0f} s; give more --minutes."}
        except OSError:
            line = ""
        outcome: dict[str, Any] = json.loads(line) if line else {"status": "failed", "exit": process.wait()}
        if "exit" in outcome:
            outcome = self._explained(outcome["exit"])
        if not line:
            self.close()
        return outcome

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        assert self._reader is not None
        self._reader.join()
        for stream in (process.stdin, self._errors):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "focalnets.compare.memory_worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        answers = self._answers = queue.Queue()
        self._reader = threading.Thread(target=_hand_over, args=(self._process.stdout, answers), daemon=True)
        self._reader.start()
        return self._process

    def _explained(self, status: int) -> dict[str, Any]:
        if status in _ENDED_BY_THE_SYSTEM:
            why = "The system ended the process, as it does where memory runs out."
            return {"status": "out of memory", "why": why}
        words = "no message"
        if self._errors is not None:
            self._errors.seek(0)
            words = ([line for line in self._errors.read().splitlines() if line.strip()] or [words])[-1][:200]
        return {"status": "failed", "why": f"The process ended with status {status}: {words}"}


def _hand_over(lines: IO[str], answers: queue.Queue[str]) -> None:
    """Put lines into the queue, and an empty one behind the last."""
    with lines:
        for line in lines:
            answers.put(line)
    answers.put("")
