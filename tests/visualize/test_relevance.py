"""Maps that can be drawn large: the mean over views against single views, and how maps are chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from focalnets import create_model
from focalnets.errors import ConfigError
from focalnets.models.config import Preprocessing
from focalnets.visualize import look_inside
from focalnets.visualize.explain import explain_picture
from focalnets.visualize.map_names import DEFAULT_MAP, MAPS, choose_map
from focalnets.visualize.maps import evidence_map, focus_map, level_evidence_map, modulator_map
from focalnets.visualize.relevance import VIEWS, View, draw_relevance, focal_evidence, recorded_relevance


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = create_model("focalnet_pico", num_classes=3, depths=(2, 1, 1, 1), embed_dim=8, initialization="official")
    with torch.no_grad():
        model.head.weight.normal_()
    model.preprocessing = Preprocessing(input_size_px=32, crop_fraction=1.0)
    return model.eval()


def relative(heat):
    return heat / heat.mean((1, 2), keepdims=True)


def test_the_map_is_the_mean_over_views(network):
    images = torch.randn(2, 3, 32, 44, generator=torch.Generator().manual_seed(0))
    inside, _ = look_inside(network, images)
    alone = focal_evidence(network, images, inside, views=[View()])
    np.testing.assert_allclose(alone, relative(level_evidence_map(inside)), rtol=1e-5)
    mirrored, _ = look_inside(network, images.flip(-1), inside.classes)
    both = focal_evidence(network, images, inside, views=[View(), View(mirrored=True)])
    expected = (alone + relative(level_evidence_map(mirrored))[..., ::-1]) / 2
    np.testing.assert_allclose(both, expected, rtol=1e-5)
    every = focal_evidence(network, images, inside)
    assert every.shape == (2, 32, 44)
    assert every.dtype == np.float32
    assert every.min() >= 0
    assert every.mean((1, 2)) == pytest.approx([1, 1], rel=0.05)


def test_mirrored_images_have_mirrored_maps(network):
    images = torch.randn(1, 3, 32, 40, generator=torch.Generator().manual_seed(1))
    views = [View(), View(mirrored=True)]
    first = focal_evidence(network, images, look_inside(network, images)[0], views=views)
    flipped = images.flip(-1)
    classes = look_inside(network, images)[0].classes
    second = focal_evidence(network, flipped, look_inside(network, flipped, classes)[0], views=views)
    np.testing.assert_allclose(first, second[..., ::-1], rtol=1e-3, atol=1e-5)


def test_all_views_explain_the_class_of_the_first(network, monkeypatch):
    asked = []

    def watched(model, images, classes=None):
        asked.append(classes)
        return look_inside(model, images, classes)

    images = torch.randn(1, 3, 32, 32)
    inside, _ = look_inside(network, images, classes=[2])
    monkeypatch.setattr("focalnets.visualize.relevance.look_inside", watched)
    focal_evidence(network, images, inside)
    assert asked == [(2,)] * (len(VIEWS) - 1)


def test_levels_multiply(network):
    inside, _ = look_inside(network, torch.randn(1, 3, 32, 32))
    heat = level_evidence_map(inside)
    for block in (0, 1):
        inside[0, block].level_evidence[..., 0] *= 5  # Each level counts relative to its mean.
    np.testing.assert_allclose(level_evidence_map(inside), heat, rtol=1e-4)
    inside[0, 0].level_evidence[..., -1] = 0  # The global level does not count.
    np.testing.assert_allclose(level_evidence_map(inside), heat, rtol=1e-4)


def test_every_map_is_drawn_and_named(network):
    images = torch.randn(1, 3, 32, 32)
    inside, _ = look_inside(network, images)
    drawn = {name: draw_relevance(network, images, inside, name, (2, 0)) for name in MAPS}
    assert (drawn["evidence"].heat == evidence_map(inside, 0)).all()
    assert (drawn["modulator"].heat == modulator_map(inside, (2, 0))).all()
    assert (drawn["modulator-evidence"].heat == focus_map(inside, (2, 0))).all()
    assert (recorded_relevance(inside, (2, 0)).heat == drawn["modulator-evidence"].heat).all()
    assert drawn["modulator"].label == "Length of the modulator of block 2.0"
    settings = {"depths": (1, 1), "embed_dim": 8, "focal_levels": (0, 0), "focal_windows": (3, 3)}
    bare = create_model("focalnet_pico", num_classes=0, initialization="official", **settings).eval()
    inside, _ = look_inside(bare, images)
    assert focal_evidence(bare, images, inside).max() > 0


def test_a_block_alone_chooses_what_shows_it():
    assert choose_map(None, None) == DEFAULT_MAP
    assert choose_map(None, (1, 0)) == "modulator-evidence"
    assert choose_map("evidence", (1, 0)) == "evidence"
    with pytest.raises(ConfigError, match="map must be one of focal-evidence, evidence"):
        choose_map("heat", None)


def test_explanations_tell_their_map(network):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 52, 3), dtype=np.uint8))
    explained = {name: explain_picture(network, photo, map_name=name) for name in (None, "modulator")}
    assert explained[None].relevance.name == DEFAULT_MAP
    assert explained["modulator"].to_dict()["focus"]["map"] == "modulator"
    assert explain_picture(network, photo, focus=(1, 0)).relevance.label == "Modulator of block 1.0 × evidence"
    with pytest.raises(ConfigError, match="map must be one of"):
        explain_picture(network, photo, map_name="heat")
