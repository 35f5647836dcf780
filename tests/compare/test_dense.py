"""Networks with heads for places in an image side by side: one head and one size for all, whoever made the backbone."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from focalnets.cli.main import main
from focalnets.compare import runs
from focalnets.compare.backbones import TimmBackbone, build_compared
from focalnets.compare.calls import build_whole, prepare_call, sample_batch
from focalnets.compare.charts import draw_accuracies
from focalnets.compare.models import build_module, find_models, multiply_accumulates, timm_network
from focalnets.compare.page import write_page
from focalnets.compare.results import Comparison
from focalnets.compare.runs import shared_config
from focalnets.compare.training import train_all
from focalnets.errors import CheckpointError, ConfigError, ShapeError
from focalnets.tasks.batch import Batch
from focalnets.tasks.table import build_task, settings_of
from focalnets.training.config import TrainingConfig
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.loading import create_model

TOY = "focalnet_pico:embed_dim=8,depths=[1,1,1,1]"
SWIN = "swin_tiny_patch4_window7_224:embed_dim=24,depths=[1,1,1,1]"
SMALL = {"image_size": 64, "batch_size": 2, "epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1, "workers": 0}
HEADS = {
    "detect": {"pyramid_channels": 8, "box_channels": 8, "proposals": 8},
    "semantic": {"channels": 8},
}
CPU = torch.device("cpu")
QUERY_HEADS = pytest.mark.parametrize(
    ("task", "head", "channels"),
    [
        ("detect", "rtdetr", 16), ("detect", "dfine", 16), ("instance", "mask2former", 64),
        ("semantic", "mask2former", 64), ("panoptic", None, 64),
    ],
)  # fmt: skip


def model_of(name):
    return find_models([name], {"embed_dim": 8, "depths": [1, 1, 1, 1]})[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {}),
        ("swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": [1, 1, 1, 1]}),
        ("convnext_atto", {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}),
    ],
)
def test_maps_of_networks_of_timm(name, options):
    pytest.importorskip("timm")
    network = timm_network(name, 96, {**options, "features_only": True})
    backbone = TimmBackbone(name, network, 96).eval()
    with torch.no_grad():
        maps = backbone.forward_pyramid(torch.randn(1, 3, 96, 96))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (count, 96 // stride, 96 // stride) for count, stride in zip(backbone.config.dims, (4, 8, 16, 32), strict=True)
    ]
    for each in maps:  # each place is normalised over its channels
        assert each.mean(1).abs().max() < 1e-4
    with pytest.raises(ConfigError, match="FocalNets"):
        backbone.set_recompute("block")


def test_a_network_without_maps_of_several_sizes():
    pytest.importorskip("timm")
    task = build_task("semantic")
    with pytest.raises(ShapeError, match="strides 4, 8, 16 and 32"):
        build_compared(model_of("vit_tiny_patch16_224:depth=3,embed_dim=24,num_heads=1"), task, ("a", "b"), size_px=64)


@QUERY_HEADS
def test_networks_of_any_width_get_the_same_head(task, head, channels):
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    options = {} if head is None else {"head": head}
    made = build_task(task, settings=settings_of(task)(**options))
    data = made.open("scenes:4", val_fraction=0.5, seed=0)
    fields = made.for_comparison(data, image_size=64)
    assert fields["channels"] == (96 if channels == 64 else 128)
    assert all(fields[name] is not None for name in ("queries", "decoder_layers"))


@QUERY_HEADS
def test_heads_of_queries_stand_on_networks_of_any_make(task, head, channels):
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    options = {"queries": 16, "decoder_layers": 2, "channels": channels, **({} if head is None else {"head": head})}
    made = build_task(task, settings=settings_of(task)(**options))
    data = made.open("scenes:4", val_fraction=0.5, seed=0)
    made = build_task(task, settings=settings_of(task)(**options | made.choose_settings(data, image_size=64)))
    network = build_compared(
        model_of("convnext_atto:depths=[1,1,1,1],dims=[8,16,24,32]"), made, data.labels, size_px=64
    )
    batch = made.sample_batch(network.preprocessing, 2, data.labels)
    loss = sum(made.losses(made.forward(network, batch), batch, train=True).values())
    loss.backward()
    assert loss.isfinite()
    assert network.backbone.network.stem_0.weight.grad.abs().sum() > 0
    with torch.no_grad():
        made.forward(network.eval(), batch)


@pytest.mark.parametrize("task", ["detect", "semantic"])
def test_trains_alike_whoever_made_them(task, tmp_path):
    pytest.importorskip("timm")
    config = shared_config({**SMALL, "task": task, task: HEADS[task]}, "scenes:6")
    seen = []
    names = [TOY, SWIN, "pooling", "vit_tiny_patch16_224:depth=3,embed_dim=24,num_heads=1"]
    models = find_models(names, {"embed_dim": 8, "depths": [1, 1, 1, 1]})

    def train():
        return train_all(
            models, config, "scenes:6", tmp_path, seeds=1, after_run=lambda _, trained: seen.append(trained.result)
        )

    table = train()
    *trained, refused = table.rows
    assert [row.model for row in table.rows] == names
    assert all(row.failed == {} and row.mean is not None and row.interval is None for row in trained)
    assert all(row.parameters > 0 and row.macs > 0 for row in trained)
    assert "needs maps of strides" in refused.failed[0]
    label = {"detect": "AP", "semantic": "mIoU"}[task]
    assert table.metric.label == label
    assert seen[0].startswith(f"{label} ")
    assert f"{table.watch.metric}_mean" in table.to_csv()
    settings = [runs.RunFolder(path.parent).read_config() for path in sorted(tmp_path.rglob("config.yaml"))]
    assert len({repr(each.settings) for each in settings}) == 1
    assert (settings[0].settings.side, settings[0].settings.crop_px, settings[0].image_size) == ("both", 64, 64)
    table.write(tmp_path)
    assert draw_accuracies(table, tmp_path / "accuracy.png")
    write_page(Comparison({}), table, ["accuracy.png"], tmp_path)
    assert label in (tmp_path / "report.html").read_text()
    seen.clear()
    assert train().rows[:3] == table.rows[:3]
    assert len(seen) == 1  # only what failed is tried again


def test_all_images_fill_their_batch():
    task = build_task("detect")
    data = task.open("scenes:8", val_fraction=0.5, seed=0)
    fields = task.for_comparison(data, image_size=None)
    size = fields.pop("image_size")
    assert size % 32 == 0
    assert fields["anchor_sizes"] is not None
    assert fields["pyramid_channels"] == 96
    shared = type(task)(settings=type(task.settings)(**fields))
    module = build_whole(model_of(TOY), "detect", size)
    for train in (True, False):
        prepare = shared.transform(module.preprocessing, train=train)
        batch = shared.collate([prepare(data.train[index], index) for index in range(3)])
        assert batch.mask is None
        assert batch.inputs.shape == (3, 3, size, size)
    with pytest.raises(ConfigError, match="multiple of 32"):
        task.for_comparison(data, image_size=100)


@pytest.mark.parametrize("trained_for", ["detect", "instance", "semantic"])
def test_cost_of_whole_networks(trained_for):
    pytest.importorskip("timm")
    batch = sample_batch(trained_for, 2, 64, CPU)
    assert isinstance(batch, Batch)
    assert torch.equal(batch.inputs, sample_batch(trained_for, 2, 64, CPU).inputs)
    for name in (TOY, SWIN):
        network = build_whole(model_of(name), trained_for, 64)
        assert multiply_accumulates(network, 64) > 0
        for call in ("inference", "training"):
            network, run = prepare_call(model_of(name), call, 64, CPU, trained_for)
            run(batch)
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        assert sum(parameter.grad is not None for parameter in learning) > 0.9 * len(learning)


def test_the_command_measures_heads(tmp_path, capsys):
    command = ["compare", "--models", TOY, "--task", "semantic", "--sizes", "64", "--tasks", "inference"]
    command += ["--device", "cpu", "--minutes", "2", "--output", str(tmp_path)]
    assert main(command) == 0
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["setting"]["trained_for"] == "semantic"
    (cell,) = content["cells"]
    assert cell["status"] == "measured"
    assert cell["peak_bytes"] > 0
    assert main([*command[:3], *command[5:]]) == 2
    assert "trained_for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"side": "shorter"}, "squares of image_size"),
        ({"detect": {"crop_px": 64}}, "squares of image_size"),
        ({"task": "semantic", "settings_of_none": 1}, "no field"),
    ],
)
def test_settings_that_cannot_be_shared(change, words):
    with pytest.raises(ConfigError, match=words):
        shared_config({"task": "detect", **change}, "scenes:4")


def test_recipes_lose_what_suits_focalnets_only():
    config = shared_config({"task": "detect"}, "scenes:4")
    assert (config.pretrained, config.layer_decay, config.freeze_norms) == (None, 1.0, False)
    assert config.precision == "float32"
    with pytest.raises(ConfigError, match="precision auto"):
        runs.check_config(config.replace(precision="auto"))
    runs.check_config(config)
    with pytest.raises(ConfigError, match="frozen_stages"):
        runs.check_config(config.replace(frozen_stages=1))


def test_trainings_start_from_given_weights(coloured_images, tmp_path):
    timm = pytest.importorskip("timm")
    theirs = {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}
    save_file(timm.create_model("convnext_atto", num_classes=7, **theirs).state_dict(), tmp_path / "atto.safetensors")
    ours = create_model("focalnet_pico", embed_dim=8, depths=(1, 1, 1, 1), num_classes=3)
    save_checkpoint(ours, tmp_path / "pico.safetensors")
    names = [f"convnext_atto:depths=[1,1,1,1],dims=[8,16,24,32]@{tmp_path}/atto.safetensors",
             f"{TOY}@{tmp_path}/pico.safetensors"]  # fmt: skip
    inside = {
        names[0]: load_file(tmp_path / "atto.safetensors")["stem.0.weight"],
        names[1]: load_file(tmp_path / "pico.safetensors")["stages.1.downsample.convolutions.0.weight"],
    }
    for task, labels in ((build_task("semantic"), ("a", "b")), (build_task("classify"), ("a", "b"))):
        for name in names:
            module = build_compared(model_of(name), task, labels, size_px=64, drop_path=0.0)
            tensors = list(module.state_dict().values())
            assert any(each.shape == inside[name].shape and torch.equal(each, inside[name]) for each in tensors)
            assert module.training
    config = TrainingConfig(**{**SMALL, "image_size": 32}, device="cpu")
    table = train_all(find_models(names), config, coloured_images, tmp_path / "out", seeds=1)
    assert [row.failed for row in table.rows] == [{}, {}]
    kept = [runs.RunFolder(path.parent).read_config() for path in sorted((tmp_path / "out").rglob("config.yaml"))]
    assert all(each.pretrained is not None for each in kept)
    assert train_all(find_models(names), config, coloured_images, tmp_path / "out", seeds=1).rows == table.rows


def test_weights_that_do_not_fit(tmp_path):
    timm = pytest.importorskip("timm")
    save_file(timm.create_model("convnext_atto").state_dict(), tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    task = build_task("semantic")
    for name, words in (
        (f"resnet18@{tmp_path}/other.safetensors", "holds nothing for"),
        (f"convnext_atto@{tmp_path}/damaged.safetensors", "cannot be read"),
        ("focalnet_pico:embed_dim=8@focalnet_pico.imagenette", "another network"),
    ):
        with pytest.raises(CheckpointError, match=words):
            build_compared(model_of(name), task, ("a", "b"), size_px=64)
    with pytest.raises(CheckpointError, match="no weights"):
        model_of("convnext_atto@nowhere.safetensors")
    with pytest.raises(ConfigError, match="NAME@WEIGHTS"):
        model_of("convnext_atto@")
    with pytest.raises(ConfigError, match="random weights"):
        model_of("pooling@file")


class _Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_weights_of_timm_are_read_without_executing_anything(tmp_path):
    timm = pytest.importorskip("timm")
    torch.save({"state_dict": _Hostile(tmp_path / "executed")}, tmp_path / "hostile.pth")
    task = build_task("semantic")
    with pytest.raises(CheckpointError, match="can execute code"):
        build_compared(model_of(f"resnet18@{tmp_path}/hostile.pth"), task, ("a", "b"), size_px=64)
    assert not (tmp_path / "executed").exists()

    torch.save({"state_dict": timm.create_model("resnet18").state_dict()}, tmp_path / "wrapped.pth")
    network = build_module(model_of(f"resnet18@{tmp_path}/wrapped.pth"), size_px=64, num_classes=3)
    expected = torch.load(tmp_path / "wrapped.pth", weights_only=True)["state_dict"]["layer1.0.conv1.weight"]
    assert torch.equal(network.state_dict()["layer1.0.conv1.weight"], expected)
    assert "state_dict" not in network.pretrained_cfg
