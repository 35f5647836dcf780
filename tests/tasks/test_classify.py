"""Predictions and evaluations: every image once, in order, the same in batches as alone."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image

from focalnets.data.folders import ImageFolder, open_evaluation_folder
from focalnets.errors import ConfigError, DataError
from focalnets.intervals import wilson_interval
from focalnets.machine.devices import choose_device
from focalnets.tasks.classify.figures import draw_confusion
from focalnets.tasks.classify.inference import evaluate_images, predict_images
from focalnets.tasks.classify.results import Failure, Prediction
from focalnets.weights.loading import create_model, load_model

TINY = {"embed_dim": 8, "depths": (1, 1), "focal_levels": (1, 1), "focal_windows": (3, 3)}


@pytest.fixture(scope="module")
def model(coloured_run):
    return load_model(coloured_run)


@pytest.fixture(scope="module")
def dataset(coloured_images, model):
    folder = open_evaluation_folder(coloured_images, model.class_names)
    return ImageFolder(folder.samples, folder.classes)


def test_predictions_come_in_order_and_name_the_class(model, dataset):
    paths = [path for path, _ in dataset.samples]
    results = list(predict_images(model, paths, top_k=2, batch_size=7))
    assert [result.path for result in results] == paths
    right = sum(result.class_names[0] == path.parent.name for result, path in zip(results, paths, strict=True))
    assert right > 0.8 * len(paths)
    for result in results:
        assert len(result.class_names) == 2
        assert 1 >= result.confidences[0] >= result.confidences[1] >= 0
        assert [model.class_names[index] for index in result.class_indices] == list(result.class_names)
    json.dumps([result.to_dict() for result in results], allow_nan=False)


def test_batches_change_nothing(model, dataset):
    paths = [path for path, _ in dataset.samples][:9]
    alone = [next(iter(predict_images(model, [path]))) for path in paths]
    together = list(predict_images(model, paths, batch_size=4))
    for one, other in zip(alone, together, strict=True):
        assert one.class_indices == other.class_indices
        assert one.confidences == pytest.approx(other.confidences, abs=1e-5)


def test_there_are_never_more_classes_than_the_network_has(model, dataset):
    (result,) = predict_images(model, [dataset.samples[0][0]], top_k=50)
    assert sorted(result.class_names) == ["blue", "green", "red"]
    assert sum(result.confidences) == pytest.approx(1.0)


def test_unreadable_files_are_reported_in_their_place(model, dataset, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    good = [path for path, _ in dataset.samples][:3]
    results = list(predict_images(model, [tmp_path / "text.png", *good, tmp_path / "gone.png"], batch_size=2))
    assert [type(result) for result in results] == [Failure, Prediction, Prediction, Prediction, Failure]
    assert "text.png" in results[0].reason
    (failure,) = predict_images(model, [tmp_path / "gone.png"])
    assert failure.path.name == "gone.png"


def test_size_reaches_the_network(model, dataset):
    seen = []
    hook = model.stem.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    path = dataset.samples[0][0]
    list(predict_images(model, [path]))
    list(predict_images(model, [path], size_px=48))
    hook.remove()
    assert seen == [(1, 3, 32, 32), (1, 3, 48, 48)]


def test_stopping_early_leaves_everything_as_it_was(model, dataset):
    model.train()
    results = predict_images(model, [path for path, _ in dataset.samples], batch_size=2)
    next(results)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    results.close()
    assert model.training
    model.eval()


def test_numbers_out_of_range_are_refused(model, dataset):
    for options in ({"top_k": 0}, {"batch_size": 0}, {"size_px": 0}):
        with pytest.raises(ConfigError):
            predict_images(model, [dataset.samples[0][0]], **options)
    with pytest.raises(ConfigError, match="no classifier"):
        evaluate_images(create_model("focalnet_pico", num_classes=0, **TINY), dataset)


def test_evaluation_counts_every_image_once(model, dataset):
    first = evaluate_images(model, dataset, batch_size=7)
    assert first.images == 60 == sum(map(sum, first.confusion))
    assert [figures.images for figures in first.per_class] == [20, 20, 20]
    for size in (1, 64):
        other = evaluate_images(model, dataset, batch_size=size)
        assert other.confusion == first.confusion
        assert other.loss == pytest.approx(first.loss, abs=1e-5)
    assert first.preprocessing["input_size_px"] == 32


def test_figures_are_those_of_the_predictions(model, dataset):
    evaluation = evaluate_images(model, dataset)
    paths = [path for path, _ in dataset.samples]
    called = [result.class_indices[0] for result in predict_images(model, paths)]
    labels = [label for _, label in dataset.samples]
    right = sum(one == other for one, other in zip(called, labels, strict=True))
    assert evaluation.top1 == right / 60
    assert evaluation.top5 == 1.0
    low, high = evaluation.top1_interval
    assert low <= evaluation.top1 <= high
    for index, figures in enumerate(evaluation.per_class):
        hits = sum(c == label == index for c, label in zip(called, labels, strict=True))
        assert figures.recall == hits / 20
        assert figures.precision == (hits / called.count(index) if index in called else None)


def test_an_evaluation_survives_json_and_csv(model, dataset):
    evaluation = evaluate_images(model, dataset)
    content = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert content["images"] == 60
    assert content["per_class"][0]["name"] == "blue"
    assert evaluation.per_class_csv().startswith("class,images,recall,precision,")


def test_classes_without_images_have_no_figures(dataset):
    torch.manual_seed(0)
    model = create_model("focalnet_pico", num_classes=8, **TINY)
    only_first = ImageFolder([sample for sample in dataset.samples if sample[1] == 0], dataset.classes)
    evaluation = evaluate_images(model, only_first)
    assert evaluation.per_class[7].recall is None
    assert evaluation.per_class[7].name == "class 7"
    assert 0 <= evaluation.top1 <= evaluation.top5 <= 1


def test_unreadable_images_stop_or_are_left_out(model, dataset, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    damaged = ImageFolder([(tmp_path / "text.png", 0), *dataset.samples[:4]], dataset.classes)
    with pytest.raises(DataError, match=r"text\.png"):
        evaluate_images(model, damaged)
    evaluation = evaluate_images(model, damaged, skip_unreadable=True)
    assert evaluation.images == 4
    assert evaluation.left_out[0].path.name == "text.png"
    with pytest.raises(DataError, match="no readable image"):
        evaluate_images(model, ImageFolder([(tmp_path / "text.png", 0)], dataset.classes), skip_unreadable=True)


def test_labels_beyond_the_network_are_refused(dataset):
    model = create_model("focalnet_pico", num_classes=2, **TINY)
    with pytest.raises(DataError, match="label 2"):
        evaluate_images(model, dataset)


@pytest.mark.parametrize("classes", [3, 70])
def test_confusion_is_drawn(dataset, tmp_path, classes):
    torch.manual_seed(0)
    model = create_model("focalnet_pico", num_classes=classes, **TINY)
    draw_confusion(evaluate_images(model, ImageFolder(dataset.samples[::9], dataset.classes)), tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        assert min(picture.size) > 300
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


@pytest.mark.parametrize("successes", [0, 1, 37, 99, 100])
def test_wilson_interval_solves_its_equation(successes):
    """The ends are the shares p whose normal approximation is z standard errors from what was seen."""
    share, z = successes / 100, 1.959964
    for end in wilson_interval(successes, 100):
        assert abs(share - end) == pytest.approx(z * math.sqrt(end * (1 - end) / 100), abs=1e-9)


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type in ("cpu", "cuda", "mps")
    for name in ("tpu", "cuda:99", "gpu"):
        with pytest.raises(ConfigError):
            choose_device(name)
