"""What the trainer must know of a network, whoever made it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning.pytorch import seed_everything
from torch import nn

from focalnets.errors import ConfigError
from focalnets.models.config import InputSpec
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.loading import load_trained
from focalnets.tasks.task import Task
from focalnets.training.config import TrainingConfig
from focalnets.weights.checkpoint import describe
from focalnets.weights.description import CLASSIFY
from focalnets.weights.loading import load_model, open_trained

__all__ = ["BuildNetwork", "NetworkToTrain", "build_network", "own_network"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class NetworkToTrain:
    """A network, ours or any other, ready to be trained.

    Attributes:
        module: Takes what the task gives it, e.g. images (B, 3, H, W), and answers what the task expects.
        spec: How inputs must be prepared for it.
        origin: Where its weights came from, in words.
        describe: Makes the metadata of its files of weights, from notes such as epoch and score.
        name: For people.
        can_answer: Whether it is measured before the first epoch, whose weights count as those of epoch 0.
    """

    module: nn.Module
    spec: InputSpec
    origin: str
    describe: Callable[[Mapping[str, str]], dict[str, str]]
    name: str
    can_answer: bool = False

    @property
    def parameters(self) -> int:
        """How many numbers it has learnt or will learn."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def set_recompute(self, level: str) -> None:
        """Choose what training computes twice to save memory.

        Raises:
            ConfigError: If the network offers no such choice and the level is not ``none``.
        """
        offered = getattr(self.module, "set_recompute", None)
        if offered is not None:
            offered(level)
        elif level != "none":
            raise ConfigError(f"recompute is for FocalNets; {self.name} is trained with none, got {level!r}.")


BuildNetwork = Callable[[Task, TrainingConfig, Sequence[str]], NetworkToTrain]
"""Makes the network of a training from its task, its settings and what its answers are called, in training mode."""


def build_network(task: Task, config: TrainingConfig, labels: Sequence[str]) -> NetworkToTrain:
    """Build the network that ``config`` asks for, with the task's head and the weights that training starts from."""
    seed_everything(config.seed, workers=True, verbose=False)
    overrides = dict(config.model_overrides)
    can_answer = False
    if config.pretrained is None:
        module: Any = task.create(config.model, overrides, labels)
    else:
        loaded, trained_for = _pretrained_network(task, config.pretrained, overrides)
        can_answer = trained_for == task.name and task.can_answer(loaded, labels)
        if trained_for == task.name != CLASSIFY:
            module = task.adopt(loaded, labels)
        else:
            module = task.build(loaded, labels, pretrained=True)
    if config.image_size is not None:
        module.preprocessing = module.preprocessing.with_size(config.image_size)
    name = config.model if config.pretrained is None else config.pretrained
    return dataclasses.replace(own_network(task, module.train(), name=name), can_answer=can_answer)


def own_network(task: Task, module: Any, *, name: str) -> NetworkToTrain:
    """Tell the trainer of a network that carries ``config``, ``preprocessing``, ``class_names`` and ``origin``."""
    return NetworkToTrain(
        module=module,
        spec=module.preprocessing,
        origin=module.origin,
        describe=lambda notes: describe(module, notes, task=task.name, head=task.head(module)),
        name=name,
    )


def _pretrained_network(task: Task, pretrained: str, overrides: dict[str, Any]) -> tuple[Any, str]:
    """Load what training starts from, and name the task that it was trained for; of another task the backbone alone."""
    unusable = sorted(
        set(overrides) - {"drop_path", "focal_levels", "focal_windows", "normalize_modulator", "post_norm"}
    )
    if unusable:
        raise ConfigError(
            f"model_overrides cannot change {', '.join(unusable)} of pretrained weights; leave it out or start afresh."
        )
    found = open_trained(pretrained).recognition
    if found.task == CLASSIFY:
        options = {**overrides, "pyramid_norms": True} if task.on_pyramid else overrides
        return load_model(pretrained, **options), CLASSIFY
    if overrides:
        raise ConfigError(
            f"model_overrides cannot change a network that was trained for the task {found.task}, as '{pretrained}' "
            "was; leave it out."
        )
    _, module = load_trained(pretrained)
    if found.task == task.name:
        return module, found.task
    backbone = getattr(module, "backbone", None)
    if not isinstance(backbone, FocalNet) or not task.on_pyramid:
        raise ConfigError(
            f"'{pretrained}' was trained for the task {found.task}, whose network cannot start one for the task "
            f"{task.name}; name other weights."
        )
    return backbone, found.task
