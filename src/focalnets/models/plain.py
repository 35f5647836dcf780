"""Short cuts past modules that do what their class says and nothing else: no subclass, adapter, patch or hook.

Where anything was put around a layer, it is called as PyTorch calls it.

Axes: C channels in, D channels out.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.models.drop_path import StochasticDepth
from focalnets.ops.eager import has_hooks
from focalnets.ops.linear import linear

__all__ = ["add_branch", "is_as_built", "is_plain_linear", "pads_projection", "project", "project_aligned"]


def is_as_built(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Tell whether calling the module does what ``kind`` says and nothing else, and nobody looks on."""
    return type(module) is kind and "forward" not in module.__dict__ and not has_hooks(module)


def is_plain_linear(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Tell whether calling the layer does nothing but its product."""
    return is_as_built(layer, nn.Linear)


def project(layer: nn.Module, tokens: Tensor) -> Tensor:
    """Apply a linear layer to tokens (..., C) by the fastest way; gives (..., D)."""
    return linear(tokens, layer.weight, layer.bias) if is_plain_linear(layer) else layer(tokens)


def project_aligned(layer: nn.Module, tokens: Tensor) -> Tensor:
    """Apply a linear layer so that a GPU reads its results, and slices of them, by 16 bytes at once.

    On GPUs, 16-bit results of a width that is no multiple of 8 get further channels of zeros: rows of tokens then begin
    at addresses that whole loads can take, and the product itself is of a shape that tensor cores like better.

    Returns:
        (..., D), or (..., D rounded up to a multiple of 8).
    """
    if not pads_projection(tokens, layer):
        return project(layer, tokens)
    assert isinstance(layer, nn.Linear)
    further = -layer.weight.shape[0] % 8
    bias = None if layer.bias is None else F.pad(layer.bias, (0, further))
    return F.linear(tokens, F.pad(layer.weight, (0, 0, 0, further)), bias)


def pads_projection(tokens: Tensor, layer: nn.Module) -> bool:
    """Tell whether :func:`project_aligned` adds channels."""
    if not tokens.is_cuda or not is_plain_linear(layer) or layer.weight.shape[0] % 8 == 0:
        return False
    autocast = torch.is_autocast_enabled("cuda")
    return (torch.get_autocast_dtype("cuda") if autocast else tokens.dtype) in (torch.float16, torch.bfloat16)


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
