"""Layout, variant and the flags that tensors do not show; descriptions beside the weights are evidence, not truth."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.weights.networks import drawn, relative_error, small_config, timm_network, transformers_network
from torch import Tensor

import focalnets
from focalnets.errors import CheckpointError
from focalnets.models.config import FocalNetConfig
from focalnets.models.variants import VARIANTS
from focalnets.weights.companions import read_companion, transformers_settings
from focalnets.weights.key_maps import expected_shapes, to_layout
from focalnets.weights.loading import inspect_checkpoint

LAYOUTS = ("official", "timm", "transformers")


def zeros(config: FocalNetConfig, layout: str) -> dict[str, Tensor]:
    """Tensors of a whole network over a single byte-sized memory, so that the largest ones cost nothing."""
    memory = torch.zeros(1)
    return {name: memory.expand(shape) for name, shape in expected_shapes(layout, config).items()}


@pytest.fixture(scope="module", params=[name for name in VARIANTS if VARIANTS[name].config.stem != "convolutional"])
def published(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_variant_is_recognised_with_its_invisible_flags(published: str, layout: str, tmp_path: Path) -> None:
    expected = VARIANTS[published].config
    if layout == "timm" and expected.patch_size != 4:
        return
    torch.save(zeros(expected, layout), tmp_path / "w.pth")
    recognition = inspect_checkpoint(tmp_path / "w.pth")
    assert (recognition.layout, recognition.variant) == (layout, published)
    assert recognition.config == expected
    assert recognition.preprocessing == VARIANTS[published].preprocessing
    assert recognition.num_classes == expected.num_classes
    assert len(recognition.class_names or ()) == expected.num_classes


def test_the_doubt_about_xlarge_fl4_is_noted(tmp_path: Path) -> None:
    torch.save(zeros(VARIANTS["focalnet_xlarge_fl4"].config, "official"), tmp_path / "w.pth")
    notes = inspect_checkpoint(tmp_path / "w.pth").notes
    assert any("is not known" in note and "normalize_modulator" in note for note in notes)
    chosen = inspect_checkpoint(tmp_path / "w.pth", normalize_modulator=True)
    assert chosen.config.normalize_modulator
    assert not any("is not known" in note for note in chosen.notes)


def test_a_dense_backbone_with_other_windows_keeps_the_flags_of_its_family(tmp_path: Path) -> None:
    config = VARIANTS["focalnet_large_fl4"].config.replace(
        focal_windows=(9, 9, 9, 9), pyramid_norms=True, num_classes=0, stem_padding=3
    )
    torch.save(zeros(config, "official"), tmp_path / "w.pth")
    recognition = inspect_checkpoint(tmp_path / "w.pth")
    assert recognition.variant is None
    assert recognition.config == config.replace(drop_path=0.0)
    assert any("normalize_modulator=True was taken from focalnet_large_fl4" in note for note in recognition.notes)


def test_flags_of_an_unknown_network_are_noted_as_a_guess(tmp_path: Path) -> None:
    config = small_config("fl4_normalized")
    torch.save(zeros(config, "official"), tmp_path / "w.pth")
    recognition = inspect_checkpoint(tmp_path / "w.pth")
    assert (recognition.config.post_norm, recognition.config.normalize_modulator) == (False, False)
    assert len([note for note in recognition.notes if "do not show" in note]) == 2
    chosen = inspect_checkpoint(tmp_path / "w.pth", post_norm=True, normalize_modulator=True)
    assert chosen.config == config.replace(layer_scale=1e-4)
    assert not chosen.notes


def test_a_flag_that_the_names_show_cannot_be_overridden(tmp_path: Path) -> None:
    torch.save(zeros(small_config("fl3"), "timm"), tmp_path / "w.pth")
    assert inspect_checkpoint(tmp_path / "w.pth").config.post_norm
    with pytest.raises(CheckpointError, match="post_norm is True"):
        inspect_checkpoint(tmp_path / "w.pth", post_norm=False)


def test_timm_forgets_the_normalised_modulator_and_ours_does_not(tmp_path: Path) -> None:
    """timm builds large_fl4 without it, loads the official weights without complaint, and computes something else."""
    config = small_config("fl4_normalized")
    model = drawn(config)
    theirs = timm_network(config.replace(normalize_modulator=False))
    theirs.load_state_dict(to_layout("timm", model.state_dict(), post_norm=True), strict=True)
    images = torch.randn(2, 3, 64, 64)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    loaded = focalnets.load_model(tmp_path / "w.safetensors", normalize_modulator=True)
    with torch.no_grad():
        assert relative_error(theirs(images), model(images)) > 0.01
        assert relative_error(loaded(images), model(images)) < 1e-6


def test_maps_of_ours_are_those_before_downsampling() -> None:
    """The backbone of transformers returns maps after downsampling, at strides 8, 16, 32 and 32."""
    from transformers import FocalNetBackbone
    from transformers import FocalNetConfig as TransformersConfig

    model = drawn(small_config("srf"))
    described = transformers_network(model.config).config.to_dict()
    del described["out_indices"]
    described |= {"hidden_sizes": [8, 16, 32, 64], "out_features": ["stage1", "stage2", "stage3", "stage4"]}
    with torch.no_grad():
        maps = FocalNetBackbone(TransformersConfig(**described))(torch.zeros(1, 3, 96, 64)).feature_maps
    assert [tuple(item.shape[1:]) for item in maps] == [(16, 12, 8), (32, 6, 4), (64, 3, 2), (64, 3, 2)]
    maps = model.forward_pyramid(torch.zeros(1, 3, 96, 64))
    assert [tuple(item.shape[1:]) for item in maps] == [(8, 24, 16), (16, 12, 8), (32, 6, 4), (64, 3, 2)]


def hub_folder(folder: Path, config: FocalNetConfig, **described: Any) -> Path:
    """A folder as transformers keeps one, with some fields of its config.json changed; None removes a field."""
    folder.mkdir(exist_ok=True)
    save_file(
        {name: tensor.clone() for name, tensor in zeros(config, "transformers").items()}, folder / "model.safetensors"
    )
    content = {"model_type": "focalnet", **transformers_settings(config), **described}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return folder


def test_a_description_settles_flags_of_unknown_networks(tmp_path: Path) -> None:
    config = small_config("fl4_normalized")
    recognition = inspect_checkpoint(hub_folder(tmp_path / "hub", config))
    assert recognition.config == config
    assert not recognition.notes


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"depths": [1, 2, 2, 1]}, "depths"),
        ({"focal_levels": [3, 3, 3, 3]}, "focal_levels"),
        ({"focal_windows": [5, 5, 5, 5]}, "focal_windows"),
        ({"use_conv_embed": True}, "stem"),
        ({"use_layerscale": True}, "layer_scale"),
        ({"use_post_layernorm_in_modulation": True}, "modulation_norm"),
        ({"embed_dim": 16}, "embed_dim"),
        ({"num_channels": 1}, "in_chans"),
        ({"id2label": {"0": "a", "1": "b"}}, "num_classes"),
        ({"id2label": {"0": "a", "7": "b"}}, "malformed"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps"),
        ({"depths": 4}, "malformed"),
        ({"depths": [1]}, "describes no network"),
    ],
)
def test_a_description_that_contradicts_the_tensors_is_refused(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        focalnets.load_model(hub_folder(tmp_path / "hub", small_config("srf"), **changed))


def test_malformed_descriptions_are_refused(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", small_config("srf"))
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read as JSON"):
        focalnets.load_model(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", {"use_layerscale": True, "layerscale_value": "x"}),
        ("config.json", {"depths": 3}),
        ("config.json", {"id2label": {"7": "a"}}),
        ("preprocessor_config.json", {"rescale_factor": 0, "image_mean": [0.5], "image_std": [0.2], "size": 32}),
        ("preprocessor_config.json", {"resample": [], "image_mean": [0.5], "image_std": [0.2], "size": 32}),
        ("preprocessor_config.json", {"size": "x"}),
        ("preprocessor_config.json", {"size": {"shortest_edge": {"a": 1}}}),
    ],
)
def test_values_of_other_kinds_in_descriptions_are_whole_sentences(
    tmp_path: Path, name: str, content: dict[str, Any]
) -> None:
    described = {"model_type": "focalnet", **(content if name == "config.json" else {})}
    (tmp_path / "config.json").write_text(json.dumps(described))
    (tmp_path / name).write_text(json.dumps(described if name == "config.json" else content))
    with pytest.raises(CheckpointError) as caught:
        read_companion(tmp_path)
    message = str(caught.value)
    assert name in message
    assert message.endswith(").")
    assert "of another kind or size than expected" in message


def test_descriptions_of_something_else_are_passed_over(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", small_config("srf"), model_type="resnet")
    assert inspect_checkpoint(folder).layout == "transformers"


def test_published_networks_keep_bicubic_resizing_whatever_a_conversion_says(tmp_path: Path) -> None:
    config = VARIANTS["focalnet_tiny_srf"].config
    folder = hub_folder(tmp_path / "hub", config)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "crop_size": {"height": 224, "width": 224},
                "size": {"shortest_edge": 256},
                "resample": 2,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
            }
        )
    )
    assert inspect_checkpoint(folder).preprocessing == VARIANTS["focalnet_tiny_srf"].preprocessing
    fine_tuned = hub_folder(folder, config.replace(num_classes=7))
    assert inspect_checkpoint(fine_tuned).preprocessing.interpolation == "bilinear"
    assert inspect_checkpoint(fine_tuned).preprocessing.crop_fraction == 224 / 256


GOOD = {"input_size": [3, 224, 224], "crop_pct": 0.9, "mean": [0.5] * 3, "std": [0.5] * 3}

HOSTILE_PREPARATIONS = [
    ("mean", [0.5], "mean and std must have one entry for each channel"),
    ("both", [0.5], "each of the 3 channels of the network, got 1"),
    ("mean", [float("nan")] * 3, "NaN is no number of JSON"),
    ("mean", [1e300] * 3, "mean must be finite"),
    ("mean", "bright", "mean"),
    ("mean", 0.5, "not iterable"),
    ("std", [0.5, 0.0, 0.5], "std must be finite"),
    ("std", [float("inf")] * 3, "Infinity is no number of JSON"),
    ("std", [1e-30] * 3, "std must be finite"),
    ("size", 20_000, "from 1 to 8,192, got 20000"),
    ("size", 10**9, "from 1 to 8,192"),
    ("size", float("inf"), "Infinity is no number of JSON"),
    ("size", -5, "from 1 to 8,192"),
    ("size", [], "cannot be prepared"),
]


@pytest.mark.parametrize(("key", "value", "words"), HOSTILE_PREPARATIONS)
@pytest.mark.parametrize("package", ["timm", "transformers"])
def test_preparation_that_no_network_can_mean_is_refused(
    tmp_path: Path, package: str, key: str, value: Any, words: str
) -> None:
    config = small_config("srf")
    file = tmp_path / "hub" / ("config.json" if package == "timm" else "preprocessor_config.json")
    if package == "timm":
        (tmp_path / "hub").mkdir()
        tensors = {name: tensor.clone() for name, tensor in zeros(config, "timm").items()}
        save_file(tensors, tmp_path / "hub" / "model.safetensors")
        published: dict[str, Any] = dict(GOOD)
        if key == "size":
            published["input_size"] = [3, value, value]
        else:
            published |= dict.fromkeys(("mean", "std") if key == "both" else (key,), value)
        content: dict[str, Any] = {"architecture": "focalnet_other", "pretrained_cfg": published}
    else:
        hub_folder(tmp_path / "hub", config)
        content = {"size": 256, "crop_size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        if key == "size":
            content["crop_size"] = {"height": value, "width": value}
        else:
            content |= dict.fromkeys(("image_mean", "image_std") if key == "both" else (f"image_{key}",), value)
    file.write_text(json.dumps(content))
    if package == "transformers" and value == []:
        assert inspect_checkpoint(tmp_path / "hub").preprocessing.input_size_px == 256
        return
    with pytest.raises(CheckpointError, match=words) as caught:
        focalnets.load_model(tmp_path / "hub")
    assert file.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_statistics_on_another_scale_are_brought_to_ours(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", small_config("srf"))
    content = {"size": 256, "image_mean": [124.95] * 3, "image_std": [58.65] * 3, "do_rescale": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    preprocessing = inspect_checkpoint(folder).preprocessing
    assert preprocessing.mean == pytest.approx((0.49,) * 3)
    assert preprocessing.std == pytest.approx((0.23,) * 3)
    (folder / "preprocessor_config.json").write_text(json.dumps({**content, "do_rescale": True, "do_normalize": False}))
    assert inspect_checkpoint(folder).preprocessing.std == (1.0,) * 3
    (folder / "preprocessor_config.json").write_text(json.dumps({**content, "do_rescale": True, "rescale_factor": 0}))
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json describes images that cannot be prepared"):
        inspect_checkpoint(folder)


def test_a_flag_that_conversions_forget_is_taken_from_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = VARIANTS["focalnet_large_fl4"]
    small = row.config.replace(embed_dim=8, num_classes=11)
    monkeypatch.setitem(VARIANTS, row.name, dataclasses.replace(row, config=small))
    recognition = inspect_checkpoint(hub_folder(tmp_path / "a", small, normalize_modulator=False))
    assert recognition.config.normalize_modulator
    assert any("conversions forget" in note for note in recognition.notes)
    assert not inspect_checkpoint(tmp_path / "a", normalize_modulator=False).config.normalize_modulator
    plain = small.replace(normalize_modulator=False)
    monkeypatch.setitem(VARIANTS, row.name, dataclasses.replace(row, config=plain))
    recognition = inspect_checkpoint(hub_folder(tmp_path / "b", small, normalize_modulator=True))
    assert recognition.config.normalize_modulator
    assert any("is followed" in note for note in recognition.notes)


def test_folders_that_transformers_wrote_are_read(tmp_path: Path) -> None:
    config = small_config("huge_fl3", layer_scale=1e-4)
    theirs = transformers_network(config)
    theirs.save_pretrained(tmp_path / "whole")
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    theirs.focalnet.save_pretrained(tmp_path / "headless")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(images).logits
        for folder in ("whole", "shards"):
            loaded = focalnets.load_model(tmp_path / folder)
            assert loaded.config == config
            assert relative_error(loaded(images), expected) < 1e-5
        headless = focalnets.load_model(tmp_path / "headless")
        assert headless.config == config.replace(num_classes=0)
        assert relative_error(headless(images), theirs.focalnet(images).pooler_output) < 1e-5


def test_lost_and_inconsistent_shards_are_refused(tmp_path: Path) -> None:
    transformers_network(small_config("srf")).save_pretrained(tmp_path, max_shard_size="20KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    first = sorted(set(index["weight_map"].values()))[0]
    (tmp_path / first).rename(tmp_path / "lost")
    with pytest.raises(CheckpointError, match="There is no file"):
        focalnets.load_model(tmp_path)
    (tmp_path / "lost").rename(tmp_path / first)
    name = next(iter(index["weight_map"]))
    index["weight_map"]["absent"] = index["weight_map"].pop(name)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="does not agree with its files about 2 tensors"):
        focalnets.load_model(tmp_path)


def test_class_names_come_from_the_description_or_from_imagenet(tmp_path: Path) -> None:
    config = small_config("srf", num_classes=3)
    folder = hub_folder(tmp_path / "hub", config, id2label={"0": "cat", "1": "dog", "2": "owl"})
    assert inspect_checkpoint(folder).class_names == ("cat", "dog", "owl")
    generic = hub_folder(tmp_path / "hub", config, id2label={str(i): f"LABEL_{i}" for i in range(3)})
    assert inspect_checkpoint(generic).class_names is None
    torch.save(zeros(small_config("srf", num_classes=1000), "official"), tmp_path / "1k.pth")
    recognition = inspect_checkpoint(tmp_path / "1k.pth")
    assert recognition.class_names is not None
    assert recognition.class_names[0] == "tench, Tinca tinca"
    assert any("ImageNet-1K" in note for note in recognition.notes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_numbers_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    model = drawn(small_config("srf"))
    tensors = {
        name: tensor.to(dtype) for name, tensor in to_layout("timm", model.state_dict(), post_norm=False).items()
    }
    save_file(tensors, tmp_path / "w.safetensors")
    loaded = focalnets.load_model(tmp_path / "w.safetensors")
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    assert torch.equal(loaded.head.weight, model.head.weight.to(dtype).float())
    assert any("converted to float32" in note for note in inspect_checkpoint(tmp_path / "w.safetensors").notes)


def test_what_was_recognised_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(to_layout("timm", drawn(small_config("srf")).state_dict(), post_norm=False), tmp_path / "w.pth")
    with caplog.at_level(logging.INFO, logger="focalnets"):
        loaded = focalnets.load_model(tmp_path / "w.pth")
    assert "timm layout" in caplog.text
    assert "w.pth" in loaded.origin
    assert not loaded.training
