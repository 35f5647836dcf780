"""Networks of one or four channels, or of half precision, given picture files; and a single file in place of a list."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from focalnets.cli.main import main
from focalnets.data.folders import open_evaluation_folder
from focalnets.data.samples import ImageFolder
from focalnets.data.transforms import denormalize, evaluation_transform, to_tensor, training_transform
from focalnets.errors import ConfigError
from focalnets.models.config import Preprocessing
from focalnets.tasks.classify.inference import evaluate_images, predict_images
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.loading import create_model, load_model


@pytest.fixture
def make():
    """Makes a small classifier of three colours with so many channels."""

    def make(channels):
        with torch.random.fork_rng():
            torch.manual_seed(channels)
            model = create_model("focalnet_pico", num_classes=3, in_chans=channels).eval()
            torch.nn.init.normal_(model.head.weight)
        model.preprocessing = dataclasses.replace(model.preprocessing, input_size_px=32)
        model.class_names = ("blue", "green", "red")
        return model

    return make


@pytest.fixture
def dataset(coloured_images):
    folder = open_evaluation_folder(coloured_images, ("blue", "green", "red"))
    return ImageFolder(folder.samples, folder.classes)


@pytest.fixture
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_network_of_one_channel_sees_grey(make, picture, tmp_path):
    path = tmp_path / "picture.png"
    picture.save(path)
    model = make(1)
    spec = model.preprocessing
    tensor = to_tensor(spec)(picture)
    grey = np.array(picture).astype(np.float64) @ [0.299, 0.587, 0.114] / 255
    assert tensor.shape == (1, 36, 48)
    np.testing.assert_allclose(tensor[0].numpy() * spec.std[0] + spec.mean[0], grey, atol=0.6 / 255)
    with torch.inference_mode():
        expected = model(evaluation_transform(spec)(picture).unsqueeze(0)).softmax(1)[0]
    (prediction,) = predict_images(model, [path], top_k=1)
    assert prediction.confidences[0] == pytest.approx(expected.max().item(), rel=1e-5)


def test_denormalizing_grey_gives_pixels_with_three_equal_colours():
    spec = Preprocessing().with_channels(1)
    picture = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")
    pixels = denormalize(to_tensor(spec)(picture).unsqueeze(0), spec)
    assert np.array_equal(pixels[0], np.array(picture))


@pytest.mark.parametrize("augmentation", ["none", "light", "strong"])
def test_pictures_for_training_have_one_channel(picture, augmentation):
    spec = dataclasses.replace(Preprocessing().with_channels(1), input_size_px=24)
    assert training_transform(spec, augmentation=augmentation)(picture).shape == (1, 24, 24)


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused_in_words(make, picture, dataset, coloured_images, tmp_path, capsys, channels):
    path, weights = tmp_path / "picture.png", tmp_path / "model.safetensors"
    picture.save(path)
    model = make(channels)
    words = f"3 channels \\(red, green, blue\\) or 1 \\(grey\\), but this one takes {channels}; give it tensors"
    with pytest.raises(ConfigError, match=words):
        predict_images(model, [path])
    with pytest.raises(ConfigError, match=words):
        evaluate_images(model, dataset)
    save_checkpoint(model, weights)
    outputs = ("--output", str(tmp_path / "out"))
    for command in (
        ("predict", str(path), "--model", str(weights)),
        ("evaluate", str(weights), str(coloured_images)),
        ("explain", str(path), "--model", str(weights), *outputs),
        ("train", str(coloured_images), "--pretrained", str(weights), "--epochs", "1", "--device", "cpu", *outputs),
    ):
        assert main(command) != 0
        assert f"but this one takes {channels}" in capsys.readouterr().err


@pytest.mark.parametrize("channels", [1, 4])
def test_forward_training_step_and_saving(make, tmp_path, channels):
    model = make(channels)
    images = torch.randn(2, channels, 40, 36, generator=torch.Generator().manual_seed(0))
    model.train()(images).sin().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    save_checkpoint(model.eval(), tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors").eval()
    assert loaded.config.in_chans == loaded.preprocessing.channels == channels
    with torch.inference_mode():
        assert torch.equal(loaded(images), model(images))


def test_commands_on_a_network_of_one_channel(make, coloured_images, tmp_path, capsys):
    weights, path = tmp_path / "model.safetensors", next(coloured_images.rglob("*.png"))
    save_checkpoint(make(1), weights)
    chosen, run = ("--model", str(weights)), tmp_path / "run"
    for command in (
        ("predict", str(path), *chosen),
        ("evaluate", str(weights), str(coloured_images)),
        ("explain", str(path), *chosen, "--output", str(tmp_path / "explained")),
        (
            "train",
            str(coloured_images),
            "--pretrained",
            str(weights),
            "--epochs",
            "1",
            "--device",
            "cpu",
            "--output",
            str(run),
        ),
    ):
        assert main(command) == 0, capsys.readouterr().err
    trained = load_model(run / "best.safetensors")
    assert trained.config.in_chans == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_dtypes_take_files(make, picture, dataset, tmp_path, dtype):
    path = tmp_path / "picture.png"
    picture.save(path)
    model = make(3)
    (expected,) = predict_images(model, [path], top_k=3)
    accuracy = evaluate_images(model, dataset).top1
    (got,) = predict_images(model.to(dtype), [path], top_k=3)
    confidences = dict(zip(expected.class_names, expected.confidences, strict=True))
    for name, confidence in zip(got.class_names, got.confidences, strict=True):
        assert confidence == pytest.approx(confidences[name], abs=0.05)
    assert evaluate_images(model, dataset).top1 == pytest.approx(accuracy, abs=0.1)


def test_a_single_path_is_one_image(make, picture, tmp_path):
    path = tmp_path / "picture.png"
    picture.save(path)
    model = make(3)
    (of_list,) = predict_images(model, [path])
    for single in (path, str(path)):
        (prediction,) = predict_images(model, single)
        assert prediction == of_list
