"""Values and shapes of transforms, against torchvision's separate steps and arithmetic by hand."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from focalnets.data.transforms import (
    ResizeAndCrop,
    denormalize,
    evaluation_transform,
    load_for_model,
    to_tensor,
    training_transform,
)
from focalnets.errors import ConfigError, ImageError
from focalnets.models.config import Preprocessing

SMALL = Preprocessing(input_size_px=32)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (97, 41), (40, 40), (20, 90), (36, 500), (1, 3)])
@pytest.mark.parametrize("crop_fraction", [0.875, 1.0, 0.95])
def test_evaluation_equals_resizing_then_cropping(size: tuple, crop_fraction: float, interpolation: str) -> None:
    preprocessing = Preprocessing(input_size_px=32, crop_fraction=crop_fraction, interpolation=interpolation)
    separate_steps = v2.Compose(
        [
            v2.Resize(int(32 / crop_fraction), interpolation=InterpolationMode(interpolation), antialias=True),
            v2.CenterCrop(32),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )
    # Middle greys: overshoot of the cubic kernel would be clipped between the two axes, depending on their order.
    image = noise(*size).point(lambda value: 64 + value // 2)
    expected = separate_steps(image)
    result = evaluation_transform(preprocessing)(image)
    assert (result.shape, result.dtype, type(result)) == ((3, 32, 32), torch.float32, torch.Tensor)
    # Both round to bytes twice, and Pillow picks the cheaper axis first, which is not the same one for both. A crop off
    # by a twentieth of a pixel would differ by more.
    assert (result - expected).abs().max() <= 2.02 / 255 / min(preprocessing.std)


def test_published_size_before_cropping() -> None:
    assert ResizeAndCrop(224, 0.875, "bicubic").shorter_side_px == 256
    assert ResizeAndCrop(384, 0.875, "bicubic").shorter_side_px == 438
    assert ResizeAndCrop(384, 1.0, "bicubic").shorter_side_px == 384


def test_normalisation_of_a_plain_colour() -> None:
    result = evaluation_transform(SMALL)(Image.new("RGB", (50, 40), (255, 0, 51)))
    expected = (torch.tensor([1.0, 0.0, 0.2]) - torch.tensor(SMALL.mean)) / torch.tensor(SMALL.std)
    torch.testing.assert_close(result, expected.view(3, 1, 1).expand(3, 32, 32))


def test_crop_of_a_ribbon_stays_small() -> None:
    assert ResizeAndCrop(64, 0.875, "bicubic")(Image.new("RGB", (1, 200_000))).size == (64, 64)


@pytest.mark.parametrize("augmentation", ["none", "light", "strong"])
def test_training_transform(augmentation: str) -> None:
    transform = pickle.loads(pickle.dumps(training_transform(SMALL, augmentation=augmentation)))
    image = noise(80, 60)
    torch.manual_seed(0)
    first, second = transform(image), transform(image)
    assert (first.shape, first.dtype, type(first)) == ((3, 32, 32), torch.float32, torch.Tensor)
    assert torch.isfinite(first).all()
    assert torch.equal(first, second) == (augmentation == "none")
    torch.manual_seed(0)
    assert torch.equal(transform(image), first)


def test_training_scale_and_flip() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], (128, 1, 3)))
    whole = training_transform(SMALL, scale=(1.0, 1.0), horizontal_flip=0.0)(ramp)
    assert (whole[0].diff(dim=1) > 0).all(), "left to right must stay as it was"
    mirrored = training_transform(SMALL, scale=(1.0, 1.0), horizontal_flip=1.0)(ramp)
    torch.testing.assert_close(mirrored, whole.flip(-1), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"augmentation": "heavy"},
        {"scale": (0.0, 1.0)},
        {"scale": (0.9, 0.2)},
        {"scale": (0.5, 1.5)},
        {"horizontal_flip": 2.0},
    ],
)
def test_bad_training_options(options: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        training_transform(SMALL, **options)


def test_denormalize_undoes_normalisation() -> None:
    image = noise(32, 32)
    tensor = evaluation_transform(Preprocessing(input_size_px=32, crop_fraction=1.0))(image)
    pixels = denormalize(torch.stack([tensor, tensor * 100]), SMALL)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (2, 32, 32, 3))
    np.testing.assert_array_equal(pixels[0], np.asarray(image))


@pytest.mark.parametrize(
    ("size_px", "keep_aspect", "expected"),
    [(None, False, (32, 32)), (48, False, (48, 48)), (None, True, (64, 32)), (20, True, (40, 20))],
)
def test_load_for_model(tmp_path: Path, size_px: int | None, keep_aspect: bool, expected: tuple[int, int]) -> None:
    noise(160, 80).save(tmp_path / "a.png")
    tensor, picture = load_for_model(tmp_path / "a.png", SMALL, size_px, keep_aspect)
    assert picture.size == expected
    assert tensor.shape == (3, expected[1], expected[0])
    np.testing.assert_array_equal(denormalize(tensor, SMALL), np.asarray(picture))


def test_load_for_model_matches_evaluation(tmp_path: Path) -> None:
    noise(90, 70).save(tmp_path / "a.png")
    tensor, _ = load_for_model(tmp_path / "a.png", SMALL)
    torch.testing.assert_close(tensor, evaluation_transform(SMALL)(noise(90, 70)), rtol=0, atol=0)


def test_load_for_model_refuses(tmp_path: Path) -> None:
    Image.new("RGB", (2, 4000)).save(tmp_path / "ribbon.png")
    with pytest.raises(ImageError, match="smaller size"):
        load_for_model(tmp_path / "ribbon.png", SMALL, 1024, keep_aspect=True)
    with pytest.raises(ConfigError, match="size_px"):
        load_for_model(tmp_path / "ribbon.png", SMALL, 0)


def test_tensors_are_those_of_torchvision_bit_for_bit():
    preprocessing = Preprocessing(input_size_px=16)
    image = Image.fromarray(np.arange(16 * 24 * 3, dtype=np.uint32).astype(np.uint8).reshape(16, 24, 3))
    expected = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=list(preprocessing.mean), std=list(preprocessing.std)),
            v2.ToPureTensor(),
        ]
    )(image)
    result = to_tensor(preprocessing)(image)
    assert torch.equal(result, expected)
    assert result.is_contiguous()
    assert (result.shape, result.dtype) == ((3, 16, 24), torch.float32)
