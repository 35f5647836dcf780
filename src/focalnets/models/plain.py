"""Short cuts past modules that do what their class says and nothing else: no subclass, adapter, patch or hook.

Where anything was put around a layer, it is called as PyTorch calls it.

Axes: C channels in, D channels out.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn

from focalnets.models.drop_path import StochasticDepth
from focalnets.ops.eager import has_hooks
from focalnets.ops.linear import linear

__all__ = ["add_branch", "is_as_built", "is_plain_linear", "project"]


def is_as_built(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Tell whether calling the module does what ``kind`` says and nothing else, and nobody looks on."""
    return type(module) is kind and "forward" not in module.__dict__ and not has_hooks(module)


def is_plain_linear(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Tell whether calling the layer does nothing but its product."""
    return is_as_built(layer, nn.Linear)


def project(layer: nn.Module, tokens: Tensor) -> Tensor:
    """Apply a linear layer to tokens (..., C) by the fastest way; gives (..., D)."""
    return linear(tokens, layer.weight, layer.bias) if is_plain_linear(layer) else layer(tokens)


def add_branch(tokens: Tensor, branch: Tensor, scale: Tensor | None, drop_path: StochasticDepth) -> Tensor:
    """Compute ``tokens + drop_path(scale * branch)``, in one pass over memory where nothing is dropped.

    Args:
        tokens: (B, *S, C), or any of them (..., C) where nothing is dropped.
        branch: Of the same shape.
        scale: One factor a channel (C,), or None for none.
        drop_path: Drops the branch of whole images while training.

    Returns:
        The sum, in the shape of the tokens.
    """
    drops = (drop_path.training and drop_path.p > 0) or has_hooks(drop_path)
    if scale is None or drops:
        return tokens + drop_path(branch if scale is None else branch * scale)
    return torch.addcmul(tokens, branch, scale)
