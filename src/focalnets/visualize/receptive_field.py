"""How far a token really sees: the gradient of the centre token of each stage with respect to the pixels.

Axes: B batch, H W height and width [px], h w [tokens], C channels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from focalnets.errors import ConfigError, ShapeError
from focalnets.models.focalnet import FocalNet
from focalnets.report.colours import HEAT_MAP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["effective_receptive_field", "field_width_px", "receptive_field_figure"]


def effective_receptive_field(model: FocalNet, images: Tensor, *, seed: int = 0) -> dict[int, np.ndarray]:
    """Measure how much each pixel moves the token in the middle of each stage's map, as the mean over images.

    A token is C numbers. For each image they are summed with random signs, the same for all stages of equal C: a plain
    sum would vanish behind a LayerNorm. The gradient's absolute values are summed over colours and divided by their
    total. Gradients reach no parameter.

    Args:
        model: The network; it runs in evaluation mode, and is left in the mode that it was in.
        images: (B, channels, H, W), prepared for the model; moved to its device one by one.
        seed: For the signs.

    Returns:
        For each stage (H, W) float32, every pixel's fraction of the field; they sum to 1.

    Raises:
        ShapeError: If there is no image or it has another shape than the network takes.

    Source: W. Luo et al., Understanding the effective receptive field in deep convolutional neural networks, NeurIPS
    2016; random signs instead of a sum are ours.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ShapeError(
            f"images must be (B, {model.config.in_chans}, H, W) with B from 1 up, got {tuple(images.shape)}."
        )
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed)
    fields = {stage: torch.zeros(images.shape[-2:]) for stage in range(len(model.stages))}
    training = model.training
    model.eval()
    try:
        for image in images:
            for stage, gradient in _centre_gradients(model, image.unsqueeze(0).to(device), random).items():
                fields[stage] += gradient / gradient.sum().clamp(min=1e-30)
    finally:
        model.train(training)
    return {stage: (field / len(images)).numpy() for stage, field in fields.items()}


def field_width_px(field: np.ndarray, fraction: float = 0.5) -> int:
    """Measure the smallest square around the field's centre of mass that holds a fraction of it: its side [px].

    ``fraction`` is above 0 and at most 1. The square grows on both sides alike, so the side is odd; beyond a border
    there is nothing.
    """
    if not 0.0 < fraction <= 1.0:
        raise ConfigError(f"fraction must be above 0 and at most 1, got {fraction}.")
    total = max(float(field.sum()), 1e-30)
    rows, columns = (
        np.abs(positions - round(float((field.sum(1 - axis) * positions).sum()) / total))
        for axis, positions in enumerate(map(np.arange, field.shape))
    )
    inside = np.bincount(np.maximum(rows[:, None], columns[None]).ravel(), weights=field.ravel()).cumsum()
    return 1 + 2 * int(np.searchsorted(inside, fraction * inside[-1] * (1 - 1e-6)))


def receptive_field_figure(fields: Mapping[int, np.ndarray], *, title: str = "Effective receptive field") -> Figure:
    """Draw the fields of all stages side by side, on one logarithmic colour scale.

    Args:
        fields: What :func:`effective_receptive_field` measured.
        title: First line.

    Returns:
        A figure with one axes a stage and one for the colour bar.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    height, width = next(iter(fields.values())).shape
    panel = min(3.6, max(2.2, 3.0 * width / height))
    figure = Figure((panel * len(fields) + 0.9, min(6.0, panel * height / width) + 0.8), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    brightest = max(float(field.max()) for field in fields.values())
    darkest = brightest * 1e-5
    scale = LogNorm(darkest, brightest)
    all_axes = figure.subplots(1, len(fields), squeeze=False)[0]
    for axes, (stage, field) in zip(all_axes, fields.items(), strict=True):
        drawn = axes.imshow(np.maximum(field, darkest), norm=scale, cmap=HEAT_MAP)
        half, most = field_width_px(field, 0.5), field_width_px(field, 0.9)
        axes.set_title(f"Stage {stage}\n50 % within {half} px, 90 % within {most} px", fontsize=8.5)
        axes.tick_params(labelsize=7)
        axes.set_xlabel("pixels of the input", fontsize=7.5)
    figure.colorbar(drawn, ax=all_axes, shrink=0.8, pad=0.015).set_label("fraction of a pixel's influence", fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure


def _centre_gradients(model: FocalNet, image: Tensor, random: torch.Generator) -> dict[int, Tensor]:
    """Sum over colours of the gradient's absolute value (H, W), by stage, on the CPU."""
    maps: dict[int, Tensor] = {}

    def keep(stage: int) -> Callable[..., None]:
        def hook(_module: Any, _arguments: Any, output: tuple[Tensor, Any]) -> None:
            maps[stage] = output[0]

        return hook

    with contextlib.ExitStack() as hooks, torch.enable_grad():
        for stage, module in enumerate(model.stages):
            hooks.callback(module.register_forward_hook(keep(stage)).remove)
        image = image.detach().requires_grad_()
        model.forward_pyramid(image)
        gradients = {}
        for stage, tokens in maps.items():
            token = tokens[0, tokens.shape[1] // 2, tokens.shape[2] // 2]
            signs = torch.randint(0, 2, token.shape, generator=random).to(token) * 2 - 1
            (gradient,) = torch.autograd.grad((token * signs).sum(), image, retain_graph=True)
            gradients[stage] = gradient[0].abs().sum(0).float().cpu()
    return gradients
