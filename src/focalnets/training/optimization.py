"""Optimisers and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from focalnets.models.parameter_groups import parameter_groups
from focalnets.training.config import Schedule, TrainingConfig

__all__ = ["MUON_MOMENTUM", "MuonWithAdamW", "build_optimizer", "ema_average", "orthogonalize", "scheduled_rates"]

MUON_MOMENTUM = 0.95
"""Decay of Muon's mean of gradients."""


def build_optimizer(
    model: nn.Module,
    config: TrainingConfig,
    *,
    is_head: Callable[[str], bool] = lambda name: name.startswith("head."),
    processes: int = 1,
) -> Optimizer:
    """Build the optimiser of ``config`` with the decay on matrices and kernels only.

    Args:
        model: The network.
        config: The settings.
        is_head: Whether a parameter of that name belongs to the head.
        processes: Processes that share a step, for the scale of the rate that ``reference_batch`` asks for.
    """
    groups = parameter_groups(
        model,
        learning_rate=config.learning_rate * config.learning_rate_scale(processes),
        weight_decay=config.weight_decay,
        layer_decay=config.layer_decay,
        is_head=is_head,
    )
    betas = (0.9, config.beta2)
    # A fused optimiser undoes float16's scaling itself, too late for clipping.
    fused = config.precision != "float16"
    if config.optimizer == "adamw":
        return AdamW(groups, betas=betas, fused=fused)
    return MuonWithAdamW(_divide_groups(model, groups), betas=betas, fused=fused)


class MuonWithAdamW(Optimizer):
    """Muon for groups with ``orthogonal=True`` (matrices inside the network), AdamW for the others, as one optimiser.

    Updates of Muon are scaled to the size of AdamW's, so that both follow one learning rate. Matrices of one shape are
    orthogonalised together, in bfloat16 on accelerators and in float32 on CPUs: torch.optim.Muon takes bfloat16
    everywhere, which processors without such instructions imitate at a small fraction of their speed.

    Source: Jordan et al., Muon, with the scale of updates of Liu et al., Muon is scalable for LLM training
    (``adjust_lr_fn="match_rms_adamw"`` of torch.optim.Muon).
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float], fused: bool = True) -> None:
        matrices = [{"momentum": MUON_MOMENTUM, **group} for group in groups if group["orthogonal"]]
        others = [group for group in groups if not group["orthogonal"]]
        self._adamw = AdamW(others, betas=betas, fused=fused)
        super().__init__([*matrices, *self._adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step with both; ``closure`` computes the gradients and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["orthogonal"]:
                self._step_matrices(group)
        # The groups and the state of this object are the only ones: loading replaces them, schedules change them.
        self._adamw.param_groups = [group for group in self.param_groups if not group["orthogonal"]]
        self._adamw.state = self.state
        self._adamw.step()
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        rate, momentum = group["lr"], group["momentum"]
        by_shape: dict[tuple[int, ...], list[torch.Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
        for shape, parameters in by_shape.items():
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            averages = [
                self.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
                for parameter in parameters
            ]
            torch._foreach_lerp_(averages, gradients, 1 - momentum)
            updates = orthogonalize(torch.stack(torch._foreach_lerp(gradients, averages, momentum)))
            torch._foreach_mul_(parameters, 1 - rate * group["weight_decay"])
            torch._foreach_add_(parameters, list(updates.unbind()), alpha=-rate * 0.2 * math.sqrt(max(shape)))


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """Find the nearest matrices (N, A, B) with equal singular values, roughly: between about 0.7 and 1.2.

    Source: the quintic Newton-Schulz iteration of Jordan et al., Muon, with their coefficients and five rounds.
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    result = matrices.float() if matrices.device.type == "cpu" else matrices.bfloat16()
    result = result.mT if is_tall else result
    result = result / result.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = result @ result.mT
        gram = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        result = torch.baddbmm(result, gram, result, beta=3.4445)
    return (result.mT if is_tall else result).to(matrices.dtype)


def scheduled_rates(
    optimizer: Optimizer,
    *,
    steps: int,
    warmup_steps: int,
    final: float,
    start: float | None = None,
    schedule: Schedule = "cosine",
    drops: Sequence[float] = (),
) -> LambdaLR:
    """Scale every group's rate: linearly from ``start`` to 1, then down as the schedule says.

    Args:
        optimizer: Its groups hold their highest rates.
        steps: Optimiser steps of the whole training.
        warmup_steps: Steps below the highest rate.
        final: Factor at the end of a cosine or line.
        start: Factor of the first step; None takes 1 / (warmup_steps + 1).
        schedule: ``cosine`` or ``linear`` down to ``final``, or ``steps``: a tenth from each of ``drops`` on.
        drops: Steps at which the rate falls to a tenth.
    """
    first = 1 / (warmup_steps + 1) if start is None else start

    def factor(step: int) -> float:
        if step < warmup_steps:
            return first + (1 - first) * step / warmup_steps
        if schedule == "steps":
            return 0.1 ** sum(step >= drop for drop in drops)
        progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
        if schedule == "linear":
            return final + (1 - final) * (1 - progress)
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, factor)


def ema_average(decay: float) -> Callable[[list[torch.Tensor], list[torch.Tensor], torch.Tensor | int], None]:
    """Take the newest weights into a moving average: slowly once it has seen many, faster before.

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


def _divide_groups(model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    blocks = ("stages.", "backbone.stages.", "blocks.")
    named = ((name, p) for name, p in model.named_parameters() if p.ndim == 2 and name.endswith(".weight"))
    inside = {id(p) for name, p in named if name.startswith(blocks)}
    divided = []
    for group in groups:
        for orthogonal in (True, False):
            chosen = [parameter for parameter in group["params"] if (id(parameter) in inside) == orthogonal]
            if chosen:
                name = f"{group['name']}.{'muon' if orthogonal else 'adamw'}"
                divided.append({**group, "params": chosen, "name": name, "orthogonal": orthogonal})
    return divided
