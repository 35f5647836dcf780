"""The map that explain draws large, among them the one that several views of an image agree on.

Axes: B batch, H W height and width [px], h w [tokens], L focal levels, V views.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from focalnets.models.focalnet import FocalNet
from focalnets.visualize.evidence import look_inside
from focalnets.visualize.map_names import label_of
from focalnets.visualize.maps import evidence_map, focus_map, has_evidence, level_evidence_map, modulator_map
from focalnets.visualize.recording import BlockId, Inside

__all__ = ["VIEWS", "Relevance", "View", "draw_relevance", "focal_evidence", "recorded_relevance"]


@dataclasses.dataclass(frozen=True)
class View:
    """One way to show an image to a network: larger or smaller, and mirrored."""

    scale: float = 1.0
    mirrored: bool = False


VIEWS = (View(), View(mirrored=True), View(scale=0.75))
"""Over which views the map is averaged. The first is the image as it is, whose answer all views explain."""


@dataclasses.dataclass(frozen=True, eq=False)
class Relevance:
    """A map that is drawn large.

    Attributes:
        name: Its row of :data:`focalnets.visualize.map_names.MAPS`.
        label: What it is, in words.
        heat: (B, H, W) float32, from 0 up; only proportions within one image mean something.
    """

    name: str
    label: str
    heat: np.ndarray


def focal_evidence(model: FocalNet, images: Tensor, inside: Inside, *, views: Sequence[View] = VIEWS) -> np.ndarray:
    """Draw where the answer rests on the local focal levels of the first stage, in several views of the images.

    Of each view the product of the levels' evidence, see :func:`focalnets.visualize.maps.level_evidence_map`, relative
    to its mean; then the mean over views. A view costs a pass with gradients at its size.

    Args:
        model: The network, on the device to use.
        images: (B, channels, H, W), prepared for the model.
        inside: What ``look_inside`` recorded on them, which is the first view; all explain the same classes.
        views: The views; the first must be the image as it is.

    Returns:
        (B, H, W) float32, from 0 up, 1 on average.
    """
    assert views[0] == View(), "what was recorded is the image as it is"
    total = np.zeros(())
    for view in views:
        seen = images
        if view.scale != 1.0:
            size = [max(1, round(view.scale * side)) for side in images.shape[-2:]]
            seen = torch.nn.functional.interpolate(seen, size=size, mode="bicubic", antialias=True)
        if view.mirrored:
            seen = seen.flip(-1)
        recorded = inside if view == View() else look_inside(model, seen, inside.classes)[0]
        heat = torch.from_numpy(level_evidence_map(recorded))
        if view.mirrored:
            heat = heat.flip(-1)
        if view.scale != 1.0:
            sides = list(images.shape[-2:])
            heat = torch.nn.functional.interpolate(heat.unsqueeze(1), size=sides, mode="bilinear", antialias=True)[:, 0]
        total = total + (heat / heat.mean((1, 2), keepdim=True).clamp(min=1e-30)).numpy()
    return (total / len(views)).astype(np.float32)


_DRAWN: dict[str, Callable[[FocalNet, Tensor, Inside, BlockId], np.ndarray]] = {
    "focal-evidence": lambda model, images, inside, block: focal_evidence(model, images, inside),
    "evidence": lambda model, images, inside, block: evidence_map(inside, 0),
    "modulator-evidence": lambda model, images, inside, block: focus_map(inside, block),
    "modulator": lambda model, images, inside, block: modulator_map(inside, block),
}
"""How each row of :data:`focalnets.visualize.map_names.MAPS` is drawn."""


def draw_relevance(model: FocalNet, images: Tensor, inside: Inside, name: str, block: BlockId) -> Relevance:
    """Draw one of :data:`focalnets.visualize.map_names.MAPS`.

    Args:
        model: The network, on the device to use.
        images: (B, channels, H, W), prepared for the model.
        inside: What :func:`focalnets.visualize.look_inside` recorded on them.
        name: Which one.
        block: The block of those that are of one.
    """
    return Relevance(name, label_of(name, block), _DRAWN[name](model, images, inside, block))


def recorded_relevance(inside: Inside, block: BlockId) -> Relevance:
    """Draw what needs no further pass: modulator times evidence, or the modulator alone where there is no evidence."""
    name = "modulator-evidence" if has_evidence(inside) else "modulator"
    return Relevance(name, label_of(name, block), focus_map(inside, block))
