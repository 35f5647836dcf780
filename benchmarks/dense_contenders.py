"""Networks for places in an image that train under one loop: ours, and torchvision's from random weights.

Axes: B batch, K classes, N detections, M objects, H W height and width of the input [px].
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.models.heads.network import valid_sizes
from focalnets.tasks.batch import Batch
from focalnets.tasks.dense.task import stacked
from focalnets.tasks.detect.comparing import known_objects
from focalnets.tasks.detect.run_lengths import encode_mask
from focalnets.tasks.semantic.pixels import class_map
from focalnets.tasks.task import Task
from focalnets.training.config import TrainingConfig
from focalnets.training.network import build_network

__all__ = ["CONTENDERS", "Contender", "Learner"]

_IGNORED = 255
_MASK_FROM = 0.5


class Learner(abc.ABC):
    """A network with what a loop must know of it.

    Attributes:
        module: The network.
        config: Settings of its training.
    """

    def __init__(self, module: nn.Module, task: Task, config: TrainingConfig) -> None:
        self.module, self.task, self.config = module, task, config

    def is_head(self, name: str) -> bool:
        """Tell whether a parameter of that name belongs to the head."""
        return not name.startswith("backbone.")

    @abc.abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Compute the loss of a batch, in training mode."""

    @abc.abstractmethod
    def measure(self, module: nn.Module, metrics: Any, batch: Batch) -> None:
        """Take what ``module``, a copy of the network in evaluation mode, says of a batch into the task's metrics."""


class Ours(Learner):
    """A FocalNet with the task's head."""

    def is_head(self, name: str) -> bool:
        """Tell whether a parameter of that name belongs to the head."""
        return self.task.is_head(name)

    def loss(self, batch: Batch) -> Tensor:
        """Add up the task's losses."""
        losses = self.task.losses(self.task.forward(self.module, batch), batch, train=True)
        return torch.stack(list(losses.values())).sum()

    def measure(self, module: nn.Module, metrics: Any, batch: Batch) -> None:
        """Measure as the task does."""
        self.task.measure(metrics, self.task.forward(module, batch), batch)


class TorchvisionDetector(Learner):
    """A Faster or Mask R-CNN of torchvision, which gets the images of a batch one by one and pads them itself."""

    def loss(self, batch: Batch) -> Tensor:
        """Add up torchvision's losses."""
        targets = [self._target(target) for target in batch.targets]
        return torch.stack(list(self.module(_single(batch), targets).values())).sum()

    def measure(self, module: nn.Module, metrics: Any, batch: Batch) -> None:
        """Bring boxes and masks to the photos and measure them as those of ours are."""
        masks = bool(getattr(self.task, "wants_masks", False))
        known = [known_objects(target, masks=masks) for target in batch.targets]
        seen = valid_sizes(batch.inputs, batch.mask).tolist()
        found = []
        for answer, target, (height, width) in zip(module(_single(batch)), batch.targets, seen, strict=True):
            photo_height, photo_width = target["size"].tolist()
            scale = torch.tensor([photo_width / width, photo_height / height] * 2)
            here = {"boxes": answer["boxes"] * scale, "scores": answer["scores"], "labels": answer["labels"] - 1}
            if masks:
                here["masks"] = [
                    encode_mask(_enlarged(mask[None], (photo_height, photo_width))[0, 0].numpy() >= _MASK_FROM)
                    for mask in answer["masks"]
                ]
            found.append(here)
        metrics.update(found, known)

    def _target(self, target: dict[str, Any]) -> dict[str, Tensor]:
        boxes = target["boxes"]
        kept = ~target["crowd"] & ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
        chosen = {"boxes": boxes[kept], "labels": target["labels"][kept] + 1}
        return chosen | ({"masks": target["masks"][kept].to(torch.uint8)} if "masks" in target else {})


class TorchvisionSegmenter(Learner):
    """A network of torchvision that names the class of each pixel of a padded batch; what was padded does not count."""

    def loss(self, batch: Batch) -> Tensor:
        """Average the cross-entropy over the pixels that count."""
        size = (batch.inputs.shape[-2], batch.inputs.shape[-1])
        truth = stacked([target["semantic"] for target in batch.targets], size, _IGNORED)
        total = F.cross_entropy(self.module(batch.inputs)["out"], truth, ignore_index=_IGNORED, reduction="sum")
        return total / (truth != _IGNORED).sum().clamp(min=1)

    def measure(self, module: nn.Module, metrics: Any, batch: Batch) -> None:
        """Enlarge each answer to its photo and count the pixels."""
        logits = module(batch.inputs)["out"]
        for each, size, target in zip(logits, valid_sizes(batch.inputs, batch.mask), batch.targets, strict=True):
            height, width = size.tolist()
            truth = target["whole"]
            metrics.update(class_map(each[:, :height, :width], (truth.shape[0], truth.shape[1])), truth)


def _single(batch: Batch) -> list[Tensor]:
    sizes = valid_sizes(batch.inputs, batch.mask).tolist()
    return [image[:, :height, :width] for image, (height, width) in zip(batch.inputs, sizes, strict=True)]


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


Build = Callable[[Task, TrainingConfig, Sequence[str]], Learner]


@dataclasses.dataclass(frozen=True)
class Contender:
    """One row of the tables.

    Attributes:
        name: As printed.
        is_ours: Whether the task's recipe was made for it.
        build: Draws it, by the seed of the config.
    """

    name: str
    is_ours: bool
    build: Build


def _ours(name: str, **changes: Any) -> Contender:
    def build(task: Task, config: TrainingConfig, labels: Sequence[str]) -> Learner:
        config = config.replace(**changes)
        network = build_network(task, config, labels)
        return Ours(network.module, task, config)

    return Contender(name, True, build)


_AFRESH = {"pretrained": None, "freeze_norms": False, "layer_decay": 1.0}


def _theirs(name: str, learner: type[Learner], draw: Callable[[int], nn.Module]) -> Contender:
    def build(task: Task, config: TrainingConfig, labels: Sequence[str]) -> Learner:
        torch.manual_seed(config.seed)
        np.random.seed(config.seed)
        return learner(draw(len(labels)), task, config.replace(**_AFRESH))

    return Contender(name, False, build)


_AS_GIVEN: dict[str, Any] = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "_skip_resize": True}
"""Images come prepared, as all contenders get them."""


def _mobilenet_320(classes: int) -> nn.Module:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    return fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=classes + 1, **_AS_GIVEN
    )


def _resnet_boxes(depth: int) -> Callable[[int], nn.Module]:
    def draw(classes: int) -> nn.Module:
        from torchvision.models.detection import FasterRCNN

        return FasterRCNN(_resnet(depth), classes + 1, **_AS_GIVEN)

    return draw


def _resnet_masks(depth: int) -> Callable[[int], nn.Module]:
    def draw(classes: int) -> nn.Module:
        from torchvision.models.detection import MaskRCNN

        return MaskRCNN(_resnet(depth), classes + 1, **_AS_GIVEN)

    return draw


def _resnet(depth: int) -> nn.Module:
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    return resnet_fpn_backbone(
        backbone_name=f"resnet{depth}", weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
    )


def _mobilenet_masks(classes: int) -> nn.Module:
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import mobilenet_backbone

    backbone = mobilenet_backbone(
        backbone_name="mobilenet_v3_large", weights=None, fpn=True, norm_layer=nn.BatchNorm2d, trainable_layers=6
    )
    # As torchvision's Faster R-CNN on this backbone has them.
    anchors = AnchorGenerator(((32, 64, 128, 256, 512),) * 3, ((0.5, 1.0, 2.0),) * 3)
    return MaskRCNN(backbone, classes + 1, rpn_anchor_generator=anchors, **_AS_GIVEN)


def _segmenter(name: str) -> Callable[[int], nn.Module]:
    def draw(classes: int) -> nn.Module:
        from torchvision.models import get_model

        return get_model(name, weights=None, weights_backbone=None, num_classes=classes)

    return draw


_OURS = (_ours("focalnets, the recipe"), _ours("focalnets, random weights", **_AFRESH))

CONTENDERS: dict[str, tuple[Contender, ...]] = {
    "detect": (
        *_OURS,
        _theirs("torchvision Faster R-CNN, MobileNetV3-L 320", TorchvisionDetector, _mobilenet_320),
        _theirs("torchvision Faster R-CNN, ResNet-18", TorchvisionDetector, _resnet_boxes(18)),
        _theirs("torchvision Faster R-CNN, ResNet-50", TorchvisionDetector, _resnet_boxes(50)),
    ),
    "instance": (
        *_OURS,
        _theirs("torchvision Mask R-CNN, MobileNetV3-L", TorchvisionDetector, _mobilenet_masks),
        _theirs("torchvision Mask R-CNN, ResNet-18", TorchvisionDetector, _resnet_masks(18)),
        _theirs("torchvision Mask R-CNN, ResNet-50", TorchvisionDetector, _resnet_masks(50)),
    ),
    "semantic": (
        *_OURS,
        _theirs("torchvision LR-ASPP, MobileNetV3-L", TorchvisionSegmenter, _segmenter("lraspp_mobilenet_v3_large")),
        _theirs(
            "torchvision DeepLabV3, MobileNetV3-L", TorchvisionSegmenter, _segmenter("deeplabv3_mobilenet_v3_large")
        ),
        _theirs("torchvision FCN, ResNet-50", TorchvisionSegmenter, _segmenter("fcn_resnet50")),
    ),
}
"""By task, ours first."""
