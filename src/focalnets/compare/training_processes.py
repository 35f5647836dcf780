"""Several trainings at once, each in a process of its own.

On few cores, trainings side by side with one thread each end sooner than one after the other with all threads, since
small networks leave threads waiting for each other.
"""

from __future__ import annotations

import collections
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from focalnets.compare.runs import Run
from focalnets.compare.variations import loaded_rows
from focalnets.errors import InterruptedRunError, TrainingError
from focalnets.machine.workers import Answers, Worker
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
    answers: Answers[_TrainingProcess] = Answers()
    workers: list[_TrainingProcess] = []
    stopping = False
    with stop_request_on_signals() as request:
        try:
            for _ in range(processes):
                workers.append(_TrainingProcess(first, answers))
                workers[-1].give(waiting.popleft(), fresh)
            while any(worker.run is not None for worker in workers):
                if request.asked and not stopping:
                    stopping = True
                    for worker in workers:
                        worker.terminate()  # it saves and ends
                try:
                    worker, answer = answers.next(_LOOKS_S)
                except TimeoutError:
                    continue
                has_ended = answer is None
                if answer is None:
                    answer = {"why": worker.explain_end(worker.wait())}
                if "line" in answer:
                    print(f"{worker.name}: {answer['line']}", flush=True)
                    continue
                if worker.run is None:
                    continue  # the end of one that has nothing more to do
                run, seconds = worker.take()
                if answer.get("interrupted") or (stopping and has_ended):
                    continue
                if "mistake" in answer:
                    raise TrainingError(answer["mistake"])
                ended(run, answer["why"], seconds)
                if waiting and not stopping:
                    if has_ended:
                        workers.remove(worker)
                        worker.close()
                        workers.append(worker := _TrainingProcess(first, answers))
                    worker.give(waiting.popleft(), fresh)
        finally:
            for worker in workers:
                worker.close(kill=worker.run is not None)  # one that waits ends by itself
    if stopping:
        raise InterruptedRunError("Stopped; everything so far is saved. The same command goes on.")


class _TrainingProcess(Worker):
    """A process of :mod:`focalnets.compare.training_worker`.

    Attributes:
        run: What it trains now.
    """

    def __init__(self, first: dict[str, Any], answers: Answers[_TrainingProcess]) -> None:
        self.run: Run | None = None
        self._begun = 0.0
        # Ctrl-C of the terminal reaches this process alone, which passes it on once.
        threads = {"OMP_NUM_THREADS": str(first["threads"])}
        super().__init__("focalnets.compare.training_worker", answers, environment=threads, own_session=True)
        self.send({**first, "command": list(sys.argv)})

    @property
    def name(self) -> str:
        """Of its run."""
        return "" if self.run is None else f"{self.run.model.name}, seed {self.run.seed}"

    def give(self, run: Run, fresh: bool) -> None:
        """Have it train."""
        self.run, self._begun = run, time.monotonic()
        skeleton = dict(run.model.skeleton)
        self.send({"model": run.model.name, "skeleton": skeleton, "seed": run.seed, "fresh": fresh,
                   "config": run.config.to_dict(), "folder": str(run.folder)})  # fmt: skip

    def take(self) -> tuple[Run, float]:
        """Take the run that has ended from it; returns that and how long it took [s]."""
        run, self.run = self.run, None
        assert run is not None
        return run, time.monotonic() - self._begun
