"""Grad-CAM of networks of timm with weights at hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from focalnets.compare.peer_maps import open_peer
from focalnets.errors import CheckpointError, ConfigError, UnknownNameError
from focalnets.visualize.localization.sources import View

timm = pytest.importorskip("timm")
pytest.importorskip("captum")


def weights_of(name, path, classes=3, prefix="", metadata=None, **options):
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, num_classes=classes, **options)
    save_file({f"{prefix}{key}": value.clone() for key, value in network.state_dict().items()}, path, metadata)
    return path


def view(height=40, width=60):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    return View(0, picture, picture, torch.zeros(1, 3, height, width), np.zeros((height, width), bool))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto"])
def test_maps_of_several_architectures(name, tmp_path):
    peer = open_peer(name, weights_of(name, tmp_path / "w.safetensors"), torch.device("cpu"))
    (method,) = peer.methods
    assert (method.kind, method.label) == ("peer", f"Grad-CAM of {name}")
    heat = peer.maps(view())
    assert heat.shape == (1, 40, 60)
    assert heat.min() >= 0
    assert heat.max() > 0


def test_weights_of_our_own_trainer(tmp_path):
    file = weights_of(
        "convnext_atto", tmp_path / "best.safetensors", prefix="network.", metadata={"network": "convnext_atto"}
    )
    for given in (file, tmp_path):
        assert open_peer("convnext_atto", given, torch.device("cpu")).preprocessing.input_size_px == 224


def test_mistakes(tmp_path):
    file, cpu = weights_of("convnext_atto", tmp_path / "w.safetensors"), torch.device("cpu")
    with pytest.raises(CheckpointError, match="does not fit convnext_femto"):
        open_peer("convnext_femto", file, cpu)
    with pytest.raises(CheckpointError, match=r"holds no fc\.weight, the classifier of resnet18"):
        open_peer("resnet18", file, cpu)
    with pytest.raises(CheckpointError, match="there are no weights"):
        open_peer("convnext_atto", tmp_path / "gone", cpu)
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(CheckpointError, match="no safetensors file or damaged"):
        open_peer("convnext_atto", tmp_path / "text.safetensors", cpu)
    with pytest.raises(UnknownNameError, match="convnext_atom"):
        open_peer("convnext_atom", file, cpu)
    with pytest.raises(ConfigError, match="give one of ours as MODEL"):
        open_peer("focalnet_pico", file, cpu)
