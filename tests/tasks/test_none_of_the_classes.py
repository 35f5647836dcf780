"""A classifier that says when an image shows none of its classes: learning it, the threshold, and what is said."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import focalnets
from focalnets.cli.main import main
from focalnets.data.outliers import NO_CLASS
from focalnets.errors import CheckpointError, ConfigError, DataError
from focalnets.models.config import Preprocessing
from focalnets.tasks.batch import Batch
from focalnets.tasks.classify.outliers import choose_threshold
from focalnets.tasks.classify.results import none_of_the_classes
from focalnets.tasks.classify.settings import ClassifySettings
from focalnets.tasks.classify.task import Classify
from focalnets.training.config import TrainingConfig
from focalnets.training.data import training_loader
from focalnets.training.recipes import in_miniature, miniature
from focalnets.training.sampling import EpochBatches, Rank
from focalnets.training.trainer import open_data, train
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.loading import load_model

TINY = {"embed_dim": 8, "depths": (1, 1), "focal_levels": (1, 1), "focal_windows": (3, 3)}
SPEC = Preprocessing(input_size_px=16, crop_fraction=1.0)
LABELS = ("blue", "green", "red")


def a_network(threshold=None, variant="focalnet_pico"):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = focalnets.create_model(variant, num_classes=3, **TINY).eval()
    model.class_names = LABELS
    model.preprocessing = dataclasses.replace(model.preprocessing, input_size_px=16)
    model.threshold = threshold
    return model


@pytest.fixture(scope="module")
def exposed_run(coloured_images, tmp_path_factory):
    """A run that learned the colours beside generated outliers."""
    config = miniature().replace(epochs=8, device="cpu", settings={"outliers": "generated", "outlier_weight": 1.0})
    output = tmp_path_factory.mktemp("runs") / "exposed"
    train(config, open_data(coloured_images, config), output=output, quiet=True)
    return output


# Settings


def test_sources_are_one_text_or_a_list():
    assert ClassifySettings().outlier_sources() == ()
    assert ClassifySettings(outliers="generated").outlier_sources() == ("generated",)
    assert ClassifySettings(outliers=["generated", "photos"]).outliers == "generated,photos"
    assert ClassifySettings(outliers="generated, photos").outlier_sources() == ("generated", "photos")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"outliers": ""}, "outliers must be"),
        ({"outliers": "generated,,x"}, "outliers must be"),
        ({"outliers": 3}, "outliers must be"),
        ({"outliers": [3]}, "outliers must be"),
        ({"outlier_fraction": 0}, "outlier_fraction must be above 0"),
        ({"outlier_fraction": 5.0}, "outlier_fraction must be above 0"),
        ({"outlier_weight": 0.0}, "outlier_weight must be above 0"),
        ({"outlier_weight": math.inf}, "outlier_weight must be above 0"),
    ],
)
def test_odd_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        ClassifySettings(**settings)


def test_a_folder_without_pictures_is_refused(coloured_images, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "0.png")
    for folder, words in (("missing", "no file or folder"), ("empty", "holds no image"), ("one", "2 or more")):
        config = in_miniature(TrainingConfig(settings={"outliers": str(tmp_path / folder)}))
        with pytest.raises(DataError, match=words):
            training_loader(config.build_task(), open_data(coloured_images, config), config, SPEC)


# Learning


def test_each_batch_has_its_outliers_and_counts_on():
    batches = EpochBatches(10, 4, seed=2, beside=3)
    first = list(batches)
    batches.set_epoch(1)
    second = list(batches)
    assert [len(batch) for batch in first] == [7, 7]
    numbers = [index for batch in (*first, *second) for _, index, _ in batch[4:]]
    assert numbers == list(range(numbers[0], numbers[0] + 12))
    assert numbers[0] >= 10
    assert [batch[:4] for batch in first] == list(EpochBatches(10, 4, seed=2))
    assert next(iter(EpochBatches(10, 4, seed=3, beside=1)))[4] != first[0][4]


def test_processes_share_images_and_outliers():
    whole = next(iter(EpochBatches(10, 4, seed=2, beside=3)))
    parts = [next(iter(EpochBatches(10, 4, seed=2, beside=3, rank=Rank(number, 2)))) for number in range(2)]
    assert sorted(item for part in parts for item in part) == sorted(whole)
    assert [len(part) for part in parts] == [4, 3]


def test_what_is_learnt_from_can_be_repeated(coloured_images):
    config = TrainingConfig(
        batch_size=8, workers=0, seed=4, settings={"outliers": "generated", "outlier_fraction": 0.5}
    )
    data = open_data(coloured_images, config)
    loader = training_loader(config.build_task(), data, config, SPEC)
    first = next(iter(loader))
    again = next(iter(training_loader(config.build_task(), data, config, SPEC)))
    assert len(first) == 12
    assert first.targets.tolist()[8:] == [NO_CLASS] * 4
    assert min(first.targets.tolist()[:8]) >= 0
    assert torch.equal(first.inputs, again.inputs)
    other = config.replace(seed=5)
    assert not torch.equal(first.inputs, next(iter(training_loader(other.build_task(), data, other, SPEC))).inputs)


def test_outliers_are_blended_with_nothing():
    task = Classify(settings=ClassifySettings(mixup=1.0, cutmix=1.0, outliers="generated"))
    blend = task.blend(LABELS)
    images = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, NO_CLASS, 1, 2, NO_CLASS, 0])
    for _ in range(6):
        mixed = blend(Batch(images, targets), 0)
        assert mixed.targets.shape == (6, 3)
        assert torch.equal(mixed.inputs[4:], images[[1, 4]])
        assert bool((mixed.targets[4:] == NO_CLASS).all())
        torch.testing.assert_close(mixed.targets[:4].sum(-1), torch.ones(4))
        assert set(task.losses(torch.zeros(6, 3), mixed, train=True)) == {"cross_entropy", "outliers"}


def test_the_target_of_outliers_is_uniform():
    task = Classify(settings=ClassifySettings(outliers="generated", outlier_weight=0.5, label_smoothing=0.0))
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.3, 0.3, 0.3], [4.0, 0.0, 0.0]], requires_grad=True)
    losses = task.losses(logits, Batch(torch.zeros(3, 1), torch.tensor([0, NO_CLASS, NO_CLASS])), train=True)
    known = -logits[0].log_softmax(0)[0]
    uniform = torch.full((3,), 1 / 3)
    divergences = [(uniform * (uniform.log() - row.log_softmax(0))).sum() for row in logits[1:]]
    torch.testing.assert_close(losses["cross_entropy"], known)
    torch.testing.assert_close(losses["outliers"], 0.5 * sum(divergences) / 2)
    losses["outliers"].backward()
    assert logits.grad[:2].abs().max() < 1e-6  # the labelled row, and one that is uniform already
    assert logits.grad[2, 0] > 0.1
    alone = task.losses(logits[:1], Batch(torch.zeros(1, 1), torch.tensor([0])), train=True)
    assert float(alone["outliers"].detach()) == 0.0
    validation = task.losses(logits, Batch(torch.zeros(3, 1), torch.tensor([0, 1, 2])), train=False)
    assert set(validation) == {"cross_entropy"}


def test_weights_of_before_do_not_count_as_the_best(exposed_run, coloured_images, tmp_path):
    assert Classify().can_answer(load_model(exposed_run), LABELS)
    task = Classify(settings=ClassifySettings(outliers="generated"))
    assert not task.can_answer(load_model(exposed_run), LABELS)


def test_a_network_learns_to_be_unsure(exposed_run, coloured_images):
    model = focalnets.load(exposed_run, device="cpu")
    assert 0.0 < model.network.threshold < 1.0
    colours = model.predict(coloured_images)
    assert sum(result.is_none_of_the_classes for result in colours) <= 0.1 * len(colours)
    stripes = np.zeros((24, 24, 3), np.uint8)
    stripes[::2] = 255
    blanks = model.predict([Image.new("RGB", (24, 24), "white"), Image.new("RGB", (24, 24), "black"), stripes])
    assert np.mean([result.confidences[0] for result in blanks]) < np.mean([r.confidences[0] for r in colours]) - 0.1
    assert "below the confidence" in (exposed_run / "log.txt").read_text(encoding="utf-8")
    assert load_model(exposed_run / "last.safetensors").threshold is not None
    assert "outliers beside each image (generated)" in (exposed_run / "README.md").read_text(encoding="utf-8")


# The threshold


def test_the_threshold_parts_images_from_outliers():
    assert 0.4 < choose_threshold(np.array([0.7, 0.8, 0.9]), np.array([0.2, 0.3, 0.4])) <= 0.7
    rng = np.random.default_rng(0)
    inside, outside = rng.beta(5, 2, 1000), rng.beta(2, 5, 1000)
    threshold = choose_threshold(inside, outside)
    assert np.mean(inside < threshold) <= 0.05
    assert choose_threshold(np.full(10, 0.1), np.full(10, 0.9)) <= 0.1  # nothing is gained by refusing images


def test_it_is_kept_with_the_weights(tmp_path):
    for threshold in (None, 0.45, 0.0, 1):
        model = a_network(threshold)
        save_checkpoint(model, tmp_path / "model.safetensors", dtype="float16")
        assert load_model(tmp_path / "model.safetensors").threshold == threshold
        assert focalnets.inspect_checkpoint(tmp_path / "model.safetensors").head.get("threshold") == threshold


def test_another_classifier_has_none(tmp_path):
    save_checkpoint(a_network(0.45), tmp_path / "model.safetensors")
    path = tmp_path / "model.safetensors"
    assert load_model(path, num_classes=5, replace_head=True).threshold is None
    assert load_model(path, pyramid_norms=True).threshold is None
    assert load_model(path, in_chans=1).threshold is None
    assert load_model(path, drop_path=0.1).threshold == 0.45
    network = load_model(path)
    network.reset_classifier(4)
    assert network.threshold is None
    for labels in (LABELS, ("blue", "red")):
        assert Classify().build(load_model(path), labels, pretrained=True).threshold is None


def test_conversions_drop_it_except_to_our_own_layout(tmp_path):
    save_checkpoint(a_network(0.45, "focalnet_tiny_srf"), tmp_path / "model.safetensors")
    for layout, ending, expected in (("focalnets", "safetensors", 0.45), ("official", "pth", None)):
        target = tmp_path / f"{layout}.{ending}"
        assert main(["convert", str(tmp_path / "model.safetensors"), str(target), "--to", layout]) == 0
        assert load_model(target).threshold == expected


@pytest.mark.parametrize("threshold", ["NaN", "Infinity", "-0.1", "1.5", "1e999", '"0.5"', "true", "null", "[0.5]"])
def test_a_hostile_threshold_is_refused(threshold, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(a_network(0.45), path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    head = metadata["focalnets.head"]
    metadata["focalnets.head"] = head.replace("0.45", threshold)
    assert metadata["focalnets.head"] != head
    save_file(load_file(path), path, metadata)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path)


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -0.1, 1.5, "0.5", True])
def test_a_threshold_out_of_range_is_not_written(threshold, tmp_path):
    with pytest.raises(CheckpointError, match="a number from 0 to 1"):
        save_checkpoint(a_network(threshold), tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


# What is said


def test_counts_are_words_where_they_are_small():
    assert none_of_the_classes(10) == "none of the ten, as it seems"
    assert none_of_the_classes(1000) == "none of the 1,000, as it seems"
    assert none_of_the_classes(0) == "none of the classes, as it seems"


@pytest.mark.parametrize(("threshold", "none"), [(1.0, True), (0.0, False), (None, None)])
def test_predict_says_so(threshold, none, coloured_images, tmp_path, capsys):
    save_checkpoint(a_network(threshold), tmp_path / "model.safetensors")
    image = str(next(coloured_images.glob("red/*.png")))
    command = ["predict", image, "--model", str(tmp_path / "model.safetensors"), "--device", "cpu"]
    assert main([*command, "--json", str(tmp_path / "a.json"), "--csv", str(tmp_path / "a.csv")]) == 0
    shown = capsys.readouterr().out
    assert ("none of the three, as it seems" in shown) == bool(none)
    (answer,) = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["predictions"]
    assert answer.get("none_of_the_classes") is none
    assert answer.get("threshold") == threshold
    assert len(answer["classes"]) == 3
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text(encoding="utf-8"))))
    assert {row.get("none_of_the_classes") for row in rows} == {None if none is None else str(none)}
    model = focalnets.load(tmp_path / "model.safetensors", device="cpu")
    (result,) = model.predict(image)
    assert result.is_none_of_the_classes is bool(none)
    assert result.verdict == ("none of the three, as it seems" if none else result.class_names[0])
    drawn = np.asarray(result.draw())
    named = np.asarray(model.task.draw(result.input.read(), dataclasses.replace(result.value, threshold=None)))
    assert (drawn.shape != named.shape or not np.array_equal(drawn, named)) == bool(none)


@pytest.mark.parametrize(("threshold", "called"), [(1.0, 60), (0.0, 0), (None, None)])
def test_evaluate_counts_them(threshold, called, coloured_images, tmp_path):
    save_checkpoint(a_network(threshold), tmp_path / "model.safetensors")
    evaluation = focalnets.evaluate(coloured_images, tmp_path / "model.safetensors", device="cpu")
    assert evaluation.called_none == called
    assert evaluation.to_dict()["called_none"] == called
    lines = evaluation.task.summary(evaluation.evaluation)
    assert any("none of the three" in line for line in lines) == (called is not None)
    without = focalnets.evaluate(coloured_images, a_network(None), device="cpu")
    assert evaluation.top1 == without.top1
