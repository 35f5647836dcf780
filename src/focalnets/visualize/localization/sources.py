"""Where the maps come from that are compared: a network's own, Grad-CAM, and some that know nothing of the image.

Axes: M maps, H W height and width of what the network sees [px], h w [tokens].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from focalnets.models.focalnet import FocalNet
from focalnets.visualize.evidence import look_inside
from focalnets.visualize.localization.gradcam import grad_cam, likeliest_score
from focalnets.visualize.localization.scores import centre_map
from focalnets.visualize.map_names import DEFAULT_MAP, MAPS, label_of
from focalnets.visualize.maps import modulator_map, to_image_size
from focalnets.visualize.recording import BlockId, block_ids, capture, token_grids
from focalnets.visualize.relevance import draw_relevance

__all__ = [
    "BlindSource",
    "FocalSource",
    "GradCamSource",
    "MapSource",
    "Method",
    "UntrainedSource",
    "View",
    "draw_map",
    "main_key",
    "main_map",
]

Kind = Literal["modulator", "evidence", "gradcam", "peer", "blind"]
"""``modulator`` = the length of one block's modulator and nothing else; ``evidence`` = with gradients of the answer;
``gradcam`` = of the same network; ``peer`` = of another network; ``blind`` = of nothing that was learnt."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """One way to draw a map.

    Attributes:
        key: Short name, for files.
        label: What it is, in words.
        kind: See :data:`Kind`.
        block: Stage and block, if the map is of one block.
    """

    key: str
    label: str
    kind: Kind
    block: BlockId | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """An annotated image as networks are shown it.

    Attributes:
        number: Its place among the images that are measured.
        photo: The photo as it is.
        picture: The whole photo at the size at which the network sees it, W x H.
        inputs: The same prepared for the network, (1, 3, H, W) float32.
        mask: Booleans (H, W), True on the object.
    """

    number: int
    photo: Image.Image
    picture: Image.Image
    inputs: Tensor
    mask: np.ndarray


class MapSource(Protocol):
    """A source that draws one or several maps of an image."""

    @property
    def methods(self) -> Sequence[Method]:
        """What the maps are, in their order."""

    def maps(self, view: View) -> np.ndarray:
        """Draw maps (M, H, W) float32 of one image."""


def main_key(block: BlockId) -> str:
    """Return the key of the method that draws the length of a block's modulator."""
    return f"modulator_{block[0]}.{block[1]}"


def main_map(model: FocalNet, view: View, block: BlockId) -> np.ndarray:
    """Draw the length of a block's modulator (1, H, W) float32, without gradients."""
    with torch.inference_mode(), capture(model, blocks=[block]) as inside:
        model(view.inputs.to(next(model.parameters()).device))
    return modulator_map(inside, block)


def draw_map(model: FocalNet, view: View, key: str, block: BlockId) -> np.ndarray:
    """Draw the map (1, H, W) float32 of one of the methods of :class:`FocalSource`, by its key."""
    if key not in _EVIDENCE:
        stage, number = key.removeprefix("modulator_").split(".")
        return main_map(model, view, (int(stage), int(number)))
    inside, _ = look_inside(model, view.inputs)
    return draw_relevance(model, view.inputs, inside, key, block).heat


class FocalSource:
    """The modulators of every block, and the maps that explain can draw with the evidence for the likeliest class.

    Args:
        model: The network, on the device to use.
        focus: The block of :func:`focalnets.visualize.focus_map`.
    """

    def __init__(self, model: FocalNet, focus: BlockId) -> None:
        self.model, self.focus = model, focus
        self.methods = [
            *(
                Method(
                    key=main_key(block),
                    label=f"Modulator of block {_block_label(block)}",
                    kind="modulator",
                    block=block,
                )
                for block in block_ids(model)
            ),
            *(Method(key=name, label=_described(name, focus), kind="evidence") for name in _EVIDENCE),
        ]

    def maps(self, view: View) -> np.ndarray:
        """See :class:`MapSource`."""
        inside, _ = look_inside(self.model, view.inputs)
        lengths = [modulator_map(inside, block) for block in inside]
        drawn = [draw_relevance(self.model, view.inputs, inside, name, self.focus).heat for name in _EVIDENCE]
        return np.concatenate([*lengths, *drawn])


class GradCamSource:
    """Grad-CAM of the same network for the likeliest class: of its last map, as usual, and of the finer one before.

    The last map is the one that is averaged for the classifier, behind its norm; the finer one is what the last stage
    but one puts out, with as many places as the modulators that are drawn by default.

    Args:
        model: The network, on the device to use; without classifier the length of the features stands for the class.
    """

    def __init__(self, model: FocalNet) -> None:
        self.model = model
        assert model.norm is not None, "Grad-CAM needs a network that answers"
        last = len(model.stages) - 1
        self.layers: list[tuple[int, nn.Module]] = [(last, model.norm)]
        if last > 0:
            self.layers.append((last - 1, model.get_submodule(f"stages.{last - 1}.blocks")[-1]))  # type: ignore[index]
        self.methods = [
            Method(key=f"gradcam_{stage}", label=f"Grad-CAM of stage {stage}", kind="gradcam")
            for stage, _ in self.layers
        ]

    def maps(self, view: View) -> np.ndarray:
        """See :class:`MapSource`."""
        device = next(self.model.parameters()).device
        score: Callable[[Tensor], Tensor] = likeliest_score if self.model.config.num_classes else _length
        grids, heats = token_grids(self.model), []
        for stage, layer in self.layers:
            heat = grad_cam(self.model, layer, view.inputs.to(device), arrangement="channels last", score=score)
            heats.append(to_image_size(heat, grids[stage], *view.mask.shape))
        return torch.cat(heats).numpy()


class UntrainedSource:
    """The same maps of a network of the same architecture that learnt nothing.

    Args:
        model: Whose architecture.
        block: The block whose modulator is drawn.
        seed: Of its weights.
        evidence: Name of a further map, of :data:`focalnets.visualize.map_names.MAPS`.
    """

    def __init__(self, model: FocalNet, block: BlockId, seed: int, evidence: str | None = None) -> None:
        self.block, self.evidence = block, evidence
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = FocalNet(model.config).eval().to(next(model.parameters()).device)
            _draw_zeros(self.model)
        self.methods = [
            Method(
                key="untrained",
                label=f"Modulator of block {_block_label(block)}, weights drawn at random",
                kind="blind",
            )
        ]
        if evidence is not None:
            label = f"{label_of(evidence, block)}, weights drawn at random"
            self.methods.append(Method(key=f"untrained_{evidence}", label=label, kind="blind"))

    def maps(self, view: View) -> np.ndarray:
        """See :class:`MapSource`."""
        length = main_map(self.model, view, self.block)
        if self.evidence is None:
            return length
        return np.concatenate([length, draw_map(self.model, view, self.evidence, self.block)])


class BlindSource:
    """Maps that do not look at the image.

    Three: a Gaussian in the centre; normal noise with one value for each token of a block, stretched like its
    modulator, so that it is as smooth; and a constant map, whose scores are what a point drawn anywhere gets.

    Args:
        model: Whose tokens the noise has.
        block: The block whose tokens.
        seed: Of the noise; each image has its own.
    """

    def __init__(self, model: FocalNet, block: BlockId, seed: int) -> None:
        self.grid, self.seed = token_grids(model)[block[0]], seed
        self.methods = [
            Method(key="centre", label="Always the centre: a Gaussian", kind="blind"),
            Method(key="noise", label=f"Smooth noise, as fine as block {_block_label(block)}", kind="blind"),
            Method(key="anywhere", label="Any point alike", kind="blind"),
        ]

    def maps(self, view: View) -> np.ndarray:
        """See :class:`MapSource`."""
        height, width = view.mask.shape
        size = (-(-height // self.grid.stride_px), -(-width // self.grid.stride_px))
        noise = np.random.default_rng([self.seed, view.number]).standard_normal(size, dtype=np.float32)
        stretched = to_image_size(torch.from_numpy(noise), self.grid, height, width).numpy()
        return np.stack([centre_map(height, width).astype(np.float32), stretched, np.ones_like(stretched)])


_EVIDENCE = tuple(name for name in MAPS if name != "modulator")
"""Maps of explain beside the modulators of all blocks."""


def _described(name: str, block: BlockId) -> str:
    return f"{label_of(name, block)}{', as explain draws' if name == DEFAULT_MAP else ''}"


def _draw_zeros(model: FocalNet) -> None:
    """Draw the matrices that begin with zeros, so that all blocks change the answer and have evidence."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)


def _length(features: Tensor) -> Tensor:
    return torch.linalg.vector_norm(features, dim=1)


def _block_label(block: BlockId) -> str:
    return f"{block[0]}.{block[1]}"
