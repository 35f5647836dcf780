"""Deletion and insertion: areas against a slow definition, orders of pixels, and what sentences say of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.v2.functional import gaussian_blur

from focalnets import create_model
from focalnets.data.annotated.open import open_annotated_images, open_with_or_without
from focalnets.engine.forms import plain_form
from focalnets.errors import ConfigError, DataError
from focalnets.intervals import Estimate
from focalnets.models.config import Preprocessing
from focalnets.visualize import measure_localization
from focalnets.visualize.localization.curves import CurveMeter, blurred, pixel_order
from focalnets.visualize.localization.figures import best_and_worst
from focalnets.visualize.localization.report import write_localization
from focalnets.visualize.localization.verdicts import describe_verdicts, summarise


class Corner(nn.Module):
    """Says how much the upper left quarter differs from the mean, as the logit of the first of two classes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        height, width = images.shape[-2:]
        strength = images[:, :, : height // 2, : width // 2].square().mean((1, 2, 3))
        return torch.stack((4 * strength, torch.zeros_like(strength)), dim=1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = create_model("focalnet_pico", num_classes=3, depths=(1, 1, 1, 1), embed_dim=8, initialization="official")
    with torch.no_grad():
        model.head.weight.normal_()
    model.preprocessing = Preprocessing(input_size_px=32, crop_fraction=1.0)
    return model.eval()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for number in range(4):
        (folder / f"class {number % 2}").mkdir(exist_ok=True)
        picture = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        picture.resize((56, 40)).save(folder / f"class {number % 2}" / f"{number}.png")
    return folder


def test_areas_are_those_of_their_definition():
    steps, image = 5, torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0)) + 0.5
    maps = np.random.default_rng(1).random((3, 12, 10))
    found = CurveMeter(plain_form(Corner()), torch.device("cpu"), steps).areas(image, maps)
    network, blank, blur = Corner(), torch.zeros_like(image), blurred(image)
    for heat, (deletion, insertion) in zip(maps, found, strict=True):
        order = np.argsort(-heat.ravel())
        curves = []
        for start, end in ((image, blank), (blur, image)):
            points = []
            for step in range(steps + 1):
                shown = start.clone().flatten(2)
                taken = order[: round(step * 120 / steps)]
                shown[..., taken] = end.flatten(2)[..., taken]
                points.append(network(shown.view_as(image)).softmax(1)[0, 0].item())
            curves.append(np.trapezoid(points) / steps)
        assert [deletion, insertion] == pytest.approx(curves, abs=1e-6)


def test_a_map_of_what_counts_beats_its_opposite():
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    heat = np.zeros((16, 16))
    heat[:8, :8] = 1
    right, wrong = CurveMeter(plain_form(Corner()), torch.device("cpu"), 8).areas(image, np.stack((heat, -heat)))
    assert right[0] < wrong[0] - 0.2
    assert right[1] > wrong[1] + 0.1


def test_ends_are_shared_and_batches_bounded(monkeypatch):
    network, image = Corner(), torch.rand(1, 3, 8, 8)
    CurveMeter(plain_form(network), torch.device("cpu"), 4).areas(image, np.random.default_rng(0).random((2, 8, 8)))
    assert sum(network.seen) == 1 + 2 + 2 * 2 * 3
    network.seen.clear()
    monkeypatch.setattr("focalnets.visualize.localization.curves._BATCH_PIXELS", 5 * 64)
    CurveMeter(plain_form(network), torch.device("cpu"), 4).areas(image, np.random.default_rng(0).random((2, 8, 8)))
    assert max(network.seen) == 5
    assert CurveMeter(plain_form(network), torch.device("cpu"), 1).areas(image, np.zeros((2, 8, 8))).shape == (2, 2)


def test_equal_pixels_come_in_random_order_and_others_by_height():
    heat = np.zeros((9, 11))
    heat[2, 3], heat[4, 5] = 2, 1
    ranks = pixel_order(heat, [0, 1])
    assert (ranks[2, 3], ranks[4, 5]) == (0, 1)
    assert sorted(ranks.ravel()) == list(range(99))
    assert (ranks == pixel_order(heat, [0, 1])).all()
    other = pixel_order(heat, [0, 2])
    assert (ranks != other).any()
    assert abs(np.corrcoef(ranks.ravel(), np.arange(99))[0, 1]) < 0.4


def test_the_blur_is_that_of_the_paper_and_grows_with_the_picture():
    image = torch.rand(1, 3, 224, 230)
    torch.testing.assert_close(blurred(image), gaussian_blur(image, [11, 11], [5.0, 5.0]))
    large = torch.rand(1, 1, 448, 448)
    torch.testing.assert_close(blurred(large), gaussian_blur(large, [21, 21], [10.0, 10.0]))
    assert blurred(torch.rand(1, 3, 3, 300)).shape == (1, 3, 3, 300)


def test_folders_without_annotation_are_measured_by_curves_alone(network, photos, tmp_path):
    images = open_with_or_without(photos)
    assert (len(images), images.objects) == (4, "")
    result = measure_localization(network, images, resamples=30, steps=3)
    assert (result.images, result.mean_area, list(result.figures)) == (4, None, ["deletion", "insertion"])
    main = result.method(result.main)
    assert main.key == "focal-evidence"
    assert main.auc is None
    assert result.method("modulator_2.0").deletion is None
    for score in result.per_image:
        assert score.auc is None
        assert 0 < score.deletion < 1
    assert main.deletion.value == pytest.approx(np.mean([score.deletion for score in result.per_image]))
    best, worst = best_and_worst(network, images, result, (2, 0), 2)
    names = write_localization(result, best, worst, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)
    assert "blocks.png" not in names
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert summarise(result).split(" (")[0] in page
    with pytest.raises(ConfigError, match="only be measured by deletion"):
        measure_localization(network, images, steps=0)


def test_what_has_annotations_is_opened_with_them(photos, tmp_path):
    assert open_with_or_without("scenes:3").objects == open_annotated_images("scenes:3").objects
    with pytest.raises(DataError, match="holds no images with masks or boxes"):
        open_annotated_images(photos)
    with pytest.raises(DataError, match="holds no images with masks"):
        open_with_or_without(photos, category="dog")
    with pytest.raises(DataError, match="no file or folder"):
        open_with_or_without(tmp_path / "gone")
    with pytest.raises(DataError, match="holds no image"):
        open_with_or_without(tmp_path)


def test_sentences_say_what_is_beaten_and_what_is_not(network, photos):
    result = measure_localization(network, open_with_or_without(photos), resamples=10, steps=2)
    better, worse, unsure = Estimate(0.1, 0.05, 0.2), Estimate(-0.1, -0.2, -0.05), Estimate(0.0, -0.1, 0.1)

    def with_differences(change):
        return dataclasses.replace(result, differences=tuple(change(each) for each in result.differences))

    ahead = with_differences(lambda each: dataclasses.replace(each, deletion=worse, insertion=better))
    assert summarise(ahead) == "It beats everything that it is compared with in deletion and insertion."
    mixed = with_differences(
        lambda each: dataclasses.replace(each, deletion=worse, insertion=unsure if each.other == "centre" else better)
    )
    assert summarise(mixed) == "These images do not show that it beats the centre (in insertion)."
    deletion, insertion = describe_verdicts(mixed)
    assert deletion.startswith("Deletion (points, 95 % interval; smaller is better): ahead of ")
    assert "not told apart from the centre (+0.0, -10.0 to +10.0)" in insertion
    behind = with_differences(lambda each: dataclasses.replace(each, deletion=better, insertion=worse))
    assert "ahead" not in " ".join(describe_verdicts(behind))
