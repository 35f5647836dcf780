"""Heads of queries through the tasks: trained, loaded, measured, asked, and trained further on other classes."""

from __future__ import annotations

import json

import pytest
import torch
from tests.tasks.squares import write_squares

import focalnets
from focalnets.cli.main import main
from focalnets.data.annotated.encoded_masks import EncodedMask
from focalnets.errors import ConfigError
from focalnets.large.windows import Window
from focalnets.models.heads.table import DENSE_NETWORKS
from focalnets.tasks.detect.run_lengths import drawn_over_image
from focalnets.tasks.detect.settings import DetectSettings
from focalnets.tasks.detect.task import Detect
from focalnets.tasks.instance.settings import InstanceSettings
from focalnets.tasks.instance.task import Instance
from focalnets.tasks.loading import load_trained
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import in_miniature
from focalnets.training.trainer import open_data, train

pytest.importorskip("transformers")

HEADS = {
    "rtdetr": ("detect", {"channels": 16, "queries": 12, "decoder_layers": 2}),
    "dfine": ("detect", {"channels": 16, "queries": 12, "decoder_layers": 2}),
    "mask2former": ("instance", {"channels": 64, "queries": 6, "decoder_layers": 2}),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares"), train=8, val=4)


@pytest.fixture(scope="module")
def runs(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for head, (task, small) in HEADS.items():
        config = in_miniature(TrainingConfig(task=task)).replace(
            head=head, batch_size=4, epochs=1, image_size=48, ema_decay=0.9, **small
        )
        train(config, open_data(place, config), output=folder / head, quiet=True)
    return folder


@pytest.mark.parametrize("head", HEADS)
def test_a_run_is_loaded_measured_and_asked(head, runs, place):
    task, model = load_trained(runs / head)
    assert task.name == HEADS[head][0]
    assert model.head_config.kind == head
    assert model.head_config.numbers == (3, 7)
    network = focalnets.load(runs / head)
    photo = place / "images" / "val_0.png"
    (answer,) = network.predict(photo)
    assert answer.size == (48, 40)
    assert all(0 <= thing.score <= 1 and thing.class_id in (3, 7) for thing in answer.objects)
    if head == "mask2former":
        assert all(thing.mask.shape == (40, 48) for thing in answer.objects)
    (seen,) = network.explain(photo)
    assert seen.result.size == (48, 40)
    evaluation = network.evaluate(place)
    assert set(evaluation.metrics) >= {"map", "map50", "missed", "spurious"}
    assert evaluation.loss > 0


@pytest.mark.parametrize("head", HEADS)
def test_large_images_are_looked_at_by_windows(head, runs):
    task, model = load_trained(runs / head)
    model.set_options(score_threshold=0.0)
    look = task.large(model.eval())
    window = Window(0, 32, 101, 64, 160, (32, 101, 64, 160))
    sides = [(-(-69 // stride), 96 // stride) for stride in model.config.strides]
    maps = [torch.randn(1, model.config.dims[stage], *sides[stage]) for stage in model.stages]
    found = look._find(maps, window)
    assert found
    assert all(64 <= each.box[0] <= each.box[2] <= 160 and 32 <= each.box[1] <= each.box[3] <= 101 for each in found)
    assert all((each.mask is not None) == (head == "mask2former") for each in found)


@pytest.mark.parametrize("head", ["rtdetr", "mask2former"])
def test_training_goes_on_with_other_classes(head, runs):
    task, model = load_trained(runs / head)
    adopted = task.adopt(model, ("red", "blue", "green"))
    assert adopted.head_config.outputs == 3
    assert adopted.head_config.numbers == (1, 2, 3)
    same = adopted.state_dict()
    kept = sum(torch.equal(value, same[name]) for name, value in model.state_dict().items())
    assert kept > 0.8 * len(same)


def test_sizes_are_chosen_for_the_data_and_anchors_are_not(place):
    task = Detect(settings=DetectSettings(head="rtdetr"), model="focalnet_pico")
    data = task.open(place, val_fraction=0.2, seed=0)
    chosen = task.choose_settings(data, image_size=None)
    assert set(chosen) == {"class_ids", "image_size"}
    assert set(task.choose_settings(data, image_size=64)) == {"class_ids"}


def test_heads_are_refused_where_they_are_not():
    with pytest.raises(ConfigError, match="head cannot be"):
        DetectSettings(head="mask2former")
    with pytest.raises(ConfigError, match="head cannot be"):
        InstanceSettings(head="rtdetr")
    backbone = focalnets.create_model("focalnet_pico", pyramid_norms=True, num_classes=0)
    with pytest.raises(ConfigError, match="multiple of 32 from 64 up, got 48"):
        Instance(settings=InstanceSettings(head="mask2former", channels=48)).build(backbone, ["a"], pretrained=False)
    boxes = {"kind": "rtdetr", "outputs": 1}
    with pytest.raises(ConfigError, match="with masks cannot be rtdetr"):
        Instance().rebuild_dense(backbone, ["a"], boxes)
    with pytest.raises(ConfigError, match="a detector has a head of kind"):
        Detect().rebuild_dense(backbone, ["a"], {**boxes, "kind": "yolo"})


def test_the_command_line_knows_the_heads_of_all_tasks(place, capsys):
    for task, head, others in (("detect", "yolo", "rcnn, rtdetr, dfine"), ("instance", "dfine", "rcnn, mask2former")):
        assert main(["train", str(place), "--task", task, "--head", head]) == 2
        assert f"head cannot be '{head}'; choose one of {others}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "detect: what finds the objects" in shown
    assert "semantic: what names the classes" in shown


def test_rows_of_the_table_build_what_they_say():
    for name, row in DENSE_NETWORKS.items():
        if name.endswith("pico") and row.task in ("detect", "instance"):
            task = {"detect": Detect, "instance": Instance}[row.task](model=name)
            backbone = focalnets.create_model(row.backbone, pyramid_norms=True, num_classes=0)
            module = task.build(backbone, ["a", "b"], pretrained=False)
            assert module.head_config.to_dict()["kind"] == (row.head.get("head") or "rcnn")
            assert json.dumps(module.describe_head())


def test_another_head_than_that_of_the_row():
    backbone = focalnets.create_model("focalnet_pico", pyramid_norms=True, num_classes=0)
    task = Instance(model="maskrcnn_focalnet_pico", settings=InstanceSettings(head="mask2former"))
    module = task.build(backbone, ["a"], pretrained=False)
    assert module.stages == (0, 1, 2, 3)
    assert (module.head_config.channels, module.head_config.queries, module.head_config.layers) == (96, 50, 4)
    boxes = Detect(model="fasterrcnn_focalnet_pico", settings=DetectSettings(head="dfine", queries=20))
    module = boxes.build(backbone, ["a"], pretrained=False)
    assert module.stages == (1, 2, 3)
    assert (module.head_config.channels, module.head_config.queries, module.head_config.layers) == (128, 20, 3)
    assert not boxes.chosen()["proposals"]


def test_a_mask_of_the_whole_image_is_enlarged():
    likelihoods = torch.zeros(4, 6)
    likelihoods[0, :3] = 1.0
    mask = drawn_over_image(likelihoods, torch.tensor([0.0, 0.0, 24.0, 16.0]), (22, 15))
    assert isinstance(mask, EncodedMask)
    drawn = mask.decode()
    expected = torch.nn.functional.interpolate(likelihoods[None, None], size=(16, 24), mode="bilinear")[0, 0] >= 0.5
    assert (drawn == expected[:15, :22].numpy()).all()
    assert not drawn_over_image(torch.zeros(4, 6), torch.tensor([0.0, 0.0, 24.0, 16.0]), (22, 15)).decode().any()
