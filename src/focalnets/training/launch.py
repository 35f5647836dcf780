"""The settings of Lightning's trainer: devices, processes, precision, what it keeps quiet about."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from focalnets.errors import ConfigError
from focalnets.machine.arithmetic import bfloat16_pays
from focalnets.machine.devices import choose_device
from focalnets.training.callbacks import DurableCheckpoints
from focalnets.training.config import Precision, TrainingConfig
from focalnets.training.run_folder import RunFolder

__all__ = ["build_trainer", "check_compilation", "check_devices", "is_first_process", "quiet_lightning"]

_PRECISIONS: dict[str, Any] = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


def check_devices(config: TrainingConfig) -> None:
    """Refuse devices that are not here and processes that do not fit the settings.

    Raises:
        ConfigError: With what is there instead.
    """
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device is {config.device} but there is no usable NVIDIA GPU here; use --device auto.")
    index = _gpu_index(config)
    if index is not None and index >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {config.device} but there are {torch.cuda.device_count()} GPUs here, from cuda:0 on."
        )
    if config.device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device is mps but there is no usable Apple GPU here; use --device auto.")
    if config.precision == "float16" and not _uses_cuda(config):
        raise ConfigError("precision float16 needs an NVIDIA GPU; use bfloat16 or float32 here.")
    if config.devices == -1 and not _uses_cuda(config):
        raise ConfigError("devices is -1, all GPUs, but training is on a CPU here; give the number of processes.")
    cores = os.cpu_count() or 1
    if config.devices > max(2, cores) and not _uses_cuda(config):
        raise ConfigError(f"devices is {config.devices} processes but there are {cores} cores here; use fewer.")
    if (config.workers or 0) > max(64, 4 * cores):
        raise ConfigError(f"workers is {config.workers:,} processes but there are {cores} cores here; use fewer.")
    if config.devices > torch.cuda.device_count() and _uses_cuda(config):
        raise ConfigError(f"devices is {config.devices} but there are {torch.cuda.device_count()} GPUs here.")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        launched, wanted = int(os.environ["WORLD_SIZE"]), _count_local_devices(config) * config.nodes
        if launched != wanted:
            raise ConfigError(
                f"torchrun started {launched} processes, but devices x nodes is {wanted}; give --devices the processes "
                "of one node and --nodes the number of nodes."
            )


def check_compilation(config: TrainingConfig) -> None:
    """Refuse to compile where nothing is won: on CPUs most of a step is operators that stay as they are.

    Raises:
        ConfigError: With the reason.
    """
    if config.compile and choose_device(config.device).type == "cpu":
        raise ConfigError(
            "compile makes the steps of a training on a CPU no faster, or slower, and takes minutes before the first; "
            "leave it out, or train on a GPU."
        )


def fastest_precision(config: TrainingConfig) -> Precision:
    """Choose what ``auto`` stands for; float32 where several processes on CPUs would have to choose alike."""
    if not _uses_cuda(config) and config.devices * config.nodes > 1:
        return "float32"
    return "bfloat16" if bfloat16_pays(choose_device(config.device)) else "float32"


def is_first_process(config: TrainingConfig) -> bool:
    """Tell whether this process is the one that writes files and shows what happens."""
    if config.nodes == 1 and _count_local_devices(config) == 1:
        return True  # Schedulers number independent runs too.
    numbers = ("RANK",) if "RANK" in os.environ else ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return not any(int(os.environ.get(number, 0)) for number in numbers)


def build_trainer(config: TrainingConfig, folder: RunFolder, callbacks: list[Callback]) -> Trainer:
    """Build the trainer that ``config`` asks for; it knows its process's rank, but has started no process yet."""
    logger, index = None, _gpu_index(config)
    if importlib.util.find_spec("tensorboard") is not None:
        logger = TensorBoardLogger(folder.root, name=None, version=folder.tensorboard.name)
    return Trainer(
        accelerator="gpu" if config.device.startswith("cuda") else config.device,
        devices=config.devices if index is None else [index],
        num_nodes=config.nodes,
        strategy=_strategy(config),
        precision=_PRECISIONS[config.precision],
        max_epochs=config.epochs,
        accumulate_grad_batches=config.accumulate,
        callbacks=callbacks,
        plugins=[DurableCheckpoints()],
        logger=logger or False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        inference_mode=False,  # Metrics of the validation before training go on in it.
        default_root_dir=folder.root,
    )


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's tips for programmers away from users; its errors pass."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _strategy(config: TrainingConfig) -> Strategy | str:
    processes = _count_local_devices(config) * config.nodes
    if config.strategy == "fsdp":
        # One file holds the whole network, so that any number of devices, also one, can read it.
        return ModelParallelStrategy(
            data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return DDPStrategy() if config.strategy == "ddp" or processes > 1 else "auto"


def _count_local_devices(config: TrainingConfig) -> int:
    return torch.cuda.device_count() if config.devices == -1 else config.devices


def _uses_cuda(config: TrainingConfig) -> bool:
    return config.device.startswith(("auto", "cuda")) and torch.cuda.is_available()


def _gpu_index(config: TrainingConfig) -> int | None:
    """Return number of the one GPU that the device names; None if it names none."""
    kind, _, index = config.device.partition(":")
    return int(index) if kind == "cuda" and index else None
