"""Trainings in a process of their own: reads them from standard input, answers on standard output, a line of JSON each.

The first line names the images and the shared settings; every other one is a training, answered by the lines that it
shows and then by why it failed, which is null where it did not.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any, TextIO

import torch

from focalnets.compare.models import find_models
from focalnets.compare.runs import Run, train_run
from focalnets.compare.variations import load_rows
from focalnets.errors import FocalNetsError, InterruptedRunError
from focalnets.machine.workers import read_lines, write_line
from focalnets.training.config import TrainingConfig
from focalnets.training.trainer import open_data

__all__ = ["main"]


class _Lines(io.TextIOBase):
    """Passes whole lines on as answers."""

    def __init__(self, answers: TextIO) -> None:
        self._answers, self._begun = answers, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            write_line(self._answers, {"line": line})
        return len(text)


def main() -> None:
    """Train until there is nothing more to train."""
    answers = sys.stdout
    sys.stdout = _Lines(answers)  # type: ignore[assignment]
    try:
        jobs = read_lines(sys.stdin)
        first = next(jobs, None)
        if first is None:
            return
        torch.set_num_threads(first["threads"])
        load_rows(first["rows"])
        data = open_data(first["data"], TrainingConfig.from_dict(first["config"]))
        for job in jobs:
            why = train_run(_run(job), data, fresh=job["fresh"], command=first["command"])
            write_line(answers, {"why": why})
    except InterruptedRunError:
        write_line(answers, {"interrupted": True})
    except FocalNetsError as error:
        write_line(answers, {"mistake": str(error)})


def _run(job: dict[str, Any]) -> Run:
    (model,) = find_models([job["model"]], job["skeleton"])
    return Run(model, job["seed"], TrainingConfig.from_dict(job["config"]), Path(job["folder"]))


if __name__ == "__main__":
    main()
