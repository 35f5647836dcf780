"""The folder of one run: what it holds."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from focalnets.errors import ConfigError, TrainingError, kind_of_value, quoted_list
from focalnets.files import (
    is_there,
    parse_json,
    read_json,
    replacing,
    try_folder,
    user_path,
    without_surrogates,
    write_json,
    write_text,
)
from focalnets.training.config import TrainingConfig

__all__ = ["RunFolder"]

_COMPLETE = "focalnets.run_complete"
_MOST_HEADER_BYTES = 100_000_000

_READERS_END_S = 30.0
"""How long after a training was killed its processes that read images may still hold its lock [s]."""


class RunFolder:
    """Names and contents of a run's files.

    Attributes:
        root: The folder.
        config, environment, split, metrics, curves, log, card: Files for people and for repeating the run.
        best, last: Weights of the epoch with the highest validation accuracy, and of the newest one.
        baseline: How a plain method does on what was held out, for tasks that have one.
        tensorboard: Events for TensorBoard, where it is installed.
        resume_point: Everything that continuing needs: weights, optimiser, schedule, random states, history.
        lock, holder: Held while a training writes here, and which process holds it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = user_path(root)
        self.config = self.root / "config.yaml"
        self.environment = self.root / "environment.json"
        self.split = self.root / "split.json"
        self.metrics = self.root / "metrics.csv"
        self.curves = self.root / "curves.png"
        self.log = self.root / "log.txt"
        self.samples = self.root / "samples.txt"
        self.card = self.root / "README.md"
        self.baseline = self.root / "baseline.json"
        self.best = self.root / "best.safetensors"
        self.last = self.root / "last.safetensors"
        self.tensorboard = self.root / "tensorboard"
        self.resume_point = self.root / "checkpoints" / "last.ckpt"
        self.lock = self.root / ".training.lock"
        self.holder = self.root / ".training.json"

    def holds_run(self) -> bool:
        """Tell whether a run was begun here."""
        return self.config.exists() or self.resume_point.exists() or self.best.exists()

    def check_free(self, overwrite: bool) -> None:
        """Refuse to mix a new run with an old one, or to start where nothing can be written.

        Raises:
            TrainingError: If the folder holds a run and ``overwrite`` is False, or files of others that a run would
                replace; if another training writes there; if it is a file, or cannot be written.
        """
        self._try_writing()
        if self.lock.exists():
            with self.locked():  # held by nobody: its process was killed
                pass
        self.require_free(overwrite)

    def require_free(self, overwrite: bool) -> None:
        """Refuse what :meth:`check_free` refuses, except a folder that is locked."""
        if self.holds_run() and not overwrite:
            raise TrainingError(
                f"The folder '{self.root}' already holds a run; continue it with "
                f"--resume {shlex.quote(str(self.root))}, replace it with --overwrite, or name another --output."
            )
        foreign = [] if self.holds_run() else [file.name for file in self._results() if file.exists()]
        if foreign:
            raise TrainingError(
                f"The folder '{self.root}' holds no run but {quoted_list(foreign)}, which a training would replace; "
                "name another --output."
            )

    def _try_writing(self) -> None:
        if is_there(self.root) and not self.root.is_dir():
            raise TrainingError(f"The output '{self.root}' is a file; name a folder.")
        try:
            try_folder(self.root, [str(file.relative_to(self.root)) for file in self._written()])
        except OSError as error:
            place = f" ('{error.filename}')" if error.filename else ""
            raise TrainingError(
                f"The output '{self.root}' cannot be written: {error.strerror}{place}; name a folder that you may "
                "write to."
            ) from error

    def prepare(self, overwrite: bool) -> None:
        """Make the folder, without the files of an earlier run."""
        if overwrite and self.holds_run():
            for folder in (self.resume_point.parent, self.tensorboard):
                shutil.rmtree(folder, ignore_errors=True)
            for file in (*self._results(), self.resume_point):
                if file != self.card or self.card_is_ours():
                    file.unlink(missing_ok=True)
        self.remove_unfinished()
        self.resume_point.parent.mkdir(parents=True, exist_ok=True)

    def remove_unfinished(self) -> None:
        """Remove what a process that was killed while writing has left."""
        for folder in (self.root, self.resume_point.parent):
            for file in folder.glob(".*.tmp"):
                file.unlink(missing_ok=True)

    def _written(self) -> tuple[Path, ...]:
        """Every file that a training writes, apart from what TensorBoard does."""
        return (*self._results(), self.resume_point, self.lock, self.holder)

    def _results(self) -> tuple[Path, ...]:
        """The files that a run writes for people and for later use."""
        return (
            self.config, self.environment, self.split, self.metrics, self.curves, self.log, self.samples,
            self.card, self.baseline, self.best, self.last,
        )  # fmt: skip

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other training out of the folder, which is made if needed; given back also by a killed process.

        Raises:
            TrainingError: If another training writes there, or the folder cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.lock)
            lock.acquire(timeout=_READERS_END_S if self._holder_has_ended() else 0)
        except Timeout:
            raise TrainingError(
                f"Another training writes to '{self.root}' now{self._holder_in_words()}; wait for it, stop it, or name "
                "another --output."
            ) from None
        except OSError as error:
            raise TrainingError(
                f"The output '{self.root}' cannot be written ({error.strerror}); name a folder that you may write to."
            ) from error
        try:
            with contextlib.suppress(OSError):
                write_json(self.holder, {"process": os.getpid(), "computer": platform.node(), "command": sys.argv})
            yield
        finally:
            for file in (self.holder, self.lock):
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)
            lock.release()
            with contextlib.suppress(OSError):
                self.root.rmdir()  # only where nothing was written

    def _read_holder(self) -> tuple[int, str] | None:
        """The process that holds the lock, by its own note, and its computer."""
        try:
            holder = read_json(self.holder)
            return int(holder["process"]), str(holder["computer"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _holder_in_words(self) -> str:
        holder = self._read_holder()
        return "" if holder is None else f" (process {holder[0]} on {holder[1][:60]})"

    def _holder_has_ended(self) -> bool:
        """Whether the process that holds the lock was killed: those that it started hold it until they notice."""
        holder = self._read_holder()
        if holder is None or holder[1] != platform.node() or sys.platform == "win32":  # where asking would end it
            return False
        try:
            os.kill(holder[0], 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False

    def card_is_ours(self) -> bool:
        """Whether README.md is a card that a training wrote, or there is none."""
        try:
            with self.card.open(encoding="utf-8", errors="replace") as file:
                return "library_name: focalnets" in file.read(4000)
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def mark_complete(self) -> None:
        """Note in the newest weights that the training came to its end."""
        header, start = _read_header(self.last)
        metadata = {**header.get("__metadata__", {}), _COMPLETE: "true"}
        text = json.dumps({**header, "__metadata__": metadata}, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with self.last.open("rb") as old, replacing(self.last, durable=True) as temporary, temporary.open("wb") as new:
            old.seek(start)
            new.write(len(text).to_bytes(8, "little") + text)
            shutil.copyfileobj(old, new)

    def is_complete(self) -> bool:
        """Whether the training came to its end, as its newest weights say."""
        try:
            metadata = _read_header(self.last)[0].get("__metadata__", {})
        except (OSError, ValueError, AttributeError):
            return False
        if _COMPLETE in metadata:
            return metadata[_COMPLETE] == "true"
        # Weights of before it was noted there: the card was written at the end.
        return metadata.get("focalnets.format_version") == "1" and self.card.exists()

    def write_config(self, config: TrainingConfig) -> None:
        """Write the settings as YAML that ``--config`` takes."""
        write_text(self.config, yaml.safe_dump(config.to_dict(), sort_keys=False))

    def read_config(self) -> TrainingConfig:
        """Read the settings of the run.

        Raises:
            TrainingError: If there is no run here, or they cannot be read.
        """
        try:
            content = yaml.safe_load(self.config.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise TypeError(f"it is {kind_of_value(content)}")
            return TrainingConfig.from_dict(content)
        except (FileNotFoundError, NotADirectoryError):
            raise TrainingError(f"There is no run in '{self.root}' (no config.yaml); name a run's folder.") from None
        except OSError as error:
            raise TrainingError(f"'{self.config}' cannot be read ({error.strerror}).") from error
        except ConfigError as error:
            raise TrainingError(f"'{self.config}' is no training config: {error}") from error
        except (yaml.YAMLError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TrainingError(
                f"'{self.config}' is no training config ({type(error).__name__}); restore it, or train anew."
            ) from error

    def read_environment(self) -> dict[str, Any]:
        """Read what was noted when the run began: machine, versions, command, and ``data``.

        Raises:
            TrainingError: If it cannot be read.
        """
        try:
            content = read_json(self.environment)
            data = content["data"]
            if not isinstance(data["fingerprint"], str | None) or not isinstance(data["classes"], list):
                raise TypeError("data")
            return content
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise TrainingError(
                f"'{self.environment}' cannot be read ({reason}); restore it, or train anew."
            ) from error

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

    def append_sample(self, title: str, text: str) -> None:
        """Add what the network showed after an epoch, below a line with its title."""
        with self.samples.open("a", encoding="utf-8") as file:
            file.write(f"== {title}\n{without_surrogates(text)}\n\n")


def _read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its tensors begin [bytes]."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _MOST_HEADER_BYTES:
            raise ValueError("no header of a safetensors file")
        return parse_json(stream.read(length)), 8 + length
