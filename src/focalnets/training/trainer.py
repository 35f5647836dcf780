"""Trains a classifier from settings and data into a run's folder."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import WeightAveraging

from focalnets.data.sources import read_split
from focalnets.errors import CheckpointError, ConfigError, DataError, ImageError, InterruptedRunError, TrainingError
from focalnets.files import write_json, write_text
from focalnets.machine.description import describe_environment
from focalnets.machine.process import is_helper
from focalnets.models.focalnet import FocalNet
from focalnets.training.callbacks import Guard, Patience, Recorder, Stopped, stop_request_on_signals
from focalnets.training.config import TrainingConfig
from focalnets.training.console import TrainingConsole
from focalnets.training.data import TrainingData, damaged_image_message, training_loader, validation_loader
from focalnets.training.foreign import ForeignNetwork
from focalnets.training.launch import build_trainer, check_devices, is_first_process, quiet_lightning
from focalnets.training.model_card import model_card
from focalnets.training.module import ClassifierModule
from focalnets.training.optimization import ema_average
from focalnets.training.run_folder import RunFolder
from focalnets.training.shares import Share
from focalnets.weights.loading import create_model, load_model

__all__ = ["BuildModel", "TrainingResult", "build_model", "resume", "train"]

BuildModel = Callable[[TrainingConfig, Sequence[str]], FocalNet | ForeignNetwork]
"""Makes the network of a training from its settings and the names of the classes, in training mode."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training reached.

    Attributes:
        run: The run's folder.
        best_weights: Weights of the epoch with the highest validation accuracy (the lowest loss among equals).
        best_top1: That accuracy, from 0 to 1.
        best_epoch: That epoch, counted from 1.
        history: One row an epoch, the columns of ``metrics.csv``.
    """

    run: Path
    best_weights: Path
    best_top1: float
    best_epoch: int
    history: tuple[dict[str, Any], ...]


def train(
    config: TrainingConfig,
    data: TrainingData,
    *,
    output: str | Path,
    overwrite: bool = False,
    quiet: bool = False,
    command: Sequence[str] | None = None,
    build: BuildModel | None = None,
) -> TrainingResult:
    """Train a network and write everything about it to ``output``.

    Args:
        config: The settings.
        data: The images.
        output: The run's folder, made if needed.
        overwrite: Replace a run that is already there.
        quiet: Show nothing; the log is written all the same.
        command: What to note as the command line; None takes that of the process.
        build: Makes the network from the settings and the classes; None takes :func:`build_model`.

    Raises:
        TrainingError: If the output holds a run or cannot be written, or the loss stops being a number.
        ConfigError, UnknownNameError, CheckpointError: If the network cannot be built as asked.
        DataError: If an image turns out to be damaged.
        InterruptedRunError: If stopped by Ctrl-C, after saving.
    """
    folder = RunFolder(output)
    build = build or build_model
    check_devices(config)
    if not is_first_process(config):
        return _fit(config, data, build(config, data.classes), folder, quiet=quiet, resumes=False)
    folder.check_free(overwrite)
    model = build(config, data.classes)
    folder.prepare(overwrite)
    folder.write_config(config)
    described = {
        "description": data.description,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "images_to_train": len(data.train),  # type: ignore[arg-type]
        "images_to_validate": len(data.val),  # type: ignore[arg-type]
        "left_out": [list(entry) for entry in data.left_out],
    }
    write_json(
        folder.environment, describe_environment(config.seed, described, command) | {"parameters": _parameters(model)}
    )
    if data.folders is not None:
        data.folders.write_split(folder.split)
    return _fit(config, data, model, folder, quiet=quiet, resumes=False)


def resume(
    run: str | Path,
    *,
    data: TrainingData | None = None,
    root: str | Path | None = None,
    quiet: bool = False,
    build: BuildModel | None = None,
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
    if folder.card.exists():
        raise TrainingError(
            f"The run '{folder.root}' is complete ({config.epochs} epochs); to train it further start a new run with "
            f"--pretrained {shlex.quote(str(folder.root))}."
        )
    if not folder.resume_point.exists():
        raise TrainingError(
            f"The run '{folder.root}' was stopped before anything was saved; start it again with --overwrite."
        )
    check_devices(config)
    if data is None:
        if not folder.split.exists():
            raise TrainingError(
                f"The run '{folder.root}' was not trained from a folder of images; continue it in Python with its data."
            )
        data = TrainingData.from_folders(read_split(folder.split, root=root), config)
        known = json.loads(folder.environment.read_text(encoding="utf-8"))["data"]["fingerprint"]
        if data.fingerprint != known:
            raise DataError(
                f"The images in '{data.description}' have changed since the run '{folder.root}' began; continuing "
                "needs the same ones. Restore them, or start a new run with --pretrained."
            )
    model = (build or build_model)(config, data.classes)
    return _fit(config, data, model, folder, quiet=quiet, resumes=True)


def build_model(config: TrainingConfig, classes: Sequence[str]) -> FocalNet:
    """The network that ``config`` asks for, for these classes, with the weights that training starts from."""
    seed_everything(config.seed, workers=True, verbose=False)
    if config.pretrained is None:
        overrides = dict(config.model_overrides)
        if "num_classes" in overrides:
            raise ConfigError("model_overrides cannot hold num_classes; the data decides how many classes there are.")
        model = create_model(config.model, num_classes=len(classes), **overrides)
        model.class_names = tuple(classes)
    else:
        model = _pretrained_model(config, classes)
    if config.image_size is not None:
        model.preprocessing = dataclasses.replace(model.preprocessing, input_size_px=config.image_size)
    return model.train()


def _pretrained_model(config: TrainingConfig, classes: Sequence[str]) -> FocalNet:
    options = dict(config.model_overrides)
    unusable = sorted(set(options) - {"drop_path", "focal_levels", "focal_windows", "normalize_modulator", "post_norm"})
    if unusable:
        raise ConfigError(
            f"model_overrides cannot change {', '.join(unusable)} of pretrained weights; leave it out or start afresh."
        )
    assert config.pretrained is not None
    model = load_model(config.pretrained, **options)
    if model.class_names != tuple(classes):
        model.reset_classifier(len(classes), classes)
    return model


def _fit(
    config: TrainingConfig,
    data: TrainingData,
    model: FocalNet | ForeignNetwork,
    folder: RunFolder,
    *,
    quiet: bool,
    resumes: bool,
) -> TrainingResult:
    first = is_first_process(config)
    if first:
        folder.remove_unfinished()
    console = TrainingConsole(folder, quiet=quiet, mute=not first)
    recorder = Recorder(folder, console)
    early_stopping = [] if config.patience is None else [Patience(config.patience)]
    with stop_request_on_signals() as request, quiet_lightning():
        averaging: list[Callback] = []
        if config.ema_decay:
            averaging.append(WeightAveraging(multi_avg_fn=ema_average(config.ema_decay)))
        trainer = build_trainer(config, folder, [recorder, *averaging, *early_stopping, Guard(folder, request)])
        share = Share(trainer.global_rank, trainer.world_size)
        train_batches = training_loader(data, config, model.preprocessing, share)
        val_batches = validation_loader(data, config, model.preprocessing, share)
        steps_an_epoch = math.ceil(len(train_batches) / config.accumulate)
        module = ClassifierModule(
            model,
            config,
            steps=steps_an_epoch * config.epochs,
            warmup_steps=min(round(config.warmup_epochs * steps_an_epoch), steps_an_epoch * config.epochs - 1),
        )
        origin = model.origin
        model.origin = f"trained on {data.description}, from {origin}"
        device = trainer.strategy.root_device
        console.line(
            _headline(
                config,
                data,
                model,
                steps=steps_an_epoch,
                device=device,
                processes=share.processes,
                origin=origin,
                resumes=resumes,
            )
        )
        try:
            trainer.fit(
                module, train_batches, val_batches,
                ckpt_path=folder.resume_point if resumes else None, weights_only=True,
            )  # fmt: skip
        except (Stopped, KeyboardInterrupt, SystemExit) as error:
            if is_helper():
                # The first process tells; Lightning kills it if a helper ends with another status before it does.
                raise SystemExit(0 if isinstance(error, Stopped) else 1) from None
            raise InterruptedRunError(_how_to_go_on(folder)) from None
        except ImageError as error:
            raise DataError(
                f"{damaged_image_message(error).rstrip('.')}; or leave out all damaged images with --skip_unreadable."
            ) from None
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(
                "A process that reads images was ended from outside, perhaps for want of memory; try fewer --workers. "
                f"{_how_to_go_on(folder, stopped=False)}"
            ) from error
        except (OSError, CheckpointError) as error:
            raise TrainingError(f"{_writing_failed(error)} {_how_to_go_on(folder, stopped=False)}") from error
    best = recorder.best
    ended_early = any(callback.exhausted for callback in early_stopping)
    if best is None or (recorder.history[-1]["epoch"] < config.epochs and not ended_early):
        raise TrainingError(f"The training in '{folder.root}' ended before its last epoch; see log.txt there.")
    result = TrainingResult(
        run=folder.root,
        best_weights=folder.best,
        best_top1=best["val_top1"],
        best_epoch=best["epoch"],
        history=tuple(recorder.history),
    )
    if first:
        described = json.loads(folder.environment.read_text(encoding="utf-8"))["data"]
        card = model_card(
            config,
            name=folder.root.resolve().name,
            data=described,
            history=recorder.history,
            best_epoch=best["epoch"],
            image_size_px=model.preprocessing.input_size_px,
            parameters=_parameters(model),
        )
        write_text(folder.card, card)
    return result


def _headline(
    config: TrainingConfig,
    data: TrainingData,
    model: FocalNet | ForeignNetwork,
    *,
    steps: int,
    device: torch.device,
    processes: int,
    origin: str,
    resumes: bool,
) -> str:
    place = _device_name(device)
    name = config.model if config.pretrained is None else config.pretrained
    if processes > 1:
        place = f"{processes} processes, each on {place}, {config.images_a_step(processes)} images a step"
    parameters = _parameters(model)
    return (
        f"{'continuing' if resumes else 'training'} {name} ({parameters / 1e6:.2f} M parameters, {origin}) at "
        f"{model.preprocessing.input_size_px} px on {len(data.classes)} classes: {len(data.train):,} images to train, "  # type: ignore[arg-type]
        f"{len(data.val):,} held out; {config.epochs} epochs of {steps} steps, {place}"  # type: ignore[arg-type]
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _parameters(model: FocalNet | ForeignNetwork) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _how_to_go_on(folder: RunFolder, *, stopped: bool = True) -> str:
    name = shlex.quote(str(folder.root))
    if folder.resume_point.exists():
        saved = "Stopped; everything so far is saved." if stopped else "What was saved before is whole."
        return f"{saved} Go on with: focalnets train --resume {name}"
    saved = "Stopped before anything was saved" if stopped else "Nothing was saved before"
    return f"{saved}; start again with --overwrite (the folder is {name})."


def _writing_failed(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"The run could not be written ({error.strerror})."
    return str(error)
