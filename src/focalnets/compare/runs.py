"""The single trainings of a comparison: settings, network, whether one is there already, and doing it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

from focalnets.compare.backbones import build_compared
from focalnets.compare.foreign import FOCALNETS_ALONE, foreign_network, require_shared_settings
from focalnets.compare.models import ComparedModel
from focalnets.compare.variations import SKELETON, VARIATIONS
from focalnets.data.labelled import TrainingData
from focalnets.errors import ConfigError, FocalNetsError, InterruptedRunError, ShapeError, TrainingError
from focalnets.machine.memory import is_out_of_memory
from focalnets.models.config import Preprocessing
from focalnets.tasks.task import Task
from focalnets.training.config import TrainingConfig
from focalnets.training.network import BuildNetwork, NetworkToTrain, build_network, own_network
from focalnets.training.resolve import resolve_config
from focalnets.training.run_folder import RunFolder
from focalnets.training.trainer import resume, train

__all__ = ["Run", "check_config", "folder_name", "is_complete", "shared_config", "train_run"]

DEFAULT_SIZE_PX = 224


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: which network, the seed counted from 0, its settings, and its folder."""

    model: ComparedModel
    seed: int
    config: TrainingConfig
    folder: Path

    @classmethod
    def of(cls, model: ComparedModel, seed: int, shared: TrainingConfig, output: Path) -> Run:
        """The training of a network with the settings that all share."""
        overrides: Mapping[str, Any] = {"drop_path": shared.model_overrides.get("drop_path", 0.0)}
        name = model.name
        if _is_plain_variation(model):
            name, overrides = SKELETON, {**VARIATIONS[model.name].settings(model.skeleton), **overrides}
        elif model.family == "variation":
            overrides = {**model.skeleton, **overrides}
        elif model.family == "focalnets":
            name, overrides = model.architecture, {**model.changes, **overrides}
        config = shared.replace(
            model=name,
            model_overrides=json.loads(json.dumps(overrides)),  # as they will be read again
            pretrained=model.weights,
            seed=shared.seed + seed,
            image_size=shared.image_size or DEFAULT_SIZE_PX,
        )
        return cls(model, seed, config, output / "runs" / folder_name(model.name) / f"seed{seed}")


def folder_name(model: str) -> str:
    """Write the name of a network so that a folder can have it, also on systems that allow no colon."""
    return re.sub(r"[^\w.=@-]+", "_", model)


def shared_config(given: Mapping[str, Any], place: str | Path) -> TrainingConfig:
    """Put the settings together that all networks share; those of a recipe that suit FocalNets only are left out.

    Args:
        given: Settings that were typed or stand in a file.
        place: What will be trained on, which may say for what task.

    Raises:
        ConfigError: If a setting is unknown or out of range, or would show the networks images of several sizes.
    """
    config = resolve_config(settings={**FOCALNETS_ALONE, "precision": "float32", **given}, data=place)
    if config.build_task().on_pyramid:
        section = given.get(config.task)
        unfit = sorted({"side", "longest_px", "crop_px"} & {*given, *(section if isinstance(section, Mapping) else ())})
        if unfit:
            raise ConfigError(
                f"{', '.join(unfit)} cannot be chosen in a comparison, whose networks all see squares of image_size; "
                "leave it out."
            )
    return config


def check_config(config: TrainingConfig) -> None:
    """Refuse settings that not all networks can share.

    Raises:
        ConfigError: With their names.
    """
    require_shared_settings(config)
    unfit = sorted(set(config.model_overrides) - {"drop_path"})
    if unfit:
        raise ConfigError(
            f"model_overrides.{', model_overrides.'.join(unfit)} would change some of the networks only; "
            "drop_path is the one that all share. Change the variations by --skeleton."
        )
    if config.precision == "auto":
        raise ConfigError("precision auto could choose differently for each network; give float32 or bfloat16.")
    if config.patience is not None:
        raise ConfigError("patience would train some networks longer than others; leave it out.")
    if config.devices != 1 or config.nodes != 1:
        raise ConfigError("each network is trained on one device; leave devices and nodes out.")


def is_complete(run: Run, data: TrainingData) -> bool:
    """Whether the training is there already, to its last epoch.

    Raises:
        ConfigError: If the folder holds a run with other settings or other images.
        TrainingError: If its files cannot be read.
    """
    files = RunFolder(run.folder)
    if not files.config.exists():
        return False
    # How many processes read the images changes nothing.
    if files.read_config().replace(workers=None) != run.config.replace(workers=None):
        raise ConfigError(
            f"The run '{run.folder}' has other settings; name another --output, or train again with --fresh."
        )
    if not files.environment.exists():
        return False  # stopped before it began
    if files.read_environment()["data"]["fingerprint"] != data.fingerprint:
        inputs = run.config.build_task().inputs
        raise ConfigError(
            f"The run '{run.folder}' was trained on other {inputs}; name another --output, or train again with --fresh."
        )
    return files.is_complete()


def train_run(run: Run, data: TrainingData, *, fresh: bool, command: Sequence[str] | None = None) -> str | None:
    """Train, or go on where the run was stopped; returns why the network could not be trained, None if it was.

    Raises:
        InterruptedRunError: If stopped by Ctrl-C, after saving.
        FocalNetsError: Where the other trainings would fail too.
    """
    files, build = RunFolder(run.folder), _builder(run.model)
    try:
        if not fresh and files.config.exists() and files.resume_point.exists():
            resume(run.folder, data=data, build=build)
        else:
            train(run.config, data, output=run.folder, overwrite=True, build=build, command=command)
    except InterruptedRunError:
        raise InterruptedRunError("Stopped; everything so far is saved. The same command goes on.") from None
    except (TrainingError, ShapeError) as error:
        return str(error)
    except FocalNetsError:
        raise
    except Exception as error:  # of a network that refuses the size or breaks down in another way
        words = (str(error).strip().splitlines() or ["no message"])[0][:200]
        return "out of memory" if is_out_of_memory(error) else f"{type(error).__name__}: {words}"
    return None


def _builder(model: ComparedModel) -> BuildNetwork:
    """All get images prepared alike, and are drawn from the same state of the random numbers."""
    if model.family == "language":
        return build_network

    def make(task: Task, config: TrainingConfig, labels: Sequence[str]) -> NetworkToTrain:
        size = config.image_size or DEFAULT_SIZE_PX

        def draw() -> Any:
            seed_everything(config.seed, workers=True, verbose=False)
            drop_path = config.model_overrides["drop_path"]
            return build_compared(model, task, labels, size_px=size, drop_path=drop_path).train()

        if model.family == "focalnets" or _is_plain_variation(model):
            if model.weights is None:
                network = build_network(task, config, labels)
            else:
                network = own_network(task, draw(), name=model.name)
            return dataclasses.replace(network, spec=_prepared_alike(task, network.module, size))
        module = draw()
        origin = "random weights" if model.weights is None else model.weights
        return foreign_network(model.name, module, labels, _prepared_alike(task, module, size), origin=origin)

    return make


def _prepared_alike(task: Task, module: Any, size_px: int) -> Preprocessing:
    """Have a network's images prepared as those of all others, and return how."""
    alike = Preprocessing(input_size_px=size_px)
    if task.on_pyramid:
        alike = dataclasses.replace(module.preprocessing, input_size_px=size_px, mean=alike.mean, std=alike.std)
    module.preprocessing = alike
    return alike


def _is_plain_variation(model: ComparedModel) -> bool:
    """Whether it is a FocalNet of another config, which any other command can open."""
    return model.family == "variation" and VARIATIONS[model.name].mixer is None
