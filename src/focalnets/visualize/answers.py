"""Pages on photos for networks that answer for places: the answer drawn in, and the modulator beside it.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import nn

from focalnets.data.images import DEFAULT_MAX_PIXELS
from focalnets.errors import ConfigError, ImageError
from focalnets.models.complexity import complexity
from focalnets.models.config import WholeImage
from focalnets.models.focalnet import FocalNet
from focalnets.report.names import without_folders
from focalnets.tasks.batch import apply
from focalnets.tasks.running import spec_at
from focalnets.tasks.task import Task
from focalnets.visualize.draw import Style, explain_figure
from focalnets.visualize.explain import Explanation
from focalnets.visualize.recording import BlockId, Inside, capture
from focalnets.visualize.relevance import recorded_relevance

__all__ = ["answer_and_look", "backbone_of", "explain_answer"]


def backbone_of(network: nn.Module) -> FocalNet:
    """Find the FocalNet of a network.

    Raises:
        ConfigError: If it has none.
    """
    found = network if isinstance(network, FocalNet) else getattr(network, "backbone", None)
    if not isinstance(found, FocalNet):
        raise ConfigError(
            f"explain looks into FocalNets, and there is none in {type(network).__name__}; of networks of texts "
            "explain_text shows what they listen to."
        )
    return found


def explain_answer(
    task: Task,
    network: nn.Module,
    photo: Image.Image,
    *,
    name: str = "the image",
    focus: BlockId | None = None,
    map_name: str | None = None,
    size_px: int | Literal["native"] | None = None,
    model_name: str = "",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    style: Style = "overlay",
) -> Explanation:
    """Run a network on one whole photo, and draw its answer and what happened inside.

    Args:
        task: What the network is for.
        network: The network, on the device to use and in evaluation mode.
        photo: In mode RGB, upright.
        name: What it is called, e.g. its path.
        focus: Stage and block whose modulator is drawn large; None takes the last block of the last stage but one.
        map_name: Only ``modulator``, which is what None takes: there is no single answer whose evidence could be drawn.
        size_px: Input size of the network [px]; None takes its own, ``"native"`` the photo's.
        model_name: How the page calls the network.
        max_pixels: Largest picture that the network sees [px].
        style: How maps are shown.

    Raises:
        ImageError: If the photo would be larger than ``max_pixels`` after resizing.
        ConfigError: If a number is out of range.
    """
    if map_name not in (None, "modulator"):
        raise ConfigError(
            f"map must be modulator for networks that answer for places, got {map_name!r}: evidence needs one answer."
        )
    if isinstance(size_px, int) and size_px < 1:
        raise ConfigError(f"size_px must be a whole number from 1 up, got {size_px}.")
    spec = spec_at(network, None)
    assert isinstance(spec, WholeImage), "networks that answer for places see whole images"
    usual = spec.size_of(*photo.size)
    if size_px == "native":
        side = max(photo.size) if spec.side == "longer" else min(photo.size)
        spec = dataclasses.replace(spec, input_size_px=side, longest_px=None)
    elif size_px is not None:
        spec = dataclasses.replace(spec, input_size_px=size_px)
    seen = spec.size_of(*photo.size)
    if seen[0] * seen[1] > max_pixels:
        raise ImageError(f"'{name}' would have {seen[0]} x {seen[1]} pixels; use a smaller size.")
    result, inside = answer_and_look(task, network, photo, name=name, spec=spec)
    focus = inside.last_blocks()[-2:][0] if focus is None else focus
    file_name = Path(name).name
    notes = f"{photo.width} × {photo.height} px" + ("" if seen == photo.size else f", seen at {seen[0]} × {seen[1]} px")
    notes += f" by {without_folders(model_name)}" if model_name else ""
    relevance = recorded_relevance(inside, focus)
    figure = explain_figure(
        photo,
        inside,
        focus=focus,
        relevance=relevance,
        title=file_name,
        notes=notes,
        style=style,
        answer=task.draw(photo, result),
    )
    config = backbone_of(network).config
    return Explanation(
        name=name, predictions=(), seen_px=seen, macs=complexity(config, seen[1], seen[0]).macs,
        usual_macs=complexity(config, usual[1], usual[0]).macs, focus=focus, relevance=relevance, inside=inside,
        photo=photo, figure=figure, title=file_name, notes=notes, result=result,
    )  # fmt: skip


def answer_and_look(
    task: Task, network: nn.Module, photo: Image.Image, *, name: str = "the image", spec: WholeImage | None = None
) -> tuple[Any, Inside]:
    """Run a network on one whole photo: its answer, and what happened inside.

    Args:
        task: What the network is for.
        network: The network, on the device to use and in evaluation mode.
        photo: In mode RGB, upright.
        name: What it is called, e.g. its path.
        spec: How the photo is prepared; None takes the network's own way.
    """
    own = spec_at(network, None) if spec is None else spec
    assert isinstance(own, WholeImage), "networks that answer for places see whole images"
    batch = task.collate([task.transform(own, train=False)((photo, 0), 0)])
    with torch.inference_mode(), capture(network) as inside:
        output = task.forward(network, batch.to(next(network.parameters()).device))
    # What was padded is no part of the photo.
    width, height = own.size_of(*photo.size)
    inside.image_size_px = (height, width)
    results = task.results(_on_cpu(output), paths=[Path(name)], sizes=[photo.size], labels=task.labels(network))
    return results[0], inside


def _on_cpu(output: Any) -> Any:
    return apply(output, lambda tensor: tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu())
