"""Large JPEGs are decoded at a fraction of their size wherever only a small picture is needed, and answers stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import focalnets
from focalnets.data import images
from focalnets.data.checks.inspection import inspect_images
from focalnets.data.labelled import TrainingData
from focalnets.data.samples import ImageFolder
from focalnets.data.transforms import ResizeAndCrop
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.classify.inference import evaluate_images, predict_images
from focalnets.tasks.classify.task import Classify
from focalnets.training.config import TrainingConfig
from focalnets.training.data import validation_loader

SPEC = Preprocessing(input_size_px=32)
SIZES = {"large.jpg": (1200, 900), "usual.jpg": (200, 150), "large.png": (1200, 900)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos with structure at many scales."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for label in ("a", "b"):
        (folder / label).mkdir()
        for name, (width, height) in SIZES.items():
            picture = np.zeros((height, width, 3))
            for cells in (3, 12, 60, height):
                noise = random.uniform(0, 64, (cells, cells, 3)).astype(np.uint8)
                picture += np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / label / name, quality=92)
    return folder


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = {"depths": (1, 1), "embed_dim": 8, "focal_levels": (1, 1), "focal_windows": (3, 3)}
    config = FocalNetConfig(**settings, num_classes=2)
    return FocalNet(config, preprocessing=SPEC, class_names=("a", "b")).eval()


@pytest.fixture
def decoded(monkeypatch):
    """The sizes at which pictures are decoded."""
    sizes = []
    original = images.to_rgb
    monkeypatch.setattr(images, "to_rgb", lambda image, *rest: sizes.append(image.size) or original(image, *rest))
    return sizes


def test_what_a_network_sees_hardly_changes(photos):
    crop = ResizeAndCrop(SPEC.input_size_px, SPEC.crop_fraction, SPEC.interpolation)
    side = Classify().coarsest_side_px(SPEC)
    assert side >= 4 * crop.shorter_side_px
    fine, coarse = (images.read_image(photos / "a" / "large.jpg", smallest_side_px=px) for px in (None, side))
    assert fine.width == 4 * coarse.width
    difference = np.abs(np.asarray(crop(fine), float) - np.asarray(crop(coarse), float))
    assert difference.max() <= 3
    assert difference.mean() < 0.3


def test_predict(model, photos, decoded):
    files = [photos / "a" / name for name in SIZES]
    results = focalnets.predict(files, model)
    answers = list(predict_images(model, files))
    from_bytes = focalnets.predict([file.read_bytes() for file in files], model)
    assert sorted(decoded) == sorted(3 * [(300, 225), (200, 150), (1200, 900)])
    whole = focalnets.predict([Image.open(file) for file in files], model)
    for result, answer, same, exact in zip(results, answers, from_bytes, whole, strict=True):
        assert result.confidences == answer.confidences == same.confidences
        assert dict(zip(result.class_names, result.confidences, strict=True)) == pytest.approx(
            dict(zip(exact.class_names, exact.confidences, strict=True)), abs=2e-3
        )
    decoded.clear()
    focalnets.predict(files[0], model, size_px=256)
    assert decoded == [(1200, 900)]
    assert results[0].draw().size[0] == 1200  # what is drawn is the whole photo


def test_evaluate_and_validation(model, photos, decoded):
    samples = [(photos / label / name, index) for index, label in enumerate("ab") for name in SIZES]
    data = ImageFolder(samples, ("a", "b"))
    evaluation = evaluate_images(model, data)
    assert sorted(set(decoded)) == [(200, 150), (300, 225), (1200, 900)]
    assert evaluation.images == 6
    exact = evaluate_images(model, ImageFolder(samples, ("a", "b"), smallest_side_px=10_000))
    assert evaluation.loss == pytest.approx(exact.loss, abs=2e-3)
    config = TrainingConfig(batch_size=2, workers=0)
    decoded.clear()
    training = TrainingData(labels=("a", "b"), train=data, val=data, description="photos")
    assert len(list(validation_loader(Classify(), training, config, SPEC))) == 3
    assert sorted(decoded) == sorted(2 * [(200, 150), (300, 225), (1200, 900)])


def test_check_tells_the_size_in_the_file(photos, decoded):
    found = inspect_images([("train", [(photos / "a" / name, 0) for name in SIZES])], lambda file: file.name)
    assert {image.name: (image.width, image.height) for image in found} == SIZES
    assert sorted(decoded) == [(200, 150), (600, 450), (1200, 900)]


def test_check_tells_the_size_of_a_turned_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1200, 900)).save(tmp_path / "turned.jpg", exif=exif)
    (image,) = inspect_images([("train", [(tmp_path / "turned.jpg", 0)])], lambda file: file.name)
    assert (image.width, image.height) == (900, 1200)


def test_check_still_finds_a_cut_jpeg(photos, tmp_path):
    whole = (photos / "a" / "large.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (image,) = inspect_images([("train", [(tmp_path / "cut.jpg", 0)])], lambda file: file.name)
    assert "damaged" in image.error
