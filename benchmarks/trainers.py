"""Networks with the same weights, as ours and as everybody else trains them.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.command import Size
from benchmarks.measure import Absent, Contender
from benchmarks.peers import SLOW_TO_BUILD, Peer, logits_of, timm_network, transformers_network
from focalnets.models.focalnet import FocalNet
from focalnets.weights.key_maps import OWN_LAYOUT, from_layout

__all__ = ["TOLERANCES", "TRAINING", "Trainer", "TrainingPeer", "training_contender"]

TOLERANCES: dict[str, float] = {"float32": 1e-3, "bfloat16": 0.7}
"""Of the loss and of the gradient of every weight, relative, by what products are computed in."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingPeer(Peer):
    """A way to train: how the network is built from ours, the layout of its weights, and how it is run."""

    build: Callable[[FocalNet], nn.Module]
    layout: str = OWN_LAYOUT
    compiled: bool = False


def _copy_of(ours: FocalNet, recompute: str = "none") -> FocalNet:
    network = copy.deepcopy(ours)
    network.set_recompute(recompute)  # type: ignore[arg-type]
    return network


def _checkpointed_timm(ours: FocalNet) -> nn.Module:
    network: Any = timm_network(ours)
    network.set_grad_checkpointing(True)
    return network


def _timm(build: Callable[[FocalNet], nn.Module] = timm_network, **fields: Any) -> TrainingPeer:
    return TrainingPeer(build=build, layout="timm", packages=("timm",), **fields)


TRAINING: dict[str, TrainingPeer] = {
    "focalnets": TrainingPeer(build=_copy_of),
    "focalnets, blocks recomputed": TrainingPeer(build=lambda ours: _copy_of(ours, "block"), sizes=SLOW_TO_BUILD),
    "focalnets compiled": TrainingPeer(build=_copy_of, compiled=True, sizes=SLOW_TO_BUILD),
    "focalnets bfloat16": TrainingPeer(build=_copy_of, precision="bfloat16"),
    "timm": _timm(),
    "timm, blocks recomputed": _timm(_checkpointed_timm, sizes=SLOW_TO_BUILD),
    "timm channels_last": _timm(memory_format=torch.channels_last),
    "timm compiled": _timm(compiled=True, sizes=SLOW_TO_BUILD),
    "timm bfloat16": _timm(precision="bfloat16"),
    "transformers": TrainingPeer(build=transformers_network, layout="transformers", packages=("transformers",)),
}
"""Every way to train, in float32 unless the name says otherwise."""


class Trainer:
    """A network in training mode with its optimizer."""

    def __init__(self, name: str, ours: FocalNet) -> None:
        peer = TRAINING[name]
        self.memory_format = peer.memory_format
        self._layout = peer.layout
        self._network = peer.build(ours).to(memory_format=peer.memory_format).train()
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=0.0, weight_decay=0.05, fused=True)
        self._forward = torch.compile(self._network) if peer.compiled else self._network
        self._is_mixed = peer.precision == "bfloat16"

    def drop_gradients(self) -> None:
        """Free the gradients of the last step."""
        self._optimizer.zero_grad(set_to_none=True)

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Drop gradients, forward pass, cross-entropy, backward pass, AdamW; returns the loss.

        The learning rate is 0: the step does all its work, and the weights stay those that all contenders share.
        """
        self.drop_gradients()
        with torch.autocast("cpu", torch.bfloat16, enabled=self._is_mixed):
            loss = F.cross_entropy(logits_of(self._forward(images)), labels)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def gradients(self) -> dict[str, Tensor]:
        """Give the gradients of the last step under our names and in our shapes."""
        gradients = {key: weight.grad for key, weight in self._network.named_parameters() if weight.grad is not None}
        return from_layout(self._layout, gradients)[0]


def training_contender(name: str, ours: FocalNet, images: Tensor, labels: Tensor, size: Size) -> Contender | Absent:
    """Make the contender of that name ready for steps on images (B, 3, H, W) and labels (B,)."""
    peer = TRAINING[name]
    reason = peer.absent(name, size)
    if reason is not None:
        return reason
    trainer = Trainer(name, ours)
    images = images.contiguous(memory_format=trainer.memory_format)

    def outputs() -> dict[str, Tensor]:
        return {"loss": trainer.step(images, labels), **trainer.gradients()}

    return Contender(name, lambda: trainer.step(images, labels), outputs, TOLERANCES[peer.precision])
