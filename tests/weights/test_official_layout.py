"""The official layout, for which there is no package to compare with: its names are written out here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.weights.networks import COMBINATIONS, ISOTROPIC, drawn, small_config
from torch import Tensor

import focalnets
from focalnets.models.variants import VARIANTS
from focalnets.weights.key_maps import expected_shapes, from_layout, to_layout
from focalnets.weights.loading import inspect_checkpoint


def block(stage: int, index: int, channels: int, levels: int, kernel: int, flags: dict[str, bool]) -> dict[str, tuple]:
    at = f"layers.{stage}.blocks.{index}."
    names = {
        "norm1.weight": (channels,),
        "norm1.bias": (channels,),
        "modulation.f.weight": (2 * channels + levels + 1, channels),
        "modulation.f.bias": (2 * channels + levels + 1,),
        "modulation.h.weight": (channels, channels, 1, 1),
        "modulation.h.bias": (channels,),
        "modulation.proj.weight": (channels, channels),
        "modulation.proj.bias": (channels,),
        "norm2.weight": (channels,),
        "norm2.bias": (channels,),
        "mlp.fc1.weight": (4 * channels, channels),
        "mlp.fc1.bias": (4 * channels,),
        "mlp.fc2.weight": (channels, 4 * channels),
        "mlp.fc2.bias": (channels,),
    }
    for level in range(levels):
        size = kernel + 2 * level
        names[f"modulation.focal_layers.{level}.0.weight"] = (channels, 1, size, size)
    if flags["scaled"]:
        names |= {"gamma_1": (channels,), "gamma_2": (channels,)}
    if flags["normed"]:
        names |= {"modulation.ln.weight": (channels,), "modulation.ln.bias": (channels,)}
    return {at + name: shape for name, shape in names.items()}


def official_shapes(
    depths: tuple[int, ...],
    dim: int,
    levels: int,
    kernel: int,
    classes: int,
    *,
    overlapped: bool = False,
    **flags: bool,
) -> dict[str, tuple]:
    flags = {"scaled": False, "normed": False, **flags}
    stem = 7 if overlapped else 4
    shapes: dict[str, tuple] = {
        "patch_embed.proj.weight": (dim, 3, stem, stem),
        "patch_embed.proj.bias": (dim,),
        "patch_embed.norm.weight": (dim,),
        "patch_embed.norm.bias": (dim,),
    }
    for stage, depth in enumerate(depths):
        channels = dim * 2**stage
        for index in range(depth):
            shapes |= block(stage, index, channels, levels, kernel, flags)
        if stage < len(depths) - 1:  # at the end of the stage, widening to the next one
            size = 3 if overlapped else 2
            shapes |= {
                f"layers.{stage}.downsample.proj.weight": (2 * channels, channels, size, size),
                f"layers.{stage}.downsample.proj.bias": (2 * channels,),
                f"layers.{stage}.downsample.norm.weight": (2 * channels,),
                f"layers.{stage}.downsample.norm.bias": (2 * channels,),
            }
    last = dim * 2 ** (len(depths) - 1)
    shapes |= {"norm.weight": (last,), "norm.bias": (last,), "head.weight": (classes, last), "head.bias": (classes,)}
    return shapes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("focalnet_tiny_srf", official_shapes((2, 2, 6, 2), 96, 2, 3, 1000)),
        ("focalnet_base_lrf", official_shapes((2, 2, 18, 2), 128, 3, 3, 1000)),
        ("focalnet_small_srf_overlapped", official_shapes((2, 2, 18, 2), 96, 2, 3, 1000, overlapped=True)),
        ("focalnet_large_fl3", official_shapes((2, 2, 18, 2), 192, 3, 5, 21842, overlapped=True, scaled=True)),
        ("focalnet_large_fl4", official_shapes((2, 2, 18, 2), 192, 4, 3, 21842, overlapped=True, scaled=True)),
        (
            "focalnet_huge_fl4",
            official_shapes((2, 2, 18, 2), 352, 4, 3, 21842, overlapped=True, scaled=True, normed=True),
        ),
    ],
)
def test_names_and_shapes(name: str, expected: dict[str, tuple]) -> None:
    assert expected_shapes("official", VARIANTS[name].config) == expected


@pytest.mark.parametrize("layout", ["official", "timm", "transformers"])
@pytest.mark.parametrize("name", COMBINATIONS)
def test_there_and_back_changes_no_bit(layout: str, name: str) -> None:
    model = drawn(small_config(name))
    there = to_layout(layout, model.state_dict(), post_norm=model.config.post_norm)
    back, unknown, _ = from_layout(layout, there)
    assert not unknown
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, back[name]) for name, tensor in model.state_dict().items())


def test_downsampling_moves_from_the_end_of_a_stage_to_the_start_of_the_next() -> None:
    model = drawn(small_config("srf"))
    theirs = to_layout("official", model.state_dict(), post_norm=False)
    assert torch.equal(theirs["layers.0.downsample.proj.weight"], model.stages[1].downsample.projection.weight)
    assert "layers.3.downsample.proj.weight" not in theirs
    assert "stages.0.downsample.projection.weight" not in model.state_dict()


def official(name: str = "srf", **overrides: object) -> tuple[focalnets.FocalNet, dict[str, Tensor]]:
    model = drawn(small_config(name, **overrides))
    return model, to_layout("official", model.state_dict(), post_norm=model.config.post_norm)


def prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"model": tensors, "epoch": 3},
        lambda tensors: {"state_dict": tensors},
        lambda tensors: {"state_dict": {}, "state_dict_ema": tensors},
        lambda tensors: {"model": prefixed(tensors, "module.")},
        lambda tensors: {"state_dict": prefixed(tensors, "backbone.")},
        lambda tensors: {"state_dict": prefixed(tensors, "module.backbone."), "meta": {"epoch": 1}},
        lambda tensors: {"model": {**prefixed(tensors, "backbone.0."), "rpn_head.weight": torch.zeros(2)}},
    ],
)
def test_wrappers_around_the_weights_are_seen_through(tmp_path: Path, wrap: object) -> None:
    model, tensors = official()
    torch.save(wrap(tensors), tmp_path / "weights.pth")  # type: ignore[operator]
    loaded = focalnets.load_model(tmp_path / "weights.pth")
    images = torch.randn(1, 3, 64, 32)
    torch.testing.assert_close(loaded(images), model(images), rtol=0, atol=0)
    assert "official layout" in loaded.origin


def test_what_surrounds_a_backbone_is_left_out_and_noted(tmp_path: Path) -> None:
    _, tensors = official()
    torch.save({"state_dict": {**prefixed(tensors, "backbone."), "neck.a": torch.zeros(2)}}, tmp_path / "w.pth")
    assert any("1 tensors outside 'backbone.'" in note for note in inspect_checkpoint(tmp_path / "w.pth").notes)


def test_averaged_weights_are_preferred_and_noted(tmp_path: Path) -> None:
    (model, tensors), (_, other) = official(), official()
    other = {name: tensor + 1 for name, tensor in other.items()}
    torch.save({"state_dict": other, "state_dict_ema": tensors}, tmp_path / "w.pth")
    assert torch.equal(focalnets.load_model(tmp_path / "w.pth").head.weight, model.head.weight)
    assert "'state_dict_ema' was used" in inspect_checkpoint(tmp_path / "w.pth").notes[0]


def test_two_networks_in_one_file_are_refused(tmp_path: Path) -> None:
    _, tensors = official()
    torch.save({**prefixed(tensors, "student."), **prefixed(tensors, "teacher.")}, tmp_path / "w.pth")
    with pytest.raises(focalnets.errors.CheckpointError, match=r"more than one FocalNet, under 'student.', 'teacher.'"):
        focalnets.load_model(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["srf", "overlapped", "fl4", "huge_fl3"])
def test_dense_backbones_carry_a_norm_for_each_stage(tmp_path: Path, name: str) -> None:
    padding = 2 if name == "srf" else 3
    model, tensors = official(name, pyramid_norms=True, num_classes=0, stem_padding=padding)
    assert {key for key in tensors if key.startswith("norm")} == {
        f"norm{stage}.{part}" for stage in range(4) for part in ("weight", "bias")
    }
    torch.save({"state_dict": prefixed(tensors, "backbone.")}, tmp_path / "w.pth")
    loaded = focalnets.load_model(tmp_path / "w.pth", post_norm=model.config.post_norm)
    assert (loaded.config.pyramid_norms, loaded.config.stem_padding) == (True, padding)
    images = torch.randn(1, 3, 64, 96)
    for got, expected in zip(loaded.forward_pyramid(images), model.forward_pyramid(images), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_a_dense_backbone_without_the_norms_of_some_stages_needs_consent(tmp_path: Path) -> None:
    _, tensors = official("srf", pyramid_norms=True, num_classes=0)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("norm0.")}
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(focalnets.errors.CheckpointError, match=r"2 missing: norm0\.weight, norm0\.bias"):
        focalnets.load_model(tmp_path / "w.pth")
    loaded = focalnets.load_model(tmp_path / "w.pth", pyramid_norms=True)
    assert torch.equal(loaded.pyramid_norms[0].weight, torch.ones(8))
    assert torch.equal(loaded.pyramid_norms[1].weight, tensors["norm1.weight"])


def test_isotropic_networks_are_read(tmp_path: Path) -> None:
    model = drawn(focalnets.FocalNetConfig.from_dict({**ISOTROPIC, "num_classes": 5, "post_norm": True}))
    torch.save(to_layout("official", model.state_dict(), post_norm=True), tmp_path / "w.pth")
    loaded = focalnets.load_model(tmp_path / "w.pth", post_norm=True)
    assert loaded.config == model.config
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(loaded(images), model(images), rtol=0, atol=0)
