"""Mask R-CNN on FocalNet-T: ``python -m benchmarks.dense_detection [--quick]``.

Axes: B batch, H W height and width [px], h w [tokens], C channels.
"""

from __future__ import annotations

import functools
import math
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.command import Case, Size, Topic, topic_main
from benchmarks.measure import Absent, Contender, Target, Timing, attempt, time_case
from benchmarks.peers import absent, drawn_network, network_config, timm_network
from focalnets.engine.forms import inference_form
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector import Detector
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.tasks.detect.run_lengths import drawn_in_box

__all__ = ["TOLERANCE", "TOPIC"]

TOLERANCE = 1e-4
"""Of the maps of the pyramid, relative."""

_CLASSES = 80
_OBJECTS = 10
_STRIDE = 32


class TimmMaps(nn.Module):
    """timm's FocalNet with the norms of ours: maps (B, C, h, w) of all stages, finest first."""

    def __init__(self, ours: Detector, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.norms = backbone, ours.backbone.pyramid_norms

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the maps of images (B, 3, H, W)."""
        maps = self.backbone.forward_intermediates(images, intermediates_only=True)  # type: ignore[operator]
        assert self.norms is not None
        return [norm(each.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for norm, each in zip(self.norms, maps, strict=True)]


class TorchvisionPyramid(nn.Module):
    """What torchvision's detectors take for a backbone: timm's maps behind torchvision's feature pyramid."""

    def __init__(self, ours: Detector, maps: TimmMaps) -> None:
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork
        from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

        self.maps, self.out_channels = maps, ours.head_config.pyramid_channels
        self.pyramid = FeaturePyramidNetwork(list(ours.channels), self.out_channels, LastLevelMaxPool())
        for theirs, own in ((self.pyramid.inner_blocks, ours.head.pyramid.laterals),
                            (self.pyramid.layer_blocks, ours.head.pyramid.outputs)):  # fmt: skip
            for block, convolution in zip(theirs, own, strict=True):
                block[0].load_state_dict(convolution.state_dict())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Compute the maps of the pyramid by name."""
        return self.pyramid(OrderedDict((str(level), each) for level, each in enumerate(self.maps(images))))


def _ours(size: Size) -> tuple[Detector, FocalNet]:
    """Build our detector, and a classifier with the same backbone for timm to take its weights from."""
    classifier = drawn_network(network_config(size))
    dense = FocalNet(classifier.config.replace(pyramid_norms=True, num_classes=0))
    shared = {name: tensor for name, tensor in classifier.state_dict().items() if name in dense.state_dict()}
    dense.load_state_dict(shared, strict=False)
    small = {"pyramid_channels": 16, "box_channels": 32, "mask_channels": 16} if size == "tiny" else {}
    torch.manual_seed(0)
    config = DetectorConfig(outputs=_CLASSES, masks=True, **small)
    model = Detector(dense, config, [f"class {number}" for number in range(_CLASSES)])
    # Random classes are told apart well enough for the full number of detections, whose masks are drawn.
    nn.init.normal_(model.head.regions.box.classes.weight, std=3 / config.box_channels**0.5)
    return model.eval(), classifier


def _torchvision(ours: Detector, maps: TimmMaps, images: Tensor) -> nn.Module:
    """Build torchvision's Mask R-CNN with the numbers of ours where it has a place for them."""
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

    head, channels = ours.head_config, ours.head_config.pyramid_channels
    height, width = images.shape[-2:]
    model = MaskRCNN(
        TorchvisionPyramid(ours, maps), None, min_size=min(height, width), max_size=max(height, width),
        image_mean=[0.0] * 3, image_std=[1.0] * 3,
        rpn_anchor_generator=AnchorGenerator(head.anchor_sizes, (head.anchor_ratios,) * len(head.anchor_sizes)),
        rpn_pre_nms_top_n_test=1000, rpn_post_nms_top_n_test=1000,
        rpn_pre_nms_top_n_train=2000, rpn_post_nms_top_n_train=1000,
        box_head=TwoMLPHead(channels * 49, head.box_channels),
        box_predictor=FastRCNNPredictor(head.box_channels, _CLASSES + 1),
        mask_head=MaskRCNNHeads(channels, (head.mask_channels,) * head.mask_layers, 1),
        mask_predictor=MaskRCNNPredictor(head.mask_channels, head.mask_channels, _CLASSES + 1),
    )  # fmt: skip
    judge = ours.head.proposals
    model.rpn.head.conv[0][0].load_state_dict(judge.convolution.state_dict())
    model.rpn.head.cls_logits.load_state_dict(judge.objectness.state_dict())
    model.rpn.head.bbox_pred.load_state_dict(judge.differences.state_dict())
    nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=3 / head.box_channels**0.5)
    return model.to(memory_format=torch.channels_last).eval()


def _contenders(images: Tensor, size: Size, call: str) -> list[Contender | Absent]:
    """Ours, ours on timm's backbone, and torchvision's head on timm's backbone."""
    ours, classifier = _ours(size)
    found: list[Contender | Absent] = [_contender("focalnets", ours, ours.maps, ours.head.pyramid, images, call)]
    if call == "detect":
        fast = cast("Detector", inference_form(ours, "float32", pixels=math.inf).network)
        found.append(_contender("focalnets, as predict runs it", fast, fast.maps, fast.head.pyramid, images, call))
    reason = absent("timm", ("timm",), ("full", "quick", "tiny"), size)
    if reason is not None:
        return [*found, reason]

    def with_our_head() -> Contender:
        other, _ = _ours(size)
        maps = TimmMaps(other, timm_network(classifier))
        other.maps = lambda given, _mask=None: maps(given)  # type: ignore[method-assign, assignment]
        return _contender("timm, our head", other, maps, other.head.pyramid, images, call, [maps, other.head])

    def with_torchvisions_head() -> Contender:
        maps = TimmMaps(ours, timm_network(classifier))
        model = _torchvision(ours, maps, images)
        return _contender("timm", model, maps, lambda given: list(model.backbone.pyramid(
            OrderedDict((str(level), each) for level, each in enumerate(given))).values()), images, call)  # fmt: skip

    return [*found, attempt("timm", with_torchvisions_head), attempt("timm, our head", with_our_head)]


def _contender(
    name: str,
    model: nn.Module,
    maps: Callable[[Tensor], list[Tensor]],
    pyramid: Callable[[list[Tensor]], list[Tensor]],
    images: Tensor,
    call: str,
    learning: list[nn.Module] | None = None,
) -> Contender:
    """Make what detects objects, or learns from one batch; compared are the maps that everything follows from."""
    outputs = torch.no_grad()(
        lambda: {f"map {number}": each.clone() for number, each in enumerate(pyramid(maps(images)))}
    )
    if call == "detect":
        detect = _detect if isinstance(model, Detector) else _detect_by_torchvision
        return Contender(name, torch.no_grad()(functools.partial(detect, model, images)), outputs)
    parameters = [weight for part in learning or [model] for weight in part.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, fused=True)
    return Contender(name, functools.partial(_learn, model, images, _targets(images), optimizer), outputs)


def _detect(model: Detector, images: Tensor) -> list[Any]:
    """Find objects, and draw their masks as run lengths."""
    size = (images.shape[3], images.shape[2])
    return [
        drawn_in_box(mask, box, size)
        for found in model(images)["detections"]
        for mask, box in zip(found["masks"], found["boxes"], strict=True)
    ]


def _detect_by_torchvision(model: nn.Module, images: Tensor) -> list[Any]:
    """Find objects, and draw their masks as torchvision does, on whole pictures."""
    return [found["masks"] >= 0.5 for found in model(list(images))]


def _targets(images: Tensor) -> list[dict[str, Tensor]]:
    height, width = images.shape[-2:]
    generator = torch.Generator().manual_seed(2)
    targets = []
    for _ in images:
        corners = torch.rand(_OBJECTS, 2, generator=generator) * torch.tensor([width * 0.7, height * 0.7])
        sides = torch.tensor([width * 0.05, height * 0.05]) + torch.rand(
            _OBJECTS, 2, generator=generator
        ) * torch.tensor([width * 0.25, height * 0.25])
        boxes = torch.cat([corners, corners + sides], 1)
        masks = torch.zeros(_OBJECTS, height, width, dtype=torch.bool)
        for mask, (left, top, right, bottom) in zip(masks, boxes.long().tolist(), strict=True):
            mask[top:bottom, left:right] = True
        labels = torch.randint(0, _CLASSES, (_OBJECTS,), generator=generator)
        targets.append(
            {"boxes": boxes, "labels": labels, "crowd": torch.zeros(_OBJECTS, dtype=torch.bool), "masks": masks}
        )
    return targets


def _learn(
    model: nn.Module, images: Tensor, targets: list[dict[str, Tensor]], optimizer: torch.optim.Optimizer
) -> None:
    """Take a step that leaves the weights as they are."""
    model.train()
    optimizer.zero_grad()
    if isinstance(model, Detector):
        judged = model(images, None, targets)["losses"].values()
        loss = sum(each["sum"].sum() / each["count"].sum().clamp(min=1) for each in judged)
    else:
        loss = sum(model(list(images), [{**target, "masks": target["masks"].byte()} for target in targets]).values())
    loss.backward()  # type: ignore[union-attr]
    optimizer.step()
    model.eval()


def measure(name: str, shape: tuple[int, int], call: str, at_least: float, timing: Timing, size: Size) -> list[Any]:
    """Time one random image (1, 3, H, W), with zeros where the stride of 32 does not divide it, as all pad it."""
    images = torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(1))
    images = F.pad(images, (0, -shape[1] % _STRIDE, 0, -shape[0] % _STRIDE))
    images = images.contiguous(memory_format=torch.channels_last)
    outcome = time_case(
        name,
        _contenders(images, size, call),
        baseline="timm",
        tolerance=TOLERANCE,
        timing=timing,
        targets=[Target("focalnets", "timm", at_least=at_least)] if size == "full" else [],
        details={"batch": 1, "height_px": shape[0], "width_px": shape[1], "dtype": "float32", "classes": _CLASSES},
    )
    return [outcome]


def cases(size: Size) -> list[Case]:
    """List finding objects in one image, and a training step."""
    shapes = {"full": ((800, 1280), (400, 640)), "quick": ((256, 320), (192, 256)), "tiny": ((64, 96), (64, 96))}[size]
    budget_s = {"full": 150.0, "quick": 0.0, "tiny": 0.0}[size]
    timing = Timing(budget_s) if size == "full" else Timing(budget_s, fewest=3, turn_s=0.01)
    listed = []
    for shape, call, words, at_least in zip(
        shapes, ("detect", "learn"), ("inference", "training step"), (1.25, 1.15), strict=True
    ):
        name = f"Mask R-CNN, {words}, {shape[1]} x {shape[0]} px"
        run = functools.partial(measure, name, shape, call, at_least, timing, size)
        listed.append(Case(name, budget_s + 60, run))
    return listed


TOPIC = Topic(
    "dense_detection",
    "Mask R-CNN on FocalNet-T (large receptive field), float32, random weights.",
    "One call finds objects in one image and draws the masks of a hundred, or takes one training step on ten objects. "
    "timm: timm's backbone with our norms under torchvision's Mask R-CNN, whose pyramid and proposals have our "
    "numbers; timm, our head: the same backbone under our own head. Agreement is checked on the maps of the pyramid: "
    "what follows differs, because torchvision rounds anchors, aligns regions otherwise and samples at random.",
    cases,
)

if __name__ == "__main__":
    sys.exit(topic_main(TOPIC))
