"""Several trainings at once, each in a process of its own.

On few cores, trainings side by side with one thread each end sooner than one after the other with all threads, since
small networks leave threads waiting for each other.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import torch

from focalnets.compare.runs import Run
from focalnets.compare.variations import loaded_rows
from focalnets.errors import InterruptedRunError, TrainingError
from focalnets.training.callbacks import stop_request_on_signals
from focalnets.training.config import TrainingConfig

__all__ = ["train_in_processes"]

Ended = Callable[[Run, str | None, float], None]

_LOOKS_S = 0.5


def train_in_processes(
    runs: Sequence[Run], config: TrainingConfig, data_root: str | Path, processes: int, *, fresh: bool, ended: Ended
) -> None:
    """Do the trainings, ``processes`` at once; ``ended`` gets each with why it failed, if it did, and its time [s].

    Raises:
        InterruptedRunError: If stopped by Ctrl-C, after all have saved what they had.
        TrainingError: If one of them meets what the others would meet too.
    """
    threads = max(1, torch.get_num_threads() // processes)
    first = {"data": str(data_root), "config": config.to_dict(), "rows": loaded_rows(), "threads": threads}
    waiting = collections.deque(runs)
    answers: queue.Queue[tuple[_Worker, str]] = queue.Queue()
    workers = []
    stopping = False
    with stop_request_on_signals() as request:
        try:
            for _ in range(processes):
                workers.append(_Worker(first, answers))
                workers[-1].give(waiting.popleft(), fresh)
            while any(worker.run is not None for worker in workers):
                if request.asked and not stopping:
                    stopping = True
                    for worker in workers:
                        worker.process.terminate()  # it saves and ends
                try:
                    worker, line = answers.get(timeout=_LOOKS_S)
                except queue.Empty:
                    continue
                answer: dict[str, Any] = json.loads(line) if line else {"why": worker.last_words()}
                if "line" in answer:
                    print(f"{worker.name}: {answer['line']}", flush=True)
                    continue
                if worker.run is None:
                    continue  # the end of one that has nothing more to do
                run, seconds = worker.take()
                if answer.get("interrupted") or (stopping and not line):
                    continue
                if "mistake" in answer:
                    raise TrainingError(answer["mistake"])
                ended(run, answer["why"], seconds)
                if waiting and not stopping:
                    if not line:
                        workers.remove(worker)
                        workers.append(worker := _Worker(first, answers))
                    worker.give(waiting.popleft(), fresh)
        finally:
            for worker in workers:
                worker.close()
    if stopping:
        raise InterruptedRunError("Stopped; everything so far is saved. The same command goes on.")


class _Worker:
    """A process of :mod:`focalnets.compare.training_worker`.

    Attributes:
        run: What it trains now.
    """

    def __init__(self, first: dict[str, Any], answers: queue.Queue[tuple[_Worker, str]]) -> None:
        self.run: Run | None = None
        self._begun = 0.0
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - open as long as the process
        threads = str(first["threads"])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "focalnets.compare.training_worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": threads},
            start_new_session=True,  # Ctrl-C of the terminal reaches this process, which passes it on once
        )  # fmt: skip
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._hand_over, args=(self.process.stdout, answers), daemon=True)
        self._reader.start()
        self._send({**first, "command": list(sys.argv)})

    @property
    def name(self) -> str:
        """Of its run."""
        return "" if self.run is None else f"{self.run.entrant.name}, seed {self.run.seed}"

    def give(self, run: Run, fresh: bool) -> None:
        """Have it train."""
        self.run, self._begun = run, time.monotonic()
        skeleton = dict(run.entrant.skeleton)
        self._send({"model": run.entrant.name, "skeleton": skeleton, "seed": run.seed, "fresh": fresh,
                    "config": run.config.to_dict(), "folder": str(run.folder)})  # fmt: skip

    def take(self) -> tuple[Run, float]:
        """The run that has ended, and how long it took [s]."""
        run, self.run = self.run, None
        assert run is not None
        return run, time.monotonic() - self._begun

    def last_words(self) -> str:
        """Why the process has ended by itself."""
        status = self.process.wait()
        if status in (-9, 137):
            return "the system ended the process, as it does where memory runs out"
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return f"the process ended with status {status}: {(lines or ['no message'])[-1][:200]}"

    def close(self) -> None:
        """End the process; one that waits ends by itself, one that trains is killed."""
        assert self.process.stdin is not None
        if self.run is not None:
            self.process.kill()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait()
        self._reader.join()
        self._errors.close()

    def _send(self, content: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended; its last line, which is empty, will say so
            self.process.stdin.write(json.dumps(content) + "\n")
            self.process.stdin.flush()

    def _hand_over(self, lines: IO[str], answers: queue.Queue[tuple[_Worker, str]]) -> None:
        with lines:
            for line in lines:
                answers.put((self, line))
        answers.put((self, ""))
