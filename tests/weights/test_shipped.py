"""The network inside the package: found by name, offline, the same whatever happens around it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from tests.conftest import IMAGENETTE

import focalnets
from focalnets.cli.main import main
from focalnets.data.scenes.generator import VAL_OFFSET, SceneGenerator
from focalnets.errors import CheckpointError
from focalnets.training.config import TrainingConfig
from focalnets.weights import shipped
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.shipped import DEFAULT, SHIPPED, shipped_for_variant

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


def test_it_is_loaded_by_its_name_and_by_that_of_its_variant(
    shipped_stand_in: focalnets.FocalNet, no_network: None
) -> None:
    expected = shipped_stand_in.state_dict()["head.weight"].half().float()
    for model in (
        focalnets.load_model("focalnet_pico.imagenette"),
        focalnets.load_model("focalnet_pico"),
        focalnets.create_model("focalnet_pico", num_classes=10, pretrained=True),
    ):
        assert torch.equal(model.head.weight, expected)
        assert model.head.weight.dtype == torch.float32
        assert model.class_names == IMAGENETTE
        assert not model.training
    fresh = focalnets.create_model("focalnet_pico", num_classes=3, pretrained=True, drop_path=0.1)
    assert fresh(IMAGES).shape == (2, 3)
    assert focalnets.inspect_checkpoint("focalnet_pico.imagenette").variant == "focalnet_pico"


def test_what_it_knows_is_read_from_its_file(shipped_stand_in: focalnets.FocalNet) -> None:
    row = SHIPPED["focalnet_pico.imagenette"]
    assert row.class_names == IMAGENETTE
    assert (row.input_size_px, row.top1_percent, row.variant) == (128, 93.75, "focalnet_pico")
    assert row.size_bytes == row.weights.stat().st_size
    assert shipped_for_variant("focalnet_pico") == row
    assert shipped_for_variant("focalnet_nano") is None


def test_a_file_of_that_name_goes_first(
    shipped_stand_in: focalnets.FocalNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = focalnets.FocalNet(shipped_stand_in.config.replace(depths=(1, 1, 1, 1)))
    save_checkpoint(other, tmp_path / "here" / "focalnet_pico.imagenette" / "best.safetensors")
    monkeypatch.chdir(tmp_path / "here")
    assert focalnets.load_model("focalnet_pico.imagenette").config.depths == (1, 1, 1, 1)


def test_an_installation_without_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_network: None) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(CheckpointError, match=r"missing in this installation .*; install focalnets again"):
        focalnets.load_model("focalnet_pico.imagenette")
    with pytest.raises(CheckpointError, match="No weights of focalnet_pico are published"):
        focalnets.load_model("focalnet_pico")


def test_the_trained_network_keeps_the_promises(no_network: None) -> None:
    row = SHIPPED[DEFAULT]
    assert row.size_bytes <= 10_000_000
    model = focalnets.load_model(DEFAULT)
    assert set(row.class_names) == set(IMAGENETTE)
    assert model.class_names == row.class_names
    assert sum(parameter.numel() for parameter in model.parameters()) <= 5_000_000
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert model(IMAGES).isfinite().all()
    assert focalnets.inspect_checkpoint(DEFAULT).variant == row.variant
    assert row.top1_percent is not None


def test_the_trained_network_is_unsure_of_what_it_does_not_know(no_network: None) -> None:
    network = focalnets.load(device="cpu")
    assert network.task.for_model(network.network).threshold == network.network.threshold
    generator, rng = SceneGenerator(image_size_px=128), np.random.default_rng(0)
    kinds = {
        "blanks": [Image.new("RGB", (128, 128), colour) for colour in ("blue", "black", "white", "orange")],
        "noise": [rng.integers(0, 256, (128, 128, 3), dtype=np.uint8) for _ in range(4)],
        "scenes": [generator.scene(VAL_OFFSET + number).image for number in range(4)],
    }
    for name, pictures in kinds.items():
        results = network.predict(pictures)
        assert np.mean([result.confidences[0] for result in results]) <= 0.3, name
        assert all(result.verdict == "none of the ten, as it seems" for result in results), name


@pytest.mark.data
@pytest.mark.slow
def test_evaluating_the_trained_network_gives_the_promised_accuracy(no_network: None, tmp_path: Path) -> None:
    images = Path(__file__).parents[3] / "shared" / "data" / "imagenette" / "val"
    assert main(["evaluate", str(images), "--json", str(tmp_path / "result.json")]) == 0
    measured = 100 * json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["top1"]
    promised = SHIPPED[DEFAULT].top1_percent
    assert promised is not None
    assert measured == pytest.approx(promised, abs=0.1)  # the training measured float32 weights


def test_how_the_trained_network_came_about_lies_beside_it() -> None:
    folder = SHIPPED[DEFAULT].folder
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.safetensors", "README.md", "config.yaml", "metrics.csv", "log.txt"}
    config = TrainingConfig.from_dict(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    assert config.model == SHIPPED[DEFAULT].variant
    assert "focalnets train" in (folder / "README.md").read_text(encoding="utf-8")
    with safe_open(SHIPPED[DEFAULT].weights, framework="pt") as file:
        metadata = file.metadata()
    texts = [(folder / name).read_text(encoding="utf-8") for name in sorted(names - {"model.safetensors"})]
    for text in [*texts, *metadata.values()]:
        assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users|mnt)/", text), "a path of somebody's machine"
    assert json.loads(metadata["focalnets.stored_dtype"]) == "float16"
