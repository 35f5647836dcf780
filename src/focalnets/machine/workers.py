"""Helper processes: each reads from its standard input and answers on its standard output, a line of JSON each.

For work that needs a process of its own: whose memory is to be measured, that the system may end, or that must be
stopped while it runs. Work that needs none of this goes to :mod:`concurrent.futures`.

Imports no torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any, Generic, TypeVar

__all__ = ["Answers", "Worker", "read_lines", "write_line"]

WorkerT = TypeVar("WorkerT", bound="Worker")

_ENDED_BY_THE_SYSTEM = (-9, 137)
"""Exit statuses of a process that got SIGKILL, as the process that started it sees it, and as a shell does."""

_MOST_CHARACTERS = 200
"""So much of the last line that a process wrote before it ended is quoted."""


def write_line(stream: IO[str], content: Mapping[str, Any]) -> None:
    """Write plain values as one line of JSON, at once."""
    stream.write(json.dumps(content) + "\n")
    stream.flush()


def read_lines(stream: IO[str]) -> Iterator[dict[str, Any]]:
    """Read lines of JSON as they come, until the other side closes the stream."""
    for line in iter(stream.readline, ""):
        yield json.loads(line)


class Answers(Generic[WorkerT]):
    """What one or several helper processes answer, in the order in which it comes."""

    def __init__(self) -> None:
        self._lines: queue.Queue[tuple[WorkerT, str]] = queue.Queue()

    def add(self, worker: WorkerT, line: str) -> None:
        """Take in a line; an empty one says that the process has ended."""
        self._lines.put((worker, line))

    def next(self, timeout_s: float) -> tuple[WorkerT, dict[str, Any] | None]:
        """Wait for the next answer; returns who gave it and what, None from a process that has ended.

        Raises:
            TimeoutError: If none comes in time.
        """
        try:
            worker, line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"no answer within {timeout_s:.1f} s") from None
        return worker, json.loads(line) if line else None


class Worker:
    """A helper process.

    Args:
        module: What it runs: a module of this Python, which finds all that this process can import.
        answers: Where its answers go.
        environment: Variables besides those of this process.
        own_session: Whether it stands apart from the terminal, so that Ctrl-C reaches this process only.
    """

    def __init__(
        self,
        module: str,
        answers: Answers[Any],
        *,
        environment: Mapping[str, str] | None = None,
        own_session: bool = False,
    ) -> None:
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(environment or {})},
            start_new_session=own_session,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._hand_over, args=(answers,), daemon=True)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def send(self, content: Mapping[str, Any]) -> None:
        """Write to the process; one that has ended gets nothing, and the last of its answers says so."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            write_line(self._process.stdin, content)

    def terminate(self) -> None:
        """Ask the process to save what it has and end."""
        self._process.terminate()

    def wait(self) -> int:
        """Wait until the process has ended; returns its exit status."""
        return self._process.wait()

    def explain_end(self, status: int) -> str:
        """Say why a process with this exit status has ended, this one or a copy of it: part of a sentence."""
        if was_ended_by_the_system(status):
            return "the system ended the process, as it does where memory runs out"
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()] or ["no message"]
        return f"the process ended with status {status}: {lines[-1][:_MOST_CHARACTERS]}"

    def close(self, *, kill: bool = True) -> None:
        """End the process: at once, or with ``kill`` False when it has done what it was sent."""
        assert self._process.stdin is not None
        if kill:
            self._process.kill()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        self._errors.close()

    def _hand_over(self, answers: Answers[Any]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                answers.add(self, line)
        answers.add(self, "")


def was_ended_by_the_system(status: int) -> bool:
    """Tell whether a process with this exit status was killed, as the system does where memory runs out."""
    return status in _ENDED_BY_THE_SYSTEM
