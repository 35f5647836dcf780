"""Trains a network from settings and data into a run's folder."""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import WeightAveraging

from focalnets.data.labelled import TrainingData
from focalnets.errors import (
    CheckpointError,
    DataError,
    FocalNetsError,
    ImageError,
    InterruptedRunError,
    TrainingError,
)
from focalnets.files import write_json, write_text
from focalnets.machine.description import describe_environment
from focalnets.machine.devices import device_name
from focalnets.machine.memory import is_out_of_memory
from focalnets.machine.process import end_with_parent
from focalnets.models.focalnet import FocalNet
from focalnets.models.memory import check_memory
from focalnets.models.sequence import FocalTextClassifier
from focalnets.tasks.task import Task
from focalnets.training.callbacks import Guard, Patience, Recorder, Stopped, stop_request_on_signals
from focalnets.training.config import TrainingConfig
from focalnets.training.console import TrainingConsole
from focalnets.training.data import damaged_image_message, training_loader, validation_loader
from focalnets.training.endings import explain_failed_writing, explain_resuming, tells_of_lost_process, unfinished
from focalnets.training.launch import (
    build_trainer,
    check_compilation,
    check_devices,
    fastest_precision,
    is_first_process,
    quiet_lightning,
)
from focalnets.training.model_card import model_card
from focalnets.training.module import TaskModule
from focalnets.training.network import BuildNetwork, NetworkToTrain, build_network
from focalnets.training.optimization import ema_average
from focalnets.training.result import TrainingResult
from focalnets.training.run_folder import RunFolder
from focalnets.training.sampling import Rank

__all__ = ["open_data", "resume", "train"]


def train(
    config: TrainingConfig,
    data: TrainingData,
    *,
    output: str | Path,
    overwrite: bool = False,
    quiet: bool = False,
    command: Sequence[str] | None = None,
    build: BuildNetwork | None = None,
) -> TrainingResult:
    """Train a network and write everything about it to ``output``.

    Args:
        config: The settings.
        data: The images.
        output: The run's folder, made if needed.
        overwrite: Replace a run that is already there.
        quiet: Show nothing; the log is written all the same.
        command: What to note as the command line; None takes that of the process.
        build: Makes the network from the settings and the classes; None takes :func:`build_network`.

    Raises:
        TrainingError: If the output holds a run or cannot be written, or the loss stops being a number.
        ConfigError, UnknownNameError, CheckpointError: If the network cannot be built as asked.
        DataError: If an image turns out to be damaged.
        InterruptedRunError: If stopped by Ctrl-C, after saving.
    """
    folder = RunFolder(output)
    build = build or build_network
    config, chosen = _choose_settings(config, data)
    task = config.build_task().with_data(data)
    check_devices(config)
    check_compilation(config)
    if not is_first_process(config):
        return _fit(task, config, data, build(task, config, data.labels), folder, quiet=quiet, resumes=False)
    folder.check_free(overwrite)
    network = build(task, config, data.labels)
    with folder.locked():
        folder.require_free(overwrite)  # Another training may have begun and ended since.
        folder.prepare(overwrite)
        folder.write_config(config)
        described = {
            "description": data.description,
            "fingerprint": data.fingerprint,
            "classes": list(data.labels),
            "images_to_train": len(data.train),
            "images_to_validate": len(data.val),
            "left_out": [list(entry) for entry in data.left_out],
        }
        environment = describe_environment(config.seed, described, command)
        write_json(folder.environment, environment | {"parameters": network.parameters})
        if data.write_split is not None:
            data.write_split(folder.split)
        return _fit(task, config, data, network, folder, quiet=quiet, resumes=False, chosen=chosen)


def resume(
    run: str | Path,
    *,
    data: TrainingData | None = None,
    root: str | Path | None = None,
    quiet: bool = False,
    build: BuildNetwork | None = None,
) -> TrainingResult:
    """Continue a run that was stopped, with its own settings, images and random numbers.

    Args:
        run: The run's folder.
        data: The images, for runs that were not trained from a folder.
        root: The folder of images, if it has moved.
        quiet: Show nothing.
        build: As the run was begun with, see :func:`train`.

    Raises:
        TrainingError: If there is nothing to continue or the run is complete.
        DataError: If the images are not those of the run.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    if folder.is_complete():
        raise TrainingError(
            f"The run '{folder.root}' is complete ({config.epochs} epochs); to train it further start a new run with "
            f"--pretrained {shlex.quote(str(folder.root))}."
        )
    if not folder.resume_point.exists():
        raise TrainingError(
            f"The run '{folder.root}' was stopped before anything was saved; start it again with --overwrite."
        )
    task = config.build_task()
    check_devices(config)
    if data is None:
        if not folder.split.exists():
            raise TrainingError(
                f"The run '{folder.root}' was not trained from a folder of images; continue it in Python with its data."
            )
        data = task.reopen(folder.split, root=root, skip_unreadable=config.skip_unreadable)
        if data.fingerprint != folder.read_environment()["data"]["fingerprint"]:
            raise DataError(
                f"The {task.inputs} in '{data.description}' have changed since the run '{folder.root}' began; "
                "continuing needs the same ones. Restore them, or start a new run with --pretrained."
            )
    task = task.with_data(data)
    network = (build or build_network)(task, config, data.labels)
    with folder.locked() if is_first_process(config) else contextlib.nullcontext():
        return _fit(task, config, data, network, folder, quiet=quiet, resumes=True)


def open_data(place: str | Path, config: TrainingConfig) -> TrainingData:
    """Find the data of a training as the config's task stores it.

    Raises:
        DataError: If it is not laid out as expected or holds what cannot be read.
    """
    return config.build_task().open(
        place, val_fraction=config.val_fraction, seed=config.seed, skip_unreadable=config.skip_unreadable
    )


def _choose_settings(config: TrainingConfig, data: TrainingData) -> tuple[TrainingConfig, str]:
    """Take what data and machine decide into a config, with a line that says what that is, if anything."""
    for_data = config.build_task().choose_settings(data, image_size=config.image_size)
    for_machine = {"precision": fastest_precision(config)} if config.precision == "auto" else {}
    words = [
        f"chosen for this {what}: {', '.join(f'{name} {value}' for name, value in chosen.items())}"
        for what, chosen in (("data", for_data), ("machine", for_machine))
        if chosen
    ]
    return config.replace(**for_data, **for_machine), "; ".join(words)


def _fit(
    task: Task,
    config: TrainingConfig,
    data: TrainingData,
    network: NetworkToTrain,
    folder: RunFolder,
    *,
    quiet: bool,
    resumes: bool,
    chosen: str = "",
) -> TrainingResult:
    first = is_first_process(config)
    end_with_parent()
    if first:
        folder.remove_unfinished()
    console = TrainingConsole(folder, quiet=quiet, mute=not first)
    recorder = Recorder(folder, console, task)
    early_stopping = [] if config.patience is None else [Patience(config.patience, task.watch)]
    with stop_request_on_signals() as request, quiet_lightning():
        averaging: list[Callback] = []
        if config.ema_decay:
            averaging.append(WeightAveraging(multi_avg_fn=ema_average(config.ema_decay)))
        guard = Guard(folder, request, config.checkpoint_minutes)
        trainer = build_trainer(config, folder, [recorder, *averaging, *early_stopping, guard])
        rank = Rank(trainer.global_rank, trainer.world_size)
        largest = max(config.training_sizes(network.spec.size).values())
        check_memory(network.module, largest, min(config.batch_size, len(data.train)), training=True)
        train_batches = training_loader(task, data, config, network.spec, rank)
        val_batches = validation_loader(task, data, config, network.spec, rank)
        steps_an_epoch = math.ceil(len(train_batches) / config.accumulate)
        module = TaskModule(
            task,
            network,
            config,
            data.labels,
            steps=steps_an_epoch * config.epochs,
            warmup_steps=min(round(config.warmup_epochs * steps_an_epoch), steps_an_epoch * config.epochs - 1),
        )
        network.module.origin = f"trained on {data.description}, from {network.origin}"  # type: ignore[assignment]
        device = trainer.strategy.root_device
        if chosen:
            console.line(chosen)
        counts = {"steps": steps_an_epoch, "processes": rank.processes}
        console.line(_headline(task, config, data, network, **counts, device=device, resumes=resumes))
        try:
            if network.can_answer and not resumes:
                trainer.validate(module, val_batches, verbose=False)
            trainer.fit(
                module, train_batches, val_batches,
                ckpt_path=folder.resume_point if resumes else None, weights_only=True,
            )  # fmt: skip
        except (Stopped, KeyboardInterrupt, SystemExit) as error:
            if not first:
                # The first process tells; Lightning kills it if a helper ends with another status before it does.
                raise SystemExit(0 if isinstance(error, Stopped) else 1) from None
            raise InterruptedRunError(explain_resuming(folder)) from None
        except ImageError as error:
            raise DataError(
                f"{damaged_image_message(error).rstrip('.')}; or leave out all damaged images with --skip_unreadable."
            ) from None
        except (OSError, CheckpointError) as error:
            raise unfinished(folder, explain_failed_writing(error)) from error
        except FocalNetsError:
            raise
        except Exception as error:
            if isinstance(error, RuntimeError) and tells_of_lost_process(error):
                if not first:
                    raise SystemExit(1) from None  # The first process tells, or is the one that was lost.
                reason = "Another process of the training ended or was ended from outside; what it said stands above."
                raise unfinished(folder, reason) from error
            if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
                reason = (
                    "A process that reads images was ended from outside, perhaps for want of memory; try fewer "
                    "--workers."
                )
                raise unfinished(folder, reason) from error
            if "more than 1 value per channel" in str(error):
                raise TrainingError(
                    f"Batch normalisation has a single number for each channel to learn from: a batch of "
                    f"{min(config.batch_size, len(data.train))} image of {largest} px shrinks to one place; use "
                    "--batch_size 2 or more with as many images, a larger --image_size, or a network without batch "
                    "normalisation (--model_overrides.downsampling single --model_overrides.stem patch)."
                ) from error
            if not resumes or guard.has_trained or is_out_of_memory(error):
                raise
            # What is restored is used up to the end of the first step, and may be of any kind in a damaged file.
            raise TrainingError(
                f"'{folder.resume_point}' is damaged or not of this run ({type(error).__name__}); start a new run with "
                f"--pretrained {shlex.quote(str(folder.root))}."
            ) from error
    best = recorder.best
    ended_early = any(callback.exhausted for callback in early_stopping)
    if best is None or (recorder.history[-1]["epoch"] < config.epochs and not ended_early):
        raise TrainingError(f"The training in '{folder.root}' ended before its last epoch; see log.txt there.")
    watched = task.metric_labels[task.watch.metric]
    result = TrainingResult(
        run=folder.root,
        best_weights=folder.best,
        metric=task.watch.metric,
        label=f"{watched.label} {watched.format(best[task.watch.column], 2)}",
        best=best[task.watch.column],
        best_epoch=best["epoch"],
        history=tuple(recorder.history),
    )
    if first:
        try:
            if isinstance(network.module, FocalNet | FocalTextClassifier):
                found = [task.complete(weights, data, device=device) for weights in (folder.last, folder.best)]
                if found[-1] is not None:
                    console.line(found[-1])
            _complete(folder, config, network, task, result)
        except OSError as error:
            reached = f"The training reached {result.label} in epoch {result.best_epoch}."
            raise unfinished(folder, f"{explain_failed_writing(error)} {reached}") from error
    return result


def _complete(
    folder: RunFolder, config: TrainingConfig, network: NetworkToTrain, task: Task, result: TrainingResult
) -> None:
    """Write the card of a training that came to its end, and note that it did."""
    described = folder.read_environment()["data"]
    card = model_card(
        config,
        name=folder.root.resolve().name,
        data=described,
        history=result.history,
        best_epoch=result.best_epoch,
        spec=network.spec,
        parameters=network.parameters,
        task=task,
    )
    if folder.card_is_ours():
        write_text(folder.card, card)
    folder.mark_complete()


def _headline(
    task: Task,
    config: TrainingConfig,
    data: TrainingData,
    network: NetworkToTrain,
    *,
    steps: int,
    device: torch.device,
    processes: int,
    resumes: bool,
) -> str:
    place = device_name(device)
    if device.type == "cpu":
        threads = torch.get_num_threads()
        place += f", {threads} thread{'s'[: threads - 1]}"
    if processes > 1:
        place = f"{processes} processes, each on {place}, {config.images_a_step(processes)} {task.inputs} a step"
    classes = f" on {len(data.labels)} classes" if data.labels else ""
    return (
        f"{'continuing' if resumes else 'training'} {network.name} ({network.parameters / 1e6:.2f} M parameters, "
        f"{network.origin}) {network.spec.size_in_words()}{classes}: {len(data.train):,} {task.inputs} to train, "
        f"{len(data.val):,} held out; {config.epochs} epochs of {steps} steps, {place}"
    )
