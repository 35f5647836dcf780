"""Naming the class of each pixel with FocalNet-T: ``python -m benchmarks.dense_semantic [--quick]``.

Axes: B batch, H W height and width [px], h w [tokens], K classes.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.measure import Absent, Contender, Target, Timing, attempt, time_case
from benchmarks.peers import absent, drawn_network, network_config, timm_network
from focalnets.engine.forms import inference_form
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.semantic import SemanticNetwork
from focalnets.tasks.semantic.pixels import class_map

__all__ = ["TOLERANCE", "TOPIC"]

TOLERANCE = 1e-4
"""Of the head's numbers, relative."""

_CLASSES = 19


class TimmSegmenter(nn.Module):
    """timm's FocalNet with the weights, norms and head of ours.

    Args:
        ours: What it is compared with.
        backbone: timm's network with the weights of ours.
    """

    def __init__(self, ours: SemanticNetwork, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.norms, self.head = backbone, ours.backbone.pyramid_norms, ours.head

    def forward(self, images: Tensor) -> Tensor:
        """Compute (B, K, h, w) of images (B, 3, H, W)."""
        maps = self.backbone.forward_intermediates(images, intermediates_only=True)  # type: ignore[operator]
        assert self.norms is not None
        normed = [
            norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for norm, features in zip(self.norms, maps, strict=True)
        ]
        return self.head(normed)


def _ours(size: Size) -> tuple[SemanticNetwork, FocalNet]:
    """Build our segmenter, and a classifier with the same backbone for timm to take its weights from."""
    classifier = drawn_network(network_config(size))
    dense = FocalNet(classifier.config.replace(pyramid_norms=True, num_classes=0))
    shared = {name: tensor for name, tensor in classifier.state_dict().items() if name in dense.state_dict()}
    dense.load_state_dict(shared, strict=False)
    torch.manual_seed(0)
    network = SemanticNetwork(dense, [f"class {number}" for number in range(_CLASSES)])
    return network.eval(), classifier


def _uper_on_swin(images: Tensor, size: Size) -> Contender | Absent:
    """UPerNet on Swin-T as transformers builds it, with the published numbers of channels."""
    name = "UPerNet on Swin-T"
    reason = absent(name, ("transformers",), ("full", "quick", "tiny"), size)
    if reason is not None:
        return reason

    def build() -> Contender:
        from transformers import SwinConfig, UperNetConfig, UperNetForSemanticSegmentation

        tiny = {"embed_dim": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 3, 3]} if size == "tiny" else {}
        backbone = SwinConfig(out_features=["stage1", "stage2", "stage3", "stage4"], **tiny)
        config = UperNetConfig(
            backbone_config=backbone, num_labels=_CLASSES, use_auxiliary_head=False,
            hidden_size=512 if size != "tiny" else 16,
        )  # fmt: skip
        model = UperNetForSemanticSegmentation(config).eval()
        return Contender(name, _call(lambda given: model(given).logits.argmax(1), images), None)

    return attempt(name, build)


def _call(answer: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[], Tensor]:
    return torch.no_grad()(lambda: answer(images))


def _segmenting(name: str, logits: Callable[[Tensor], Tensor], images: Tensor) -> Contender:
    """Make what gives each pixel its class; compared are the numbers that the classes follow from."""

    def answer(given: Tensor) -> Tensor:
        return torch.stack([class_map(each, (given.shape[2], given.shape[3])) for each in logits(given)])

    numbers = _call(lambda given: F.interpolate(logits(given), scale_factor=2.0, mode="bilinear"), images)
    return Contender(name, _call(answer, images), lambda: {"logits": numbers().clone()})


def measure(name: str, side_px: int, timing: Timing, size: Size) -> list[dict[str, Any]]:
    """Time one random image (1, 3, side_px, side_px), from pixels to the class of each."""
    ours, classifier = _ours(size)
    images = torch.randn(1, 3, side_px, side_px, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last)
    fast = inference_form(ours, "float32", pixels=math.inf).network
    contenders: list[Contender | Absent] = [
        _segmenting("focalnets", lambda given: ours(given)["logits"], images),
        _segmenting("focalnets, as predict runs it", lambda given: fast(given)["logits"], images),
    ]
    reason = absent("timm", ("timm",), ("full", "quick", "tiny"), size)
    if reason is None:
        contenders.append(
            attempt("timm", lambda: _segmenting("timm", TimmSegmenter(ours, timm_network(classifier)).eval(), images))
        )
    else:
        contenders.append(reason)
    contenders.append(_uper_on_swin(images, size))
    wanted = [Target("focalnets", "timm", at_least=1.3), Target("focalnets", "UPerNet on Swin-T", at_least=2.5)]
    outcome = time_case(
        name,
        contenders,
        baseline="timm",
        tolerance=TOLERANCE,
        timing=timing,
        targets=wanted if size == "full" else [],
        details={"batch": 1, "side_px": side_px, "dtype": "float32", "classes": _CLASSES},
    )
    return [outcome]


def cases(size: Size) -> list[Case]:
    """List one image of 1024 px."""
    side_px = {"full": 1024, "quick": 320, "tiny": 96}[size]
    budget_s = {"full": 120.0, "quick": 0.0, "tiny": 0.0}[size]
    timing = Timing(budget_s) if size == "full" else Timing(budget_s, fewest=3, turn_s=0.01)
    name = f"semantic segmentation, {side_px} px"
    return [Case(name, budget_s + 30, functools.partial(measure, name, side_px, timing, size))]


TOPIC = Topic(
    "dense_semantic",
    "The class of each pixel with FocalNet-T (large receptive field) and the light head, float32, random weights.",
    "One call gives each pixel of one image that lies ready in memory its class. timm's backbone stands under the same "
    "head with the same weights. UPerNet on Swin-T is that of transformers with the published numbers of channels.",
    cases,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
