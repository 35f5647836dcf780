"""Small networks of each task, drawn so that every path matters, and what belongs to them."""

from __future__ import annotations

import torch
from tests.weights.networks import draw

from focalnets.models.config import FocalNetConfig, Preprocessing, WholeImage
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector import Detector
from focalnets.models.heads.detector_config import DetectorConfig
from focalnets.models.heads.mask_query_detector import MaskQueryDetector
from focalnets.models.heads.panoptic import PanopticNetwork
from focalnets.models.heads.query_config import QueryHeadConfig
from focalnets.models.heads.query_detector import QueryDetector
from focalnets.models.heads.semantic import SemanticNetwork
from focalnets.models.input_specs import SeriesInput, TextInput
from focalnets.models.sequence import FocalTextClassifier
from focalnets.models.sequence_config import TextClassifierConfig
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


QUERY_HEADS = ("rtdetr", "dfine", "semantic", "instance", "panoptic")
"""Heads of transformers: the two that name boxes, and Mask2Former by its tasks."""


def queries(name):
    """A network with a head of queries, which needs transformers."""
    torch.manual_seed(3)
    config = FocalNetConfig(
        depths=(1,) * 4, embed_dim=8, focal_levels=(1,) * 4, focal_windows=(3,) * 4, num_classes=0, pyramid_norms=True
    )
    base = FocalNet(config).eval()
    draw(base)
    if name in ("rtdetr", "dfine"):
        head = QueryHeadConfig(kind=name, outputs=3, channels=32, queries=30, layers=2, score_threshold=0.01)
        network = QueryDetector(base, head, CLASSES)
    elif name == "instance":
        head = QueryHeadConfig(
            kind="mask2former", outputs=3, channels=64, queries=8, layers=5, stages=(0, 1, 2, 3), score_threshold=0.01
        )
        network = MaskQueryDetector(base, head, CLASSES)
    elif name == "semantic":
        network = SemanticNetwork(base, CLASSES, kind="mask2former", channels=64, queries=8, layers=5)
    else:
        network = PanopticNetwork(base, CLASSES, stuff=(2,), channels=64, queries=8, layers=5)
    for weight in network.head.parameters():
        if not weight.any():  # What begins at nothing would hide what comes before it.
            torch.nn.init.normal_(weight, std=0.1)
    network.preprocessing = WholeImage(input_size_px=64)
    return build_task("detect" if name in ("rtdetr", "dfine") else name), network.eval()


SEQUENCES = ("text", "series", "attention")
"""Classifiers of texts, of series in overlapping patches, and of texts by attention."""


def sequences(name):
    """A network that names the class of a text or of a series."""
    torch.manual_seed(4)
    fields = {"vocabulary_size": 256}
    if name == "series":
        fields = {"vocabulary_size": 0, "channels": 2, "patch": 4, "patch_window": 10}
    config = TextClassifierConfig(
        **fields, dim=16, depth=2, num_classes=3, mixer="attention" if name == "attention" else "focal"
    )
    network = FocalTextClassifier(config).eval()
    network.class_names = CLASSES
    network.preprocessing = TextInput(context_length=40)
    if name == "series":
        network.preprocessing = SeriesInput(length=40, channels=("x", "y"), mean=(1.0, 2.0), std=(3.0, 0.5))
    return build_task("series" if name == "series" else "text"), network
