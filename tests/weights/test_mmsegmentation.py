"""Segmenters of mmsegmentation: exact in and out, and what is no such segmenter is named."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tests.weights.mmsegmentation_files import CONFIG, HIDDEN, OUTPUTS, save, state_dict
from torch import nn

import focalnets
from focalnets.errors import CheckpointError
from focalnets.models.config import FocalNetConfig
from focalnets.tasks.loading import load_trained
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.loading import open_trained
from focalnets.weights.mmsegmentation_writing import save_for_mmsegmentation


@pytest.mark.parametrize("version", [0, 1])
def test_what_a_file_says_is_taken(tmp_path, version):
    task, module = load_trained(save(tmp_path / "iter_160000.pth", state_dict(), version=version))
    assert (task.name, module.class_names) == ("semantic", ("sky", "road", "tree", "car"))
    assert (module.kind, module.hidden, module.dropout, module.stages) == ("uper", HIDDEN, 0.2, (0, 1, 2, 3))
    assert module.reduce_zero_label
    assert (module.preprocessing.input_size_px, module.preprocessing.longest_px) == (320, 800)
    assert not module.preprocessing.antialias
    found = open_trained(tmp_path / "iter_160000.pth").recognition
    assert "task semantic, head uper of 4 outputs, input whole_image, mmsegmentation layout" in str(found)
    assert any("settings were read from the checkpoint" in note for note in found.notes)


def test_published_settings_are_taken_where_nothing_is_said(tmp_path):
    _, module = load_trained(save(tmp_path / "w.pth", state_dict(auxiliary=False), config=None, names=None))
    assert module.class_names == tuple(f"class {number}" for number in range(OUTPUTS))
    assert (module.preprocessing.input_size_px, module.preprocessing.longest_px) == (512, 2048)
    assert module.auxiliary is None
    assert not module.reduce_zero_label


def test_150_outputs_are_ade20k(tmp_path):
    found = open_trained(save(tmp_path / "w.pth", state_dict(outputs=150), config=None, names=None)).recognition
    assert found.head["reduce_zero_label"]
    assert any("ADE20K" in note for note in found.notes)


@pytest.mark.parametrize("size", [(64, 96), (70, 101)])
def test_numbers_are_those_of_the_heads_in_transformers(tmp_path, size):
    transformers = pytest.importorskip("transformers")
    from transformers.models.upernet.modeling_upernet import UperNetFCNHead, UperNetHead

    tensors = state_dict()
    _, module = load_trained(save(tmp_path / "w.pth", tensors))
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    config = transformers.UperNetConfig(
        num_labels=OUTPUTS, hidden_size=HIDDEN, auxiliary_channels=HIDDEN // 2, auxiliary_in_channels=32
    )
    with torch.inference_mode():
        maps = module.backbone.forward_pyramid(images)
        for prefix, head, got in (
            ("decode_head.", UperNetHead(config, in_channels=[8, 16, 32, 64]), module(images)["logits"]),
            ("auxiliary_head.", UperNetFCNHead(config, [8, 16, 32, 64]), module.auxiliary(maps[2])),
        ):
            renamed = {
                name.removeprefix(prefix).replace(".bn.", ".batch_norm.").replace("conv_seg", "classifier"): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
            head.load_state_dict(renamed, strict=True)
            expected = head.eval()(maps)
            assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_numbers_of_the_head_are_those_of_plain_formulas(tmp_path):
    """Written out once more from the published description, for one image."""
    tensors = state_dict(auxiliary=False)
    _, module = load_trained(save(tmp_path / "w.pth", tensors))
    maps = [torch.randn(1, dim, 24 // 2**stage, 32 // 2**stage) for stage, dim in enumerate((8, 16, 32, 64))]

    def layer(name, features):
        weight, norm = tensors[f"decode_head.{name}.conv.weight"], f"decode_head.{name}.bn."
        features = nn.functional.conv2d(features, weight, padding=weight.shape[-1] // 2)
        mean, variance, scale, shift = (
            tensors[norm + part].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((features - mean) / (variance + 1e-5).sqrt() * scale + shift).relu()

    def enlarged(features, like):
        return nn.functional.interpolate(features, size=like.shape[2:], mode="bilinear")

    last = maps[-1]
    pooled = [
        enlarged(layer(f"psp_modules.{number}.1", nn.functional.adaptive_avg_pool2d(last, scale)), last)
        for number, scale in enumerate((1, 2, 3, 6))
    ]
    levels = [layer(f"lateral_convs.{number}", maps[number]) for number in range(3)]
    levels.append(layer("bottleneck", torch.cat([last, *pooled], 1)))
    for level in (3, 2, 1):
        levels[level - 1] = levels[level - 1] + enlarged(levels[level], levels[level - 1])
    outs = [layer(f"fpn_convs.{number}", levels[number]) for number in range(3)] + [levels[3]]
    joined = layer("fpn_bottleneck", torch.cat([enlarged(out, outs[0]) for out in outs], 1))
    expected = nn.functional.conv2d(
        joined, tensors["decode_head.conv_seg.weight"], tensors["decode_head.conv_seg.bias"]
    )
    with torch.inference_mode():
        assert (module.head(maps) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_what_was_read_is_written_again_bit_for_bit(tmp_path):
    tensors = state_dict()
    _, module = load_trained(save(tmp_path / "w.pth", tensors))
    (path,) = save_for_mmsegmentation(module, tmp_path / "again.pth")
    written = torch.load(path, weights_only=True)
    assert written["state_dict"].keys() == tensors.keys()
    assert all(torch.equal(written["state_dict"][name], tensor) for name, tensor in tensors.items())
    _, again = load_trained(path)
    assert again.describe_head() == module.describe_head()
    expected = dataclasses.replace(module.preprocessing, mean=again.preprocessing.mean, std=again.preprocessing.std)
    assert again.preprocessing == expected
    assert again.class_names == module.class_names


def test_what_a_training_here_gives_is_written_too(tmp_path):
    from focalnets.models.heads.semantic import SemanticNetwork

    config = FocalNetConfig(
        depths=(1, 1, 1, 1), embed_dim=8, pyramid_norms=True, num_classes=0, normalize_modulator=True
    )
    module = SemanticNetwork(focalnets.FocalNet(config), ("a", "b"), kind="uper", channels=8, auxiliary=True)
    module.preprocessing = focalnets.load_model("focalnet_pico.imagenette").preprocessing
    (path,) = save_for_mmsegmentation(module, tmp_path / "w.pth")
    _, again = load_trained(path)
    assert again.config.normalize_modulator
    images = torch.randn(1, 3, 32, 40)
    with torch.inference_mode():
        assert torch.equal(again(images)["logits"], module.eval()(images)["logits"])
    save_checkpoint(again, tmp_path / "ours.safetensors", task="semantic", head=again.describe_head())
    _, ours = load_trained(tmp_path / "ours.safetensors")
    with torch.inference_mode():
        assert torch.equal(again(images)["logits"], ours(images)["logits"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t | {"decode_head.more.weight": torch.zeros(1)}, "1 unexpected: decode_head.more.weight"),
        (lambda t: {k: v for k, v in t.items() if "psp_modules" not in k}, "head is not built here; UPerNet is"),
        (lambda t: {k: v for k, v in t.items() if "lateral_convs.1.bn" not in k}, "missing: head.laterals.1.norm"),
        (
            lambda t: t | {"decode_head.conv_seg.bias": t["decode_head.conv_seg.bias"] * float("nan")},
            "NaN or infinite numbers",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, sentence):
    path = save(tmp_path / "w.pth", change(state_dict()))
    with pytest.raises(CheckpointError, match=sentence):
        load_trained(path)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("align_corners=False),\n    auxiliary", "align_corners=True),\n    auxiliary", "decode_head.align_corners"),
        ("pool_scales=(1, 2, 3, 6)", "pool_scales=(1, 2)", "pool_scales must be"),
    ],
)
def test_settings_that_are_done_otherwise_are_refused(tmp_path, before, after, sentence):
    assert before in CONFIG
    path = save(tmp_path / "w.pth", state_dict(), config=CONFIG.replace(before, after))
    with pytest.raises(CheckpointError, match=sentence):
        load_trained(path)


def test_other_networks_are_not_written_for_it(tmp_path):
    with pytest.raises(CheckpointError, match="it is no UPerNet"):
        save_for_mmsegmentation(focalnets.load_model("focalnet_pico.imagenette"), tmp_path / "w.pth")
    assert not list(tmp_path.iterdir())
