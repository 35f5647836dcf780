"""Small networks of each task, drawn so that every path matters, and what belongs to them."""

from __future__ import annotations

import torch
from tests.weights.networks import draw

from focalnets.models.config import FocalNetConfig, Preprocessing, WholeImage
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector import Detector
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.models.heads.semantic import SemanticNetwork
from focalnets.tasks.table import build_task

_SMALL = {"depths": (1, 1), "embed_dim": 8, "focal_levels": (2, 1), "focal_windows": (3, 3)}

CLASSES = ("blue", "green", "red")


def classifier():
    config = FocalNetConfig(**_SMALL, num_classes=3, stem="overlapped")
    network = FocalNet(config, preprocessing=Preprocessing(input_size_px=24), class_names=CLASSES).eval()
    draw(network)
    return network


def backbone():
    network = FocalNet(FocalNetConfig(**_SMALL, num_classes=0, pyramid_norms=True)).eval()
    draw(network)
    return network


def semantic(kind="mlp"):
    torch.manual_seed(1)
    network = SemanticNetwork(backbone(), CLASSES, kind=kind, channels=8).eval()
    network.preprocessing = WholeImage(input_size_px=48)
    return build_task("semantic"), network


def detector(**fields):
    torch.manual_seed(2)
    config = DetectorConfig(
        **{"outputs": 3, "stages": (0, 1), "pyramid_channels": 8, "anchor_sizes": ((12.0,), (24.0,), (48.0,)),
           "candidates": (40, 40), "proposals": (20, 20), "box_channels": 8, "mask_channels": 8, "mask_layers": 1,
           "score_threshold": 0.01, "normalised": True, **fields}
    )  # fmt: skip
    network = Detector(backbone(), config, CLASSES).eval()
    for layer in (network.head.proposals.objectness, network.head.regions.box.classes):
        torch.nn.init.normal_(layer.weight, std=0.5)
    network.preprocessing = WholeImage(input_size_px=48)
    return build_task("instance" if config.masks else "detect"), network
