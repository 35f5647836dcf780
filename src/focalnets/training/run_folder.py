"""The folder of one run: what it holds."""

from __future__ import annotations

import csv
import datetime
import io
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from focalnets.errors import TrainingError
from focalnets.files import user_path, write_text
from focalnets.training.config import TrainingConfig

__all__ = ["RunFolder"]


class RunFolder:
    """Names and contents of a run's files.

    Attributes:
        root: The folder.
        config, environment, split, metrics, curves, log, card: Files for people and for repeating the run.
        best, last: Weights of the epoch with the highest validation accuracy, and of the newest one.
        tensorboard: Events for TensorBoard, where it is installed.
        resume_point: Everything that continuing needs: weights, optimiser, schedule, random states, history.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = user_path(root)
        self.config = self.root / "config.yaml"
        self.environment = self.root / "environment.json"
        self.split = self.root / "split.json"
        self.metrics = self.root / "metrics.csv"
        self.curves = self.root / "curves.png"
        self.log = self.root / "log.txt"
        self.card = self.root / "README.md"
        self.best = self.root / "best.safetensors"
        self.last = self.root / "last.safetensors"
        self.tensorboard = self.root / "tensorboard"
        self.resume_point = self.root / "checkpoints" / "last.ckpt"

    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return self.config.exists() or self.resume_point.exists() or self.best.exists()

    def check_free(self, overwrite: bool) -> None:
        """Refuse to mix a new run with an old one, or to start where nothing can be written.

        Raises:
            TrainingError: If the folder holds a run and ``overwrite`` is False, is a file, or cannot be written.
        """
        if self.root.exists() and not self.root.is_dir():
            raise TrainingError(f"The output '{self.root}' is a file; name a folder.")
        if self.holds_run() and not overwrite:
            raise TrainingError(
                f"The folder '{self.root}' already holds a run; continue it with "
                f"--resume {shlex.quote(str(self.root))}, replace it with --overwrite, or name another --output."
            )
        existing = self.root
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise TrainingError(f"The output '{self.root}' cannot be written; name a folder that you may write to.")

    def prepare(self, overwrite: bool) -> None:
        """Make the folder, without the files of an earlier run."""
        if overwrite and self.holds_run():
            for folder in (self.resume_point.parent, self.tensorboard):
                shutil.rmtree(folder, ignore_errors=True)
            for file in vars(self).values():
                if file != self.root:
                    file.unlink(missing_ok=True)
        self.remove_unfinished()
        self.resume_point.parent.mkdir(parents=True, exist_ok=True)

    def remove_unfinished(self) -> None:
        """Remove what a process that was killed while writing has left."""
        for folder in (self.root, self.resume_point.parent):
            for file in folder.glob(".*.tmp"):
                file.unlink(missing_ok=True)

    def write_config(self, config: TrainingConfig) -> None:
        """Write the settings as YAML that ``--config`` takes."""
        write_text(self.config, yaml.safe_dump(config.to_dict(), sort_keys=False))

    def read_config(self) -> TrainingConfig:
        """The settings of the run.

        Raises:
            TrainingError: If there is no run here.
        """
        try:
            return TrainingConfig.from_dict(yaml.safe_load(self.config.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise TrainingError(f"There is no run in '{self.root}' (no config.yaml); name a run's folder.") from None
        except (yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
            raise TrainingError(f"'{self.config}' is no training config ({type(error).__name__}).") from error

    def write_metrics(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Write one line an epoch as CSV."""
        table = io.StringIO()
        writer = csv.DictWriter(table, list(history[0]), lineterminator="\n")
        writer.writeheader()
        for row in history:
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
        write_text(self.metrics, table.getvalue())

    def append_log(self, line: str) -> None:
        """Add a line with the time."""
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {line}\n")
