"""What happens around the steps of a training: keeping records, saving, stopping in good order."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.plugins.io import TorchCheckpointIO

from focalnets.errors import TrainingError
from focalnets.files import list_of, replacing
from focalnets.machine.process import is_helper
from focalnets.tasks.metric import Watch
from focalnets.tasks.task import Task
from focalnets.training.console import TrainingConsole, short_duration
from focalnets.training.curves import curve_panels, draw_curves
from focalnets.training.module import TaskModule
from focalnets.training.run_folder import RunFolder
from focalnets.weights.checkpoint import write_safetensors

__all__ = ["DurableCheckpoints", "Guard", "Patience", "Recorder", "StopRequest", "Stopped", "stop_request_on_signals"]

_STEPS_BETWEEN_CHECKS_ON_GPU = 20

_EXPLODED = 10.0
"""A mean of the last losses so many times that of guessing, or of the first step, means that a training came apart."""


class Stopped(Exception):  # noqa: N818 - leaves Lightning's loop, never seen by users
    """The training was stopped as asked, after saving."""


class StopRequest:
    """Whether the user asked to stop; the first Ctrl-C asks, the second stops at once."""

    asked = False

    def listen(self) -> None:
        """Take Ctrl-C and the scheduler's SIGTERM for the request, where this is the main thread."""
        if threading.current_thread() is threading.main_thread():
            for number in _stop_signals():
                signal.signal(number, self._ask)

    def _ask(self, _signal: int, _frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def _stop_signals() -> tuple[signal.Signals, ...]:
    return (signal.SIGTERM,) if is_helper() else (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stop_request_on_signals() -> Iterator[StopRequest]:
    """Turn Ctrl-C and the scheduler's SIGTERM into a request while the block runs, in the main thread."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in _stop_signals()}
    request.listen()
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class DurableCheckpoints(TorchCheckpointIO):
    """A writer that puts checkpoints beside their place and renames them once they are whole and on the disk.

    Lightning's own are gathered in the system's folder for temporary files, which may be smaller or another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Replace the file at once, or leave it as it was."""
        with replacing(path, durable=True) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)


class Recorder(Callback):
    """A callback that gathers a row of figures an epoch, writes tables, curves and weights, and shows the progress.

    Stands before the moving average among the callbacks, so that at the end of a validation it sees the weights that
    were validated.

    Attributes:
        history: One row an epoch.
    """

    def __init__(self, folder: RunFolder, console: TrainingConsole, task: Task) -> None:
        self.folder, self.console, self.task = folder, console, task
        self.history: list[dict[str, Any]] = []
        self._row: dict[str, Any] = {}
        self._begun = self._trained = time.monotonic()
        self._first_batch = 0
        self._images = 0
        self._size_px = 0

    @property
    def best(self) -> dict[str, Any] | None:
        """The row that the task's watched metric ranks highest, see :class:`focalnets.tasks.task.Watch`."""
        return max(self.history, key=self.task.watch.rank, default=None)

    def state_dict(self) -> dict[str, Any]:
        """Return the history, for continuing."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after a saved history.

        Raises:
            TypeError, KeyError: If it is none.
        """
        history = list_of(dict, state_dict["history"])
        for row in history:
            self.task.watch.rank({key: float(row[key]) for key in ("epoch", "val_loss", self.task.watch.column)})
        self.history = list(history)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the epoch's clock at its first batch here, which is not number 0 after a stop in mid-epoch."""
        if not self._images:
            self._begun, self._first_batch = time.monotonic(), batch_idx
            description = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.console.begin(description, int(trainer.num_training_batches), batch_idx)
        self._images += len(batch) * trainer.world_size
        self._size_px = batch.inputs.shape[-1]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show how far the epoch is, every now and then."""
        if not self.console.due():
            return
        seconds = time.monotonic() - self._begun
        done = batch_idx + 1 - self._first_batch
        batches = int(trainer.num_training_batches)
        # Validations and saving are left out of the estimate, which the first epochs correct.
        left = seconds / done * (batches * ((trainer.max_epochs or 1) - trainer.current_epoch) - batch_idx - 1)
        left += sum(row["validation_seconds"] for row in self.history[-1:]) * (
            (trainer.max_epochs or 1) - trainer.current_epoch
        )
        details = f"loss {_loss(trainer, outputs):.3f}, {self._images / max(seconds, 1e-9):.0f} {self.task.inputs}/s"
        self.console.advance(batch_idx + 1, details, left)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the training clock."""
        self._trained = time.monotonic()
        self.console.begin("validating", int(sum(trainer.num_val_batches)))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Move the bar."""
        self.console.advance(batch_idx + 1)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the figures and write the weights that were validated."""
        module = pl_module
        assert isinstance(module, TaskModule)
        now = time.monotonic()
        training = trainer.state.fn == "fit"
        training_seconds = self._trained - self._begun if training else 0.0
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch + 1 if training else 0,
            "step": trainer.global_step,
            "train_loss": float(module.train_loss.compute()) if training else None,
            "val_loss": float(module.val_loss.compute()),
            **{f"val_{name}": float(value) for name, value in module.metrics.compute().items()},
            "learning_rate": max(group["lr"] for group in trainer.optimizers[0].param_groups) if training else 0.0,
            "seconds": training_seconds + now - self._trained,
            "validation_seconds": now - self._trained,
            "images_per_s": self._images / max(training_seconds, 1e-9),
            "image_size": self._size_px or module.network.spec.size,
        }
        for metric in (module.train_loss, module.val_loss, module.metrics):
            metric.reset()
        self._images = 0
        watch, columns = self.task.watch, [f"val_{name}" for name in self.task.metric_labels]
        improved = self.best is None or watch.rank(row) > watch.rank(self.best)
        self.history.append(row)
        notes = {key: f"{row[key]:.6g}" for key in ("epoch", "step", *columns, "val_loss")}
        # For early stopping; the same on all processes, since computing has added up their parts.
        if training:
            module.log(watch.column, row[watch.column], logger=False)
        for logger in trainer.loggers:
            numbers = {key: value for key, value in row.items() if key != "epoch" and value is not None}
            logger.log_metrics(numbers, step=row["epoch"])
        # Every process takes part: the network may be divided among them.
        sample = self.task.sample(module.model) if training else None
        tensors = {
            name.removeprefix("model."): tensor
            for name, tensor in trainer.strategy.lightning_module_state_dict().items()
            if name.startswith("model.")
        }
        if not trainer.is_global_zero:
            return
        write_safetensors(tensors, self.folder.last, module.network.describe(notes))
        if improved:
            write_safetensors(tensors, self.folder.best, module.network.describe(notes))
        self.folder.write_metrics(self.history)
        draw_curves(self.history, self.folder.curves, curve_panels(self.task.metric_labels))
        self.console.end()
        figures = ", ".join(
            f"{metric.label} {metric.format(row[f'val_{name}'])}" for name, metric in self.task.metric_labels.items()
        )
        if not training:
            self.console.line(f"before the first epoch: {figures}, loss {row['val_loss']:.3f} val")
            return
        self.console.line(
            f"epoch {row['epoch']}/{trainer.max_epochs}: {figures}, "
            f"loss {row['train_loss']:.3f} train, {row['val_loss']:.3f} val; "
            f"{row['images_per_s']:.0f} {self.task.inputs}/s, "
            f"{short_duration(row['seconds'])}{' (best so far)' if improved else ''}"
        )

        if sample is not None:
            self.console.text(sample)
            self.folder.append_sample(f"epoch {row['epoch']}", sample)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self.console.end()


class Patience(EarlyStopping):
    """A callback that ends the training after ``patience`` epochs without a better value of the watched metric.

    Counts at the end of the validation, so that what :class:`Guard` saves after it holds the epoch just finished.
    """

    def __init__(self, patience: int, watch: Watch) -> None:
        super().__init__(watch.column, mode=watch.mode, patience=patience, check_on_train_epoch_end=False)

    @property
    def exhausted(self) -> bool:
        """Whether the epochs without improvement are used up."""
        return self.wait_count >= self.patience

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train no further where the restored count is used up: the stop came before the run was complete."""
        trainer.should_stop = trainer.should_stop or self.exhausted


class Guard(Callback):
    """A callback that watches the loss, saves what continuing needs, and stops where asked.

    Stands last among the callbacks, so that it saves a moving average that has seen the step. What one process meets
    all decide on together: a process that stopped alone would leave the others waiting for it.

    Attributes:
        has_trained: Whether a batch was learnt here.
    """

    def __init__(self, folder: RunFolder, request: StopRequest, checkpoint_minutes: float) -> None:
        self.has_trained = False
        self.folder, self.request, self.checkpoint_minutes = folder, request, checkpoint_minutes
        self._saved_at = time.monotonic()
        self._recent_loss: float | None = None
        self._first_loss: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen again, in place of Lightning, which has just begun to.

        Its answer to SIGTERM is a message to the other processes, sent while these are in the middle of something else:
        all would wait for each other without end.
        """
        self.request.listen()
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Refuse to go on with a loss that is no number or explodes; save every few minutes, and stop if asked."""
        self.has_trained = True
        # Reading the loss waits for a GPU, and asking each other for all processes, so there it is done seldom.
        alone = trainer.world_size == 1
        due = pl_module.device.type == "cpu" or trainer.global_step % _STEPS_BETWEEN_CHECKS_ON_GPU == 0
        if due:
            self._check_loss(trainer, pl_module, _loss(trainer, outputs))
        # Gradients that no step has used yet would be lost. After the last batch come the validation and the end of the
        # epoch, which saves and stops too.
        between_steps = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        last = batch_idx + 1 >= trainer.num_training_batches
        if not (due or alone) or not between_steps or last:
            return
        if _any_process(trainer, self.request.asked):
            self._save(trainer)
            raise Stopped
        since = time.monotonic() - self._saved_at
        if self.checkpoint_minutes and _any_process(trainer, since >= 60 * self.checkpoint_minutes):
            self._save(trainer)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what the seldom reading may have missed."""
        assert isinstance(pl_module, TaskModule)
        if trainer.state.fn == "fit":
            self._check_loss(trainer, pl_module, float(pl_module.train_loss.compute()))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; stop if asked and epochs are left."""
        self._save(trainer)
        left = trainer.current_epoch + 1 < (trainer.max_epochs or 0) and not trainer.should_stop
        if left and _any_process(trainer, self.request.asked):
            raise Stopped

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.folder.resume_point)
        self._saved_at = time.monotonic()

    def _check_loss(self, trainer: Trainer, module: LightningModule, loss: float) -> None:
        assert isinstance(module, TaskModule)
        before = loss if self._recent_loss is None else self._recent_loss
        self._recent_loss = 0.8 * before + 0.2 * loss
        guessing = module.task.guessing_loss(module.labels)
        if self._first_loss is None:
            self._first_loss = loss
        usual = self._first_loss if guessing is None else guessing
        if not _any_process(trainer, not self._recent_loss <= max(20.0, _EXPLODED * usual)):
            return
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        last = self.folder.last
        kept = f" The weights of the last complete epoch are in '{last}'." if last.exists() else ""
        known = f"it began at {usual:.2g}" if guessing is None else f"guessing gives {guessing:.2g}"
        became = f"exploded to {loss:.3g} ({known})" if math.isfinite(loss) else f"became {loss}"
        raise TrainingError(
            f"The loss {became} at step {trainer.global_step} (epoch {trainer.current_epoch + 1}, learning rate "
            f"{rate:.2g}); lower --learning_rate, lengthen --warmup_epochs or use --precision float32.{kept}"
        )


def _loss(trainer: Trainer, outputs: Any) -> float:
    """Return the loss of a batch; Lightning passes it on divided by the batches whose gradients add up to a step."""
    return float(outputs["loss"]) * trainer.accumulate_grad_batches


def _any_process(trainer: Trainer, here: bool) -> bool:
    """Tell whether it is so in any of the processes; all of them must ask."""
    return here if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(here, all=False)
