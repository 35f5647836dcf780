"""Heads of transformers run on our networks: forward, loss and saving, with the published classes."""

from __future__ import annotations

import warnings

import pytest
import torch

import focalnets
from focalnets.models.config import FocalNetConfig
from focalnets.models.heads.transformers_backbone import (
    backbone_config,
    register_transformers,
    transformers_backbone,
)

transformers = pytest.importorskip("transformers")

BACKBONE = FocalNetConfig(depths=(1, 1, 1, 1), embed_dim=8, pyramid_norms=True, num_classes=0)
IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _quiet():
    level = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()  # It warns of backbones that it does not know.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    transformers.utils.logging.set_verbosity(level)


def test_auto_backbone_gives_the_maps_of_the_network(tmp_path):
    register_transformers()
    torch.manual_seed(0)
    backbone = transformers.AutoBackbone.from_config(backbone_config(BACKBONE, (1, 3)))
    expected = backbone.network.forward_pyramid(IMAGES)
    maps = backbone(IMAGES).feature_maps
    assert torch.equal(maps[0], expected[1])
    assert torch.equal(maps[1], expected[3])
    assert list(backbone.channels) == [16, 64]
    backbone.save_pretrained(tmp_path)
    again = type(backbone).from_pretrained(tmp_path)
    assert all(torch.equal(got, map_) for got, map_ in zip(again(IMAGES).feature_maps, maps, strict=True))


def test_a_network_with_its_weights_becomes_a_backbone():
    network = focalnets.FocalNet(BACKBONE).eval()
    backbone = transformers_backbone(network, (0, 2))
    expected = network.forward_pyramid(IMAGES)
    assert torch.equal(backbone(IMAGES).feature_maps[1], expected[2])
    assert backbone.network is network
    assert not any(parameter.is_meta for parameter in backbone.parameters())


def detector_targets():
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.3]])
    return [{"class_labels": torch.tensor([1]), "boxes": boxes} for _ in range(2)]


@pytest.mark.parametrize("kind", ["RTDetrV2", "DFine"])
def test_detectors_compute_boxes_and_learn(kind):
    small = {
        "num_labels": 3, "encoder_in_channels": [16, 32, 64], "feat_strides": [8, 16, 32], "encoder_hidden_dim": 32,
        "encoder_ffn_dim": 32, "d_model": 32, "decoder_in_channels": [32, 32, 32], "decoder_ffn_dim": 32,
        "decoder_layers": 2, "num_queries": 8, "decoder_attention_heads": 4, "encoder_attention_heads": 4,
        "num_denoising": 4,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(backbone_config=backbone_config(BACKBONE, (1, 2, 3)), **small)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForObjectDetection")(config)
    with torch.no_grad():
        output = model.eval()(IMAGES)
    assert output.logits.shape == (2, 8, 3)
    assert output.pred_boxes.shape == (2, 8, 4)
    loss = model.train()(IMAGES, labels=detector_targets()).loss
    loss.backward()
    own = [each for name, each in model.named_parameters() if ".network.stages.1." in name]
    assert own
    assert all(each.grad is not None and bool(each.grad.isfinite().all()) for each in own)


def test_mask2former_is_the_published_class(tmp_path):
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone_config(BACKBONE), num_labels=3, feature_size=64, mask_feature_size=64, hidden_dim=64,
        encoder_layers=1, encoder_feedforward_dim=32, dim_feedforward=32, decoder_layers=2, num_queries=6,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        output = model(pixel_values=IMAGES)
    assert output.class_queries_logits.shape == (2, 6, 4)
    model.save_pretrained(tmp_path)
    again = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(pixel_values=IMAGES).masks_queries_logits, output.masks_queries_logits)


def test_our_head_gives_what_the_published_model_gives():
    from focalnets.models.heads import mask2former

    torch.manual_seed(0)
    whole = mask2former._published_model(BACKBONE, 64, 3, 6, 2).eval()
    torch.manual_seed(0)
    head = mask2former.Mask2FormerHead(BACKBONE, hidden=64, classes=3, queries=6, layers=2).eval()
    network = focalnets.FocalNet(BACKBONE).eval()
    whole.model.pixel_level_module.encoder = transformers_backbone(network)
    with torch.no_grad():
        expected = whole(pixel_values=IMAGES)
        got = head(network.forward_pyramid(IMAGES))
    assert torch.equal(got["classes"], expected.class_queries_logits)
    assert torch.equal(got["masks"], expected.masks_queries_logits)
