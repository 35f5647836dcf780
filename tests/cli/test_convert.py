"""`focalnets convert`: every layout, and one sentence for what cannot be done."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

import focalnets
from focalnets import FocalNet, FocalNetConfig
from focalnets.cli.main import main
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.opening import open_weights


@pytest.fixture
def source(tmp_path: Path) -> Path:
    config = FocalNetConfig(depths=(1, 1, 1, 1), embed_dim=4, num_classes=3, post_norm=True, normalize_modulator=True)
    save_checkpoint(FocalNet(config, class_names=tuple("abc")), tmp_path / "source.safetensors")
    return tmp_path / "source.safetensors"


def test_through_every_layout_and_back(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        ("official.pth", "official"),
        ("own.safetensors", "focalnets"),
        ("hub", "transformers"),
        ("official.safetensors", "official"),
        ("final.safetensors", "focalnets"),
    ]
    for (before, _), (after, layout) in itertools.pairwise([(str(source), ""), *steps]):
        flags = ["--post_norm", "true", "--normalize_modulator", "true"] if before.endswith(".pth") else []
        assert main(["convert", str(tmp_path / before), str(tmp_path / after), "--to", layout, *flags]) == 0
        assert f"wrote {tmp_path / after}" in capsys.readouterr().out
    first, last = focalnets.load_model(source), focalnets.load_model(tmp_path / "final.safetensors")
    assert first.config == last.config
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(first(images), last(images))


def test_what_was_recognised_and_guessed_is_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(source), str(tmp_path / "w.pth"), "--to", "official"]) == 0
    capsys.readouterr()
    assert main(["convert", str(tmp_path / "w.pth"), str(tmp_path / "o.safetensors"), "--to", "focalnets"]) == 0
    output = capsys.readouterr().out
    assert "3 classes, official layout" in output
    assert "note: The tensors do not show normalize_modulator" in output


@pytest.mark.parametrize(
    ("destination", "layout", "words"),
    [
        ("out", "official", "end the name in .pth or .safetensors"),
        ("w.pth", "timm", "normalize_modulator"),
        ("w.pth", "focalnets", "ends in .safetensors"),
    ],
)
def test_refusals(
    source: Path, tmp_path: Path, destination: str, layout: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(source), str(tmp_path / destination), "--to", layout]) == 2
    assert words in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["source.safetensors"]


def test_mistakes(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path / "absent.pth"), "x.pth", "--to", "official"]) == 2
    assert "There is no file or folder" in capsys.readouterr().err
    for argv in ([str(source), "x.pth"], [str(source), "x.pth", "--to", "keras"]):
        with pytest.raises(SystemExit) as stopped:
            main(["convert", *argv])
        assert stopped.value.code == 2


def test_half_the_size_readable_names_and_another_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = FocalNetConfig(depths=(1, 1, 1, 1), embed_dim=16, num_classes=3)
    model = FocalNet(config, class_names=("a_b", "n01440764", "d"))
    save_checkpoint(model, tmp_path / "source.safetensors", notes={"val_top1": "0.5"})
    command = ["convert", str(tmp_path / "source.safetensors"), str(tmp_path / "half.safetensors"), "--to", "focalnets"]
    assert main([*command, "--dtype", "float16", "--readable-class-names", "--origin", "trained on letters"]) == 0
    source, half = (tmp_path / f"{name}.safetensors" for name in ("source", "half"))
    assert half.stat().st_size < 0.55 * source.stat().st_size
    assert f"({half.stat().st_size / 1e6:.2f} MB)" in capsys.readouterr().out
    loaded = focalnets.load_model(half)
    assert loaded.class_names == ("a b", "tench", "d")
    assert loaded.origin == f"{half}, descended from trained on letters"
    description = open_weights(half).description
    assert description is not None
    assert description.notes == {"val_top1": "0.5"}
    with torch.no_grad():
        model.head.weight[0, 0] = 70000.0
    save_checkpoint(model, source)
    before = half.read_bytes()
    assert main([*command, "--dtype", "float16"]) == 2
    assert "float16 reaches to 65504 only" in capsys.readouterr().err
    assert half.read_bytes() == before


@pytest.mark.parametrize("layout", ["official", "timm", "transformers"])
def test_half_the_size_in_every_layout(source: Path, tmp_path: Path, layout: str) -> None:
    expected = {name: one.half().float() for name, one in focalnets.load_model(source).state_dict().items()}
    target = tmp_path / ("half" if layout == "transformers" else "half.safetensors")
    if layout == "timm":
        source = tmp_path / "plain.safetensors"
        model = FocalNet(FocalNetConfig(depths=(1, 1, 1, 1), embed_dim=4, num_classes=3))
        save_checkpoint(model, source)
        expected = {name: one.half().float() for name, one in model.state_dict().items()}
    assert main(["convert", str(source), str(target), "--to", layout, "--dtype", "float16"]) == 0
    state = focalnets.load_model(target).state_dict()
    assert all(torch.equal(state[name], one) for name, one in expected.items())


def test_detectors_go_to_mmdetection_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.weights.mmdetection_files import save, state_dict

    tensors = state_dict()
    path = str(save(tmp_path / "epoch_12.pth", tensors))
    own, again = str(tmp_path / "own.safetensors"), str(tmp_path / "again.pth")
    assert main(["convert", path, own, "--to", "focalnets", "--head"]) == 0
    shown = capsys.readouterr().out
    assert "task instance, head rcnn of 5 outputs" in shown
    assert "note: Its settings were read from the checkpoint." in shown
    assert main(["convert", own, again, "--to", "mmdetection"]) == 0
    written = torch.load(again, weights_only=True)["state_dict"]
    assert written.keys() == tensors.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in tensors.items())
    capsys.readouterr()
    for arguments, words in (
        ([path, "out", "--to", "timm", "--head"], "has no place for the head"),
        ([path, str(tmp_path / "out.pth"), "--to", "focalnets", "--head"], "ends in .safetensors"),
        ([own, str(tmp_path / "out.pth"), "--to", "mmdetection", "--entry", "teacher"], "--entry is for backbones"),
    ):
        assert main(["convert", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_segmenters_go_to_mmsegmentation_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.weights.mmsegmentation_files import save, state_dict

    tensors = state_dict()
    path = str(save(tmp_path / "iter.pth", tensors))
    own, again = str(tmp_path / "own.safetensors"), str(tmp_path / "again.pth")
    assert main(["convert", path, own, "--to", "focalnets", "--head"]) == 0
    assert "task semantic, head uper of 4 outputs" in capsys.readouterr().out
    assert main(["convert", own, again, "--to", "mmsegmentation"]) == 0
    written = torch.load(again, weights_only=True)["state_dict"]
    assert all(torch.equal(written[name], tensor) for name, tensor in tensors.items())
    capsys.readouterr()
    for layout, words in (
        ("mmdetection", "its head is uper, and only rcnn"),
        ("official", "has no place for the head"),
    ):
        arguments = [own, str(tmp_path / "out.pth"), "--to", layout, *(["--head"] if layout == "official" else [])]
        assert main(["convert", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
