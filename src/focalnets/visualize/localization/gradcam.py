"""Grad-CAM by captum, for networks whose maps have their channels in front, at the end, or along a row of tokens.

Axes: B batch, H W height and width [px], h w [tokens], C channels, N tokens of a row.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from focalnets.errors import MissingPackageError

__all__ = ["Arrangement", "grad_cam", "has_grad_cam", "likeliest_score"]

Arrangement = Literal["channels first", "channels last", "row"]
"""How a layer's map is stored: (B, C, h, w), (B, h, w, C), or (B, N, C) with the tokens of a square map at the end."""


def has_grad_cam() -> bool:
    """Tell whether captum is installed."""
    return importlib.util.find_spec("captum") is not None


def likeliest_score(outputs: Tensor) -> Tensor:
    """Return the logit of the likeliest class (B,) of logits (B, K)."""
    return outputs.amax(1)


def grad_cam(
    network: nn.Module,
    layer: nn.Module,
    images: Tensor,
    *,
    arrangement: Arrangement,
    score: Callable[[Tensor], Tensor] = likeliest_score,
) -> Tensor:
    """Draw what a layer says for the class: channels weighed by their mean gradient, without what speaks against it.

    Args:
        network: Takes the images; in evaluation mode.
        layer: A module of the network whose output is one map.
        images: (B, channels, H, W), prepared for the network, on its device.
        arrangement: How the map is stored.
        score: From the network's outputs to one number an image (B,), whose gradient counts.

    Returns:
        (B, h, w) float32 on the CPU, from 0 up. Gradients reach no parameter.

    Raises:
        MissingPackageError: If captum is not installed.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017; computed by captum's ``LayerGradCam``.
    """
    try:
        from captum.attr import LayerGradCam
    except ImportError:
        raise MissingPackageError("Grad-CAM needs captum; pip install 'focalnets[localize]'.") from None
    # captum expects channels in front: the map is laid out so for an empty module that it can watch, and put back.
    watched = nn.Identity()

    def watch(_module: nn.Module, _arguments: object, output: Tensor) -> Tensor:
        return _as_stored(watched(_channels_first(output, arrangement)), output, arrangement)

    handle = layer.register_forward_hook(watch)
    try:
        heat = LayerGradCam(lambda given: score(network(given).float()), watched).attribute(
            images, relu_attributions=True
        )
    finally:
        handle.remove()
    return heat.detach().squeeze(1).float().cpu()


def _channels_first(values: Tensor, arrangement: Arrangement) -> Tensor:
    if arrangement == "channels last":
        return values.permute(0, 3, 1, 2)
    if arrangement == "row":
        side = math.isqrt(values.shape[1])
        return values[:, values.shape[1] - side * side :].transpose(1, 2).unflatten(2, (side, side))
    return values


def _as_stored(values: Tensor, original: Tensor, arrangement: Arrangement) -> Tensor:
    if arrangement == "channels last":
        return values.permute(0, 2, 3, 1)
    if arrangement == "row":
        tokens = values.flatten(2).transpose(1, 2)
        return torch.cat((original[:, : original.shape[1] - tokens.shape[1]], tokens), dim=1)
    return values
