"""Checkpoints of any task: every kind of input comes back, and what contradicts itself is neither written nor read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.weights.networks import draw, drawn, small_config
from tests.weights.test_hostile_files import as_format_1
from torch import Tensor, nn

import focalnets
from focalnets import FocalNet, FocalNetConfig, Preprocessing
from focalnets.cli.main import main
from focalnets.errors import CheckpointError, ConfigError
from focalnets.models.config import ClipInput, InputSpec, TextInput
from focalnets.weights.assembly import assemble_into
from focalnets.weights.checkpoint import describe, save_checkpoint, write_safetensors
from focalnets.weights.description import Description, read_description
from focalnets.weights.loading import build_classifier, inspect_checkpoint, load_checkpoint, open_trained
from focalnets.weights.shipped import DEFAULT, SHIPPED

SPECS: dict[str, InputSpec] = {
    "image": Preprocessing(input_size_px=64, crop_fraction=1.0),
    "clip": ClipInput(input_size_px=64, frames=8, frame_step=2),
    "text": TextInput(context_length=64, unit="characters", vocabulary="letters", vocabulary_size=30),
}
BACKBONE = small_config("srf", pyramid_norms=True, num_classes=0)
LABELS = ("leaf", "blätter", "\udcff not UTF-8")


class Counting(nn.Module):
    """What a task builds: a backbone, a head and what a checkpoint must say."""

    def __init__(self, config: FocalNetConfig, outputs: int, spec: InputSpec, labels: tuple[str, ...] | None) -> None:
        super().__init__()
        self.config, self.preprocessing, self.class_names = config, spec, labels
        self.origin = "random weights"
        self.backbone = FocalNet(config)
        self.head = nn.Conv2d(config.dims[-1], outputs, 1)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone.forward_pyramid(images)[-1]).sum((2, 3))


def counting(kind: str = "image", labels: tuple[str, ...] | None = LABELS, **changes: Any) -> Counting:
    model = Counting(BACKBONE.replace(**changes), 3, SPECS[kind], labels).eval()
    draw(model)
    return model


HEAD = {"kind": "counting", "outputs": 3, "strides": [8, 16], "fraction": 0.25, "more": {"a": None, "b": True}}


@pytest.mark.parametrize("labels", [LABELS, None])
@pytest.mark.parametrize("kind", SPECS)
def test_round_trip_of_any_task(tmp_path: Path, kind: str, labels: tuple[str, ...] | None) -> None:
    model = counting(kind, labels)
    save_checkpoint(model, tmp_path / "run" / "best.safetensors", notes={"epoch": "3"}, task="count", head=HEAD)
    opened = open_trained(tmp_path / "run")
    assert opened.description is not None
    assert opened.description.notes == {"epoch": "3"}
    found = opened.recognition
    assert (found.task, found.config, found.head, found.input, found.labels) == (
        "count",
        BACKBONE,
        HEAD,
        SPECS[kind],
        labels,
    )
    assert type(found.input) is type(SPECS[kind])
    assert inspect_checkpoint(tmp_path / "run") == found
    for device in ("cpu", "meta"):
        with torch.device(device):
            again = Counting(found.config, found.head["outputs"], found.input, found.labels)
        again.train()
        assemble_into(again, opened.tensors, opened.place)
        again.origin = opened.origin
        assert not again.training
        assert again.origin == f"{tmp_path / 'run' / 'best.safetensors'}, descended from random weights"
        for name, tensor in model.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor), name
        images = torch.randn(1, 3, 32, 32)
        assert torch.equal(again(images), model(images))


def test_what_is_read_of_another_task_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_checkpoint(counting("clip"), path, task="count", head=HEAD)
    text = str(inspect_checkpoint(path))
    assert "task count, head counting of 3 outputs, input clip, focalnets layout" in text
    save_checkpoint(
        Counting(focalnets.create_model("focalnet_tiny_srf", pyramid_norms=True).config, 3, SPECS["image"], None),
        path,
        task="count",
        head={"kind": "counting"},
    )
    assert inspect_checkpoint(path).variant == "focalnet_tiny_srf"
    assert "head counting, input image" in str(inspect_checkpoint(path))


def test_load_model_names_the_task_and_what_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.safetensors"
    save_checkpoint(counting("text"), path, task="count", head=HEAD)
    sentence = r"w\.safetensors holds a network for the task 'count' .* focalnets\.load reads it"
    for load in (focalnets.load_model, load_checkpoint, lambda source: build_classifier(open_trained(source))):
        with pytest.raises(CheckpointError, match=sentence):
            load(path)
    assert main(["convert", str(path), str(tmp_path / "out.pth"), "--to", "official"]) == 2
    captured = capsys.readouterr()
    assert "task count, head counting" in captured.out
    assert "focalnets.load reads it" in captured.err
    with pytest.raises(ConfigError, match="kind text is not prepared as images"):
        _ = inspect_checkpoint(path).preprocessing


def test_a_classifier_is_opened_like_any_other_task(tmp_path: Path) -> None:
    model = drawn(small_config("srf"), class_names=[f"c{index}" for index in range(11)])
    save_checkpoint(model, tmp_path / "w.safetensors")
    opened = open_trained(tmp_path / "w.safetensors")
    assert (opened.recognition.task, opened.recognition.head) == ("classify", {"kind": "linear", "outputs": 11})
    assert opened.recognition.labels == opened.recognition.class_names == model.class_names
    assert torch.equal(build_classifier(opened).head.weight, model.head.weight)


def test_assembling_is_all_or_nothing(tmp_path: Path) -> None:
    tensors = dict(counting().state_dict())
    model = counting()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    wrong: list[tuple[dict[str, Tensor], str]] = [
        ({name: tensor for name, tensor in tensors.items() if name != "head.bias"}, "1 missing: head.bias"),
        ({**tensors, "more": torch.zeros(1)}, "1 unexpected: more"),
        ({**tensors, "head.bias": torch.zeros(4)}, r"1 mis-shaped: head\.bias \(4,\) instead of \(3,\)"),
        ({**tensors, "head.bias": torch.full((3,), torch.nan)}, "NaN or infinite"),
        ({**tensors, "head.bias": torch.zeros(3, dtype=torch.int64)}, "dense floating-point"),
        ({**tensors, "head.bias": torch.zeros(3).to_sparse()}, "sparse"),
        ({**tensors, "steps": torch.zeros(())}, "steps"),
    ]
    for changed, words in wrong:
        changed = {name: tensor + 1 if name.startswith("stem") else tensor for name, tensor in changed.items()}
        with pytest.raises(CheckpointError, match=words):
            assemble_into(model, changed, "file")
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_tied_weights_are_written_and_stay_tied(tmp_path: Path) -> None:
    model = counting()
    model.other = nn.Conv2d(BACKBONE.dims[-1], 3, 1)
    model.other.weight = model.head.weight
    save_checkpoint(model, tmp_path / "w.safetensors", task="count", head=HEAD)
    save_checkpoint(model, tmp_path / "half.safetensors", task="count", head=HEAD, dtype="float16")
    assert load_file(tmp_path / "half.safetensors")["other.weight"].dtype == torch.float16
    opened = open_trained(tmp_path / "w.safetensors")
    again = counting()
    again.other = nn.Conv2d(BACKBONE.dims[-1], 3, 1)
    again.other.weight = again.head.weight
    nn.init.zeros_(again.head.weight)
    assemble_into(again, opened.tensors, opened.place)
    assert again.other.weight is again.head.weight
    assert torch.equal(again.head.weight, model.head.weight)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"task": "Count"}, "a task is named by"),
        ({"head": None}, "give head"),
        ({"head": {}}, "kind is named by"),
        ({"head": {"kind": "x", "more": {1, 2}}}, "plain JSON"),
        ({"head": {"kind": "x", "more": float("nan")}}, "plain JSON"),
        ({"head": {"kind": "x", "more": (1, 2)}}, "plain JSON"),
        ({"head": {"kind": "x", 3: 4}}, "plain JSON"),
        ({"head": {"kind": "x", "outputs": 4}}, "names 3 classes for 4 outputs"),
        ({"notes": {"epoch": 3}}, "must be texts"),
        ({"task": "classify", "head": HEAD}, "contradicts its config"),
    ],
)
def test_what_would_not_be_read_is_not_written(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        save_checkpoint(counting(), tmp_path / "w.safetensors", **{"task": "count", "head": HEAD, **changed})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lost", ["config", "preprocessing", "class_names", "origin"])
def test_networks_that_do_not_say_what_they_are_are_refused(tmp_path: Path, lost: str) -> None:
    model = counting()
    delattr(model, lost)
    with pytest.raises(CheckpointError, match=f"Counting lacks {lost}"):
        save_checkpoint(model, tmp_path / "w.safetensors", task="count", head=HEAD)
    setattr(model, lost, 3)
    with pytest.raises((ConfigError, TypeError)):
        describe(model, task="count", head=HEAD) if lost != "origin" else describe(nn.Linear(1, 1))


def test_statistics_of_other_channels_are_not_written(tmp_path: Path) -> None:
    model = counting(in_chans=4)
    with pytest.raises(CheckpointError, match="each of the 4 channels of the network, got 3"):
        save_checkpoint(model, tmp_path / "w.safetensors", task="count", head=HEAD)
    grey = drawn(small_config("srf", in_chans=1))
    assert grey.preprocessing.channels == 1
    grey.preprocessing = Preprocessing()
    with pytest.raises(CheckpointError, match="each of the 1 channels of the network, got 3"):
        save_checkpoint(grey, tmp_path / "w.safetensors")


HELD = r"than its .* tensors with .* numbers can hold"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"depths": [1, 2, 1, 9999]}, HELD),
        ({"depths": [1] * 16, "focal_levels": [0] * 16, "focal_windows": [3] * 16}, HELD),
        ({"focal_levels": [2, 2, 2, 100]}, HELD),
        ({"embed_dim": 2**20}, HELD),
        ({"mlp_ratio": 1e300}, HELD),
        ({"focal_windows": [3, 3, 3, 9999]}, HELD),
        ({"depths": [1, 2, 1, 10**9]}, "depths may be at most"),
        ({"depths": [1] * 100_000, "focal_levels": [0] * 100_000, "focal_windows": [3] * 100_000}, "at most 16 stages"),
        ({"focal_levels": [2, 2, 2, 10**9]}, "focal_levels may be at most"),
        ({"embed_dim": 10**12}, "embed_dim may be at most"),
        ({"mlp_ratio": 10**300}, "no valid JSON"),
        ({"focal_windows": [3, 3, 3, 100_001]}, "focal_windows may be at most"),
    ],
)
@pytest.mark.parametrize("kind", SPECS)
def test_a_backbone_larger_than_the_file_is_refused_at_once(
    tmp_path: Path, kind: str, config: dict[str, Any], words: str
) -> None:
    model = counting(kind)
    metadata = describe(model, task="count", head=HEAD)
    metadata["focalnets.config"] = json.dumps({**json.loads(metadata["focalnets.config"]), **config})
    write_safetensors(model.state_dict(), tmp_path / "w.safetensors", metadata)
    with pytest.raises(CheckpointError, match=words):
        open_trained(tmp_path / "w.safetensors")


def test_a_backbone_larger_than_its_tensors_is_not_written(tmp_path: Path) -> None:
    model = counting()
    model.config = model.config.replace(depths=(2, 2, 18, 2))
    with pytest.raises(CheckpointError, match="can hold"):
        save_checkpoint(model, tmp_path / "w.safetensors", task="count", head=HEAD)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["srf", "uneven", "fl3"])
def test_format_1_reads_as_a_classifier_of_images(tmp_path: Path, name: str) -> None:
    model = drawn(small_config(name), class_names=[f"c{index}" for index in range(11)])
    metadata = as_format_1(describe(model, {"epoch": "3"}, "float32"))
    write_safetensors(model.state_dict(), tmp_path / "w.safetensors", metadata)
    opened = open_trained(tmp_path / "w.safetensors")
    assert opened.description == Description(
        task="classify",
        config=model.config,
        head={"kind": "linear", "outputs": 11},
        input=model.preprocessing,
        labels=model.class_names,
        notes={"epoch": "3"},
        origin="random weights",
        stored_dtype="float32",
        version=focalnets.__version__,
    )
    loaded = focalnets.load_model(tmp_path / "w.safetensors")
    assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in model.state_dict().items())
    assert (loaded.class_names, loaded.preprocessing) == (model.class_names, model.preprocessing)


def test_format_1_kept_the_usual_statistics_whatever_the_channels(tmp_path: Path) -> None:
    model = drawn(small_config("srf", in_chans=4))
    metadata = as_format_1(describe(model))
    metadata["focalnets.preprocessing"] = json.dumps(
        {key: value for key, value in Preprocessing().to_dict().items() if key != "kind"}
    )
    write_safetensors(model.state_dict(), tmp_path / "w.safetensors", metadata)
    assert focalnets.load_model(tmp_path / "w.safetensors").preprocessing == Preprocessing().with_channels(4)


def test_the_shipped_network_is_of_format_2_and_loads_bit_by_bit() -> None:
    path = SHIPPED[DEFAULT].weights
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["focalnets.format_version"] == "2"
        description = read_description(file.metadata(), str(path))
    assert description is not None
    assert description.task == "classify"
    assert description.head == {"kind": "linear", "outputs": 10, "threshold": description.threshold}
    assert 0.0 < (description.threshold or 0.0) < 1.0
    kept = load_file(path)
    loaded = focalnets.load_model(DEFAULT).state_dict()
    assert loaded.keys() == kept.keys()
    for name, tensor in kept.items():
        assert torch.equal(loaded[name], tensor.float() if tensor.is_floating_point() else tensor), name


def test_what_the_shipped_table_tells_is_read_from_both_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from focalnets.weights import shipped

    row = SHIPPED[DEFAULT]
    expected = (row.class_names, row.input_size_px, row.top1_percent)
    opened = open_trained(DEFAULT)
    assert opened.description is not None
    save_checkpoint(build_classifier(opened), tmp_path / DEFAULT / "model.safetensors", notes=opened.description.notes)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert (row.class_names, row.input_size_px, row.top1_percent) == expected
