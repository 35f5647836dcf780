"""Measuring maps against masks on tiny data: what is measured, Grad-CAM against its formula, peers, and files."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.annotated_files import mask_folders, mask_image, photo
from tests.report.reading import without_pictures

from focalnets import create_model
from focalnets.data.annotated.images import AnnotatedImage, AnnotatedImages
from focalnets.data.annotated.objects import AnnotatedObject, Category
from focalnets.data.annotated.open import open_annotated_images
from focalnets.errors import CheckpointError, ConfigError, DataError, ImageError, MissingPackageError
from focalnets.models.config import Preprocessing
from focalnets.visualize import measure_localization
from focalnets.visualize.localization.figures import best_and_worst
from focalnets.visualize.localization.gradcam import grad_cam
from focalnets.visualize.localization.measure import make_view, map_sources
from focalnets.visualize.localization.report import write_localization
from focalnets.visualize.localization.sources import Method


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = create_model("focalnet_pico", num_classes=3, depths=(1, 2, 1, 1), embed_dim=8)
    model.preprocessing = Preprocessing(input_size_px=32, crop_fraction=1.0)
    return model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return mask_folders(tmp_path_factory.mktemp("masks") / "data", 5)


class MaskSource:
    """Draws the mask itself, its opposite, and a constant."""

    def __init__(self):
        self.methods = [Method(key=key, label=key, kind="blind") for key in ("modulator_2.0", "opposite", "constant")]

    def maps(self, view):
        mask = view.mask.astype(np.float32)
        return np.stack([mask, -mask, np.ones_like(mask)])


class MapsOf:
    """Draws one of the maps that a network is measured with."""

    def __init__(self, network, key):
        self.network, self.key = network, key

    def of(self, annotated):
        view = make_view(annotated, 0, self.network.preprocessing, 32)
        for source in map_sources(self.network):
            for method, heat in zip(source.methods, source.maps(view), strict=True):
                if method.key == self.key:
                    return heat
        raise AssertionError(self.key)


def test_figures_of_known_maps(network, folders):
    images = open_annotated_images(folders)
    result = measure_localization(network, images, sources=[MaskSource()], resamples=50, steps=4)
    assert result.main == "modulator_2.0"
    perfect, opposite, constant = result.methods
    assert [perfect.hits.value, perfect.energy.value, perfect.auc.value] == [1, 1, 1]
    assert perfect.iou.value > 0.9
    assert opposite.auc.value == 0
    assert constant.auc.value == 0.5
    assert constant.hits.value == constant.energy.value == pytest.approx(result.mean_area)
    assert result.images == len(result.per_image) == 5
    assert [score.auc for score in result.per_image] == [1] * 5
    assert [one.other for one in result.differences] == ["modulator_2.0", "opposite", "constant"]
    assert [one.auc.value for one in result.differences] == [0, 1, 0.5]
    assert result.near_px == 8  # half a token of the last stage but one


def test_everything_is_measured_and_repeats(network, folders):
    pytest.importorskip("captum")
    images = open_annotated_images(folders)
    seen = []
    first = measure_localization(network, images, resamples=60, seed=3, steps=2, on_progress=seen.append)
    keys = [score.key for score in first.methods]
    assert keys == [
        "modulator_0.0", "modulator_1.0", "modulator_1.1", "modulator_2.0", "modulator_3.0", "focal-evidence",
        "evidence", "modulator-evidence", "gradcam_3", "gradcam_2", "untrained", "untrained_focal-evidence", "centre",
        "noise", "anywhere",
    ]  # fmt: skip
    assert first.main == "focal-evidence"
    assert seen == [1, 2, 3, 4, 5]
    for score in first.methods:
        for figure in (score.hits, score.near, score.energy, score.auc, score.iou):
            assert 0 <= figure.low <= figure.high <= 1
            assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9 or score.iou is figure
        assert score.near.value >= score.hits.value
        assert (score.deletion is None) == (score.insertion is None) == (score.kind == "modulator")
        if score.deletion is not None:
            assert 0 < score.deletion.low <= score.deletion.value <= score.deletion.high < 1
    random = np.stack([MapsOf(network, "untrained_focal-evidence").of(images[number]) for number in range(2)])
    assert random.std() > 0
    anywhere = first.method("anywhere")
    assert anywhere.auc.value == 0.5
    assert anywhere.hits.value == pytest.approx(first.mean_area)
    again = measure_localization(network, images, resamples=60, seed=3, steps=2)
    assert {**first.to_dict(), "seconds": 0} == {**again.to_dict(), "seconds": 0}
    other = measure_localization(network, images, resamples=60, seed=4, steps=0)
    assert other.method("focal-evidence").deletion is None
    assert other.method("noise").auc.value != first.method("noise").auc.value
    assert other.method("modulator_2.0").auc.value == first.method("modulator_2.0").auc.value
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_other_sizes_blocks_and_features(network, folders):
    images = open_annotated_images(folders).limited(2)
    result = measure_localization(network, images, focus=(0, 0), size_px=47, resamples=5, steps=1)
    assert result.method("modulator_0.0").deletion is not None
    assert (result.main, result.size_px, result.near_px, result.images) == ("modulator_0.0", 47, 2, 2)
    bare = create_model(
        "focalnet_pico", num_classes=0, depths=(1, 1), embed_dim=8, focal_levels=(1, 1), focal_windows=(3, 3)
    )
    assert measure_localization(bare.eval(), images, size_px=32, resamples=5, steps=0).images == 2
    chosen = measure_localization(network, images, map_name="evidence", focus=(0, 0), resamples=5, steps=0)
    assert chosen.main == "evidence"
    with pytest.raises(ConfigError, match="map must be one of focal-evidence"):
        measure_localization(network, images, map_name="heat")
    pyramid = create_model("focalnet_pico", pyramid_norms=True, num_classes=0)
    with pytest.raises(ConfigError, match="load a classifier"):
        map_sources(pyramid)


def test_images_that_do_not_count(network, tmp_path):
    root = mask_folders(tmp_path, 2)
    photo(root / "images" / "empty.png")
    mask_image(root / "masks" / "empty.png", np.zeros((8, 12)))
    photo(root / "images" / "full.png")
    mask_image(root / "masks" / "full.png", np.ones((8, 12)))
    photo(root / "images" / "damaged.png")
    mask_image(root / "masks" / "damaged.png", np.ones((8, 12)))
    whole = (root / "images" / "damaged.png").read_bytes()
    (root / "images" / "damaged.png").write_bytes(whole[:200])
    images = open_annotated_images(root)
    with pytest.raises(ImageError, match=r"damaged\.png"):
        measure_localization(network, images, resamples=5)
    result = measure_localization(network, images, resamples=5, steps=0, skip_unreadable=True)
    assert (result.images, result.without_object, result.filled, len(result.unreadable)) == (2, 1, 1, 1)
    assert [score.name for score in result.per_image] == ["0.png", "1.png"]
    for name in ("0.png", "1.png"):
        (root / "images" / name).unlink()
    with pytest.raises(DataError, match="1 show no object, 1 show nothing but the object, 1 could not be read"):
        measure_localization(network, open_annotated_images(root), resamples=5, skip_unreadable=True)


def test_objects_too_small_for_a_pixel_are_kept(network):
    mask = np.zeros((640, 640), bool)
    mask[100, 200] = True
    thing = AnnotatedObject(Category(1, "dot"), 0, (200, 100, 201, 101), mask)
    view = make_view(AnnotatedImage("a", Image.new("RGB", (640, 640)), [thing]), 0, network.preprocessing, 32)
    assert np.argwhere(view.mask).tolist() == [[5, 10]]
    nothing = make_view(AnnotatedImage("a", view.photo), 0, network.preprocessing, 32)
    assert not nothing.mask.any()


@pytest.mark.parametrize("setting", [{"size_px": 0}, {"resamples": 0}, {"seed": -1}, {"steps": -1}])
def test_numbers_out_of_range(network, folders, setting):
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} must be a whole number"):
        measure_localization(network, open_annotated_images(folders), **setting)


def test_damaged_weights_are_refused(folders):
    model = create_model("focalnet_pico", num_classes=2, depths=(1, 1, 1, 1), embed_dim=8).eval()
    with torch.no_grad():
        model.stages[0].blocks[0].modulation.modulator_projection.weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        measure_localization(model, open_annotated_images(folders), size_px=32, resamples=5)


def test_grad_cam_is_that_of_its_formula_also_with_frozen_weights(network):
    pytest.importorskip("captum")
    images = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    heat = grad_cam(network, network.norm, images, arrangement="channels last")
    tokens = network.forward_features(images).detach().permute(0, 2, 3, 1).requires_grad_()
    network.head(tokens.mean((1, 2))).amax(1).sum().backward()
    expected = (tokens.grad.mean((1, 2), keepdim=True) * tokens).sum(-1).relu()
    assert heat.shape == (2, 1, 2)
    torch.testing.assert_close(heat, expected.detach())
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    try:
        torch.testing.assert_close(grad_cam(network, network.norm, images, arrangement="channels last"), heat)
    finally:
        for parameter in network.parameters():
            parameter.requires_grad_(True)
    assert not network.norm._forward_hooks


def test_without_captum(network, folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'focalnets\[localize\]'"):
        grad_cam(network, network.norm, torch.zeros(1, 3, 32, 32), arrangement="channels last")
    assert not any(
        "gradcam" in method.key for source in map_sources(network, grad_cam=False) for method in source.methods
    )


def test_files(network, folders, tmp_path):
    images = open_annotated_images(folders)
    named = AnnotatedImages(
        data="<data> & more in /home/x/masks", objects="all", names=[f"<{n}>$" for n in images.names], read=images.read
    )
    result = measure_localization(network, named, resamples=20, steps=2, notes=["A <note>."])
    result = dataclasses.replace(result, unreadable=("the image '/home/a b/1.png' is empty.",))
    best, worst = best_and_worst(network, named, result, (2, 0), 2)
    assert [one.score.auc for one in best] == sorted((one.auc for one in result.per_image), reverse=True)[:2]
    assert [one.score.auc for one in worst] == sorted(one.auc for one in result.per_image)[:2]
    assert best[0].picture.shape == best[0].heat.shape
    names = write_localization(result, best, worst, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)
    assert json.loads((tmp_path / "out" / "localization.json").read_text()) == json.loads(json.dumps(result.to_dict()))
    rows = list(csv.DictReader((tmp_path / "out" / "methods.csv").read_text().splitlines()))
    assert [row["key"] for row in rows] == [score.key for score in result.methods]
    assert float(rows[0]["auc"]) == pytest.approx(result.methods[0].auc.value, abs=1e-6)
    assert len((tmp_path / "out" / "images.csv").read_text().splitlines()) == 6
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "&lt;data&gt; &amp; more" in page
    assert "A &lt;note&gt;." in page
    assert "more in masks" in page
    assert "These images do not show that it beats " in page or "It beats everything" in page
    assert "1.png&#39; is empty." in page
    assert "/home" not in without_pictures(page)
    assert "<data>" not in page
    assert not re.search(r"<script|@import|url\(|(?:src|href)=\"(?!data:)", page)
    write_localization(result, [], [], tmp_path / "out")
    assert not (tmp_path / "out" / "best.png").exists()
