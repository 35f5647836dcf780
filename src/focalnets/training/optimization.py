"""Optimisers and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from focalnets.models.focalnet import FocalNet
from focalnets.models.parameter_groups import parameter_groups
from focalnets.training.config import TrainingConfig
from focalnets.training.foreign import ForeignNetwork

__all__ = ["MuonWithAdamW", "build_optimizer", "ema_average", "warmup_cosine"]


def build_optimizer(model: FocalNet | ForeignNetwork, config: TrainingConfig, *, processes: int = 1) -> Optimizer:
    """The optimiser of ``config`` with the decay on matrices and kernels only.

    Args:
        model: The network.
        config: The settings.
        processes: Processes that share a step, for the scale of the rate that ``reference_batch`` asks for.
    """
    groups = parameter_groups(
        model,
        learning_rate=config.learning_rate * config.learning_rate_scale(processes),
        weight_decay=config.weight_decay,
        layer_decay=config.layer_decay,
    )
    betas = (0.9, config.beta2)
    # A fused optimiser undoes float16's scaling itself, too late for clipping.
    fused = config.precision != "float16"
    if config.optimizer == "adamw":
        return AdamW(groups, betas=betas, fused=fused)
    return MuonWithAdamW(_divided(model, groups), betas=betas, fused=fused)


class MuonWithAdamW(Optimizer):
    """Muon for groups with ``orthogonal=True`` (matrices inside the network), AdamW for the others, as one optimiser.

    Updates of Muon are scaled to the size of AdamW's, so that both follow one learning rate.

    Source: torch.optim.Muon with ``adjust_lr_fn="match_rms_adamw"`` (Liu et al., Muon is scalable for LLM training).
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float], fused: bool = True) -> None:
        matrices = [group for group in groups if group["orthogonal"]]
        others = [group for group in groups if not group["orthogonal"]]
        self._muon = Muon(matrices, momentum=0.95, adjust_lr_fn="match_rms_adamw")
        self._adamw = AdamW(others, betas=betas, fused=fused)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step with both; ``closure`` computes the gradients and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # The groups and the state of this object are the only ones: loading replaces them, schedules change them.
        for part, orthogonal in ((self._muon, True), (self._adamw, False)):
            part.param_groups = [group for group in self.param_groups if group["orthogonal"] == orthogonal]
            part.state = self.state
            part.step()
        return loss


def warmup_cosine(
    optimizer: Optimizer, *, steps: int, warmup_steps: int, final: float, start: float | None = None
) -> LambdaLR:
    """Scale every group's rate: linearly from ``start`` to 1, then along a cosine down to ``final``.

    Args:
        optimizer: Its groups hold their highest rates.
        steps: Optimiser steps of the whole training.
        warmup_steps: Steps below the highest rate.
        final: Factor at the end.
        start: Factor of the first step; None takes 1 / (warmup_steps + 1).
    """
    first = 1 / (warmup_steps + 1) if start is None else start

    def factor(step: int) -> float:
        if step < warmup_steps:
            return first + (1 - first) * step / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, factor)


def ema_average(decay: float) -> Callable[[list[torch.Tensor], list[torch.Tensor], torch.Tensor | int], None]:
    """How a moving average takes in the newest weights: slowly once it has seen many, faster before.

    The first averages would otherwise consist of random initial weights for 1 / (1 - decay) steps. Counters and other
    whole numbers are copied. The function has the form of ``multi_avg_fn`` of ``torch.optim.swa_utils``.
    """

    @torch.no_grad()
    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], count: torch.Tensor | int) -> None:
        seen = int(count)
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + seen) / (10 + seen)))
        else:
            torch._foreach_copy_(averaged, current)

    return average


def _divided(model: FocalNet | ForeignNetwork, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    inside = {id(p) for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("stages.")}
    divided = []
    for group in groups:
        for orthogonal in (True, False):
            chosen = [parameter for parameter in group["params"] if (id(parameter) in inside) == orthogonal]
            if chosen:
                name = f"{group['name']}.{'muon' if orthogonal else 'adamw'}"
                divided.append({**group, "params": chosen, "name": name, "orthogonal": orthogonal})
    return divided
