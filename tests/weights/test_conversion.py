"""What we write, the peers read with their own loaders, and compute the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from tests.weights.networks import COMBINATIONS, ISOTROPIC, drawn, relative_error, small_config, timm_network
from torch import nn

import focalnets
from focalnets import FocalNet, FocalNetConfig, Preprocessing
from focalnets.errors import CheckpointError, UnknownNameError
from focalnets.models.variants import VARIANTS
from focalnets.weights.conversion import save_in_layout, why_inexpressible
from focalnets.weights.loading import inspect_checkpoint

IMAGES = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
NAMES = tuple(f"thing {index}" for index in range(11))


@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name != "uneven"])
def test_transformers_reads_what_we_write(tmp_path: Path, name: str) -> None:
    from transformers import FocalNetForImageClassification

    preprocessing = Preprocessing(input_size_px=192, crop_fraction=0.75)
    model = drawn(small_config(name), class_names=NAMES, preprocessing=preprocessing)
    written = save_in_layout(model, tmp_path / "out", "transformers")
    assert {path.name for path in written} == {path.name for path in (tmp_path / "out").iterdir()}
    theirs, report = FocalNetForImageClassification.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values())
    with torch.no_grad():
        assert relative_error(theirs.eval()(IMAGES).logits, model(IMAGES)) < 1e-5
    assert theirs.config.id2label[3] == "thing 3"
    back = focalnets.load_model(tmp_path / "out")
    assert (back.config, back.class_names, back.preprocessing) == (model.config, NAMES, preprocessing)


def test_images_are_prepared_alike_in_transformers(tmp_path: Path) -> None:
    from PIL import Image
    from transformers import AutoImageProcessor

    model = drawn(small_config("srf"), preprocessing=Preprocessing(input_size_px=64, crop_fraction=0.8))
    save_in_layout(model, tmp_path, "transformers")
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    pixels = processor(Image.new("RGB", (120, 90), (255, 0, 128)), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 64, 64)
    means, deviations = model.preprocessing.mean, model.preprocessing.std
    expected = [(pixel - mean) / std for pixel, mean, std in zip((1, 0, 128 / 255), means, deviations, strict=True)]
    assert pixels[0, :, 32, 32].tolist() == pytest.approx(expected, abs=1e-3)


def test_descriptions_alone_are_enough_without_our_metadata(tmp_path: Path) -> None:
    """Once another program has rewritten the weights, what remains is its config.json."""
    from transformers import FocalNetForImageClassification

    model = drawn(small_config("fl4_normalized"), class_names=NAMES)
    save_in_layout(model, tmp_path / "ours", "transformers")
    FocalNetForImageClassification.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    back = focalnets.load_model(tmp_path / "theirs")
    assert (back.config, back.class_names) == (model.config, NAMES)


def test_a_headless_network_becomes_the_bare_model_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoModel

    model = drawn(small_config("srf", num_classes=0))
    save_in_layout(model, tmp_path, "transformers")
    theirs, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    with torch.no_grad():
        assert relative_error(theirs.eval()(IMAGES).pooler_output, model(IMAGES)) < 1e-5


TIMM_FOLDERS = {
    "focalnet_tiny_lrf": {"num_classes": 7},
    "focalnet_tiny_srf_overlapped": {"num_classes": 7, "focal_windows": (5, 3, 3, 3), "normalize_modulator": True},
}


@pytest.mark.parametrize("name", TIMM_FOLDERS)
def test_timm_reads_our_folders(tmp_path: Path, name: str) -> None:
    config = VARIANTS[name].config.replace(**TIMM_FOLDERS[name])
    model = drawn(config, class_names=[f"c{index}" for index in range(config.num_classes)])
    save_in_layout(model, tmp_path / "out", "timm")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    with torch.no_grad():
        # In float64, because float32 rounds as much over the depth of a whole network as this would tolerate.
        assert relative_error(theirs.double()(IMAGES.double()), model.double()(IMAGES.double())) < 1e-12
    assert theirs.pretrained_cfg["label_names"][3] == "c3"
    data = timm.data.resolve_model_data_config(theirs)
    assert (list(data["input_size"]), data["crop_pct"]) == ([3, 224, 224], 0.875)
    back = focalnets.load_model(tmp_path / "out")
    assert (back.config, back.class_names, back.preprocessing) == (config, model.class_names, model.preprocessing)


@pytest.mark.parametrize("name", [name for name in sorted(VARIANTS) if name.endswith(("fl3", "fl4"))])
def test_timm_builds_the_large_variants_from_our_description(tmp_path: Path, name: str) -> None:
    from focalnets.weights.conversion import _timm_name

    config = VARIANTS[name].config.replace(num_classes=1)
    found = _timm_name(config)
    assert found is not None
    timm_name, arguments = found
    with torch.device("meta"):
        theirs = timm.create_model(timm_name, num_classes=config.num_classes, **arguments)
    assert timm_name == name
    block = theirs.layers[0].blocks[0]
    assert block.modulation.normalize_modulator == config.normalize_modulator


def test_our_folders_for_timm_need_no_metadata_of_ours(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    config = VARIANTS["focalnet_tiny_srf"].config.replace(normalize_modulator=True, num_classes=7)
    save_in_layout(drawn(config), tmp_path, "timm")
    save_file(load_file(tmp_path / "model.safetensors"), tmp_path / "model.safetensors")
    assert inspect_checkpoint(tmp_path).config == config


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize("layout", ["official", "timm"])
def test_single_files(tmp_path: Path, layout: str, suffix: str) -> None:
    model = drawn(small_config("huge_fl3"), class_names=NAMES)
    path = tmp_path / f"w{suffix}"
    assert save_in_layout(model, path, layout) == [path]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    back = focalnets.load_model(path, post_norm=True)
    assert torch.equal(back(IMAGES), model(IMAGES))
    if suffix == ".safetensors":
        assert (back.config, back.class_names) == (model.config, NAMES)
    else:
        content = torch.load(path, weights_only=True)
        assert set(content) == {"model"} if layout == "official" else "stem.proj.weight" in content
        # Every tensor in memory of its own: a view would carry the whole of what it views.
        assert path.stat().st_size < 2 * sum(tensor.numel() * 4 for tensor in model.state_dict().values())
    if layout == "timm" and suffix != ".safetensors":
        theirs: nn.Module = timm_network(model.config)
        theirs.load_state_dict(content, strict=True)


def test_our_own_layout_is_written_from_any_other(tmp_path: Path) -> None:
    model = drawn(small_config("srf"), class_names=NAMES)
    save_in_layout(model, tmp_path / "w.pth", "official")
    save_in_layout(focalnets.load_model(tmp_path / "w.pth"), tmp_path / "w.safetensors", "focalnets")
    assert inspect_checkpoint(tmp_path / "w.safetensors").layout == "focalnets"
    assert torch.equal(focalnets.load_model(tmp_path / "w.safetensors")(IMAGES), model(IMAGES))


@pytest.mark.parametrize(
    ("layout", "destination", "config", "words"),
    [
        ("timm", "w.pth", small_config("fl4_normalized"), "normalize_modulator"),
        ("timm", "w.pth", small_config("srf", stem="convolutional"), "convolutional stem"),
        ("official", "w.pth", small_config("srf", stem="convolutional"), "convolutional stem"),
        ("timm", "w.pth", small_config("srf", downsampling="double"), "two convolutions between stages"),
        ("transformers", "out", small_config("srf", stem="convolutional"), "convolutional stem"),
        ("timm", "w.pth", small_config("srf", pyramid_norms=True), "norms of a dense backbone"),
        ("transformers", "out", small_config("srf", pyramid_norms=True), "norms of a dense backbone"),
        ("official", "w.pth", small_config("overlapped", pyramid_norms=True), "stem_padding=2"),
        ("transformers", "out", small_config("overlapped", stem_padding=3), "stem_padding=3"),
        ("timm", "w.pth", FocalNetConfig.from_dict(ISOTROPIC), "4 px"),
        ("timm", "out", small_config("srf"), "no network of these depths"),
        ("transformers", "w.pth", small_config("srf"), "give a folder"),
        ("official", "out", small_config("srf"), "end the name in"),
        ("focalnets", "w.pth", small_config("srf"), "ends in .safetensors"),
    ],
)
def test_what_a_layout_cannot_express_is_refused_before_anything_is_written(
    tmp_path: Path, layout: str, destination: str, config: FocalNetConfig, words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        save_in_layout(FocalNet(config), tmp_path / destination, layout)
    assert not list(tmp_path.iterdir())


def test_dense_backbones_can_be_written_in_the_official_layout(tmp_path: Path) -> None:
    model = drawn(small_config("overlapped", pyramid_norms=True, num_classes=0, stem_padding=3))
    save_in_layout(model, tmp_path / "w.pth", "official")
    assert focalnets.load_model(tmp_path / "w.pth").config == model.config


def test_unknown_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="focalnets, official, timm, transformers"):
        save_in_layout(FocalNet(small_config("srf")), tmp_path / "w.pth", "keras")


def test_descriptions_are_plain_json(tmp_path: Path) -> None:
    save_in_layout(drawn(small_config("srf")), tmp_path, "transformers")
    content = json.loads((tmp_path / "config.json").read_text())
    assert content["id2label"]["10"] == "LABEL_10"
    assert why_inexpressible("transformers", small_config("uneven"), suffix="") is None
