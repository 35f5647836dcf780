"""Which weights decay, and how fast each layer learns."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["layer_depth", "parameter_groups"]


def parameter_groups(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    is_head: Callable[[str], bool] = lambda name: name.startswith("head."),
) -> list[dict[str, Any]]:
    """Sort parameters into groups for an optimiser of ``torch.optim``.

    Matrices and convolution kernels decay; biases, norms and layer scales (one axis) do not. With ``layer_decay`` below
    1 the classifier learns at ``learning_rate`` and every layer below it at the rate of the one above times
    ``layer_decay``.

    Args:
        model: The network; parameters that need no gradient are left out. One whose layers are not named as those of
            a FocalNet with a ``config`` takes ``layer_decay`` 1 only.
        learning_rate: Rate of the topmost layer.
        weight_decay: Decay of the parameters that decay.
        layer_decay: Above 0, at most 1.
        is_head: Whether a parameter of that name belongs to the head, which counts as the topmost layer.

    Returns:
        Dictionaries with ``params``, ``lr``, ``weight_decay`` and ``name``, in the order of depth.

    Source: official recipe (no decay for one-dimensional parameters). There the test for excluded names is true for
    every name, so that nothing decays at all; here the decay is applied.
    """
    depths: tuple[int, ...] = getattr(getattr(model, "config", None), "depths", ())
    top = 1 + max(layer_depth(name, depths) for name, _ in model.named_parameters())
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = top if is_head(name) else layer_depth(name, depths)
        decays = parameter.ndim > 1
        if layer_decay == 1.0:
            depth = top
        label = f"layer{depth}.{'decay' if decays else 'no_decay'}"
        group = groups.setdefault(
            label,
            {
                "name": label,
                "params": [],
                "lr": learning_rate * layer_decay ** (top - depth),
                "weight_decay": weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def layer_depth(name: str, depths: tuple[int, ...]) -> int:
    """Count a parameter's depth from below: 0 for the stem, then one a block; final norms count with the last block.

    The embedding in front of a stage counts with that stage's first block. The network may stand below ``backbone.`` in
    another one, whose own parameters count with the last block.
    """
    name = name.removeprefix("backbone.")
    if name.startswith("stem."):
        return 0
    if match := re.match(r"stages\.(\d+)\.(?:blocks\.(\d+)|downsample)\.", name):
        stage, block = int(match[1]), int(match[2] or 0)
        return 1 + sum(depths[:stage]) + block
    if match := re.match(r"pyramid_norms\.(\d+)\.", name):
        return sum(depths[: int(match[1]) + 1])
    return sum(depths)
