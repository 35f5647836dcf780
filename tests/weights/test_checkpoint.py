"""Our own format: what goes in comes out, and no failure damages what was there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tests.weights.networks import COMBINATIONS, drawn, small_config

import focalnets
from focalnets import FocalNet, FocalNetConfig, Preprocessing
from focalnets.errors import CheckpointError, UnknownNameError
from focalnets.weights.checkpoint import STORED_DTYPES, save_checkpoint
from focalnets.weights.description import read_description
from focalnets.weights.key_maps import to_layout
from focalnets.weights.loading import load_checkpoint


@pytest.mark.parametrize("name", [*COMBINATIONS, "convolutional", "double", "dense"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    other = {
        "convolutional": {"stem": "convolutional"},
        "double": {"downsampling": "double"},
        "dense": {"pyramid_norms": True, "num_classes": 0},
    }
    config = small_config("srf", **other[name]) if name in other else small_config(name)
    config = config.replace(drop_path=0.25, dropout=0.125, initialization="fan_in")
    classes = [f"class {index} é" for index in range(config.num_classes)] or None
    channels = {"mean": (0.1,) * config.in_chans, "std": (0.2,) * config.in_chans}
    preprocessing = Preprocessing(input_size_px=96, crop_fraction=0.5, interpolation="bilinear", **channels)
    model = drawn(config, preprocessing=preprocessing, class_names=classes)
    save_checkpoint(model, tmp_path / "new" / "w.safetensors", notes={"epoch": "3"})
    for loaded in (load_checkpoint(tmp_path / "new" / "w.safetensors"), focalnets.load_model(tmp_path / "new")):
        assert loaded.config == config
        assert loaded.preprocessing == preprocessing
        assert loaded.class_names == model.class_names
        assert loaded.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in model.state_dict().items())
        assert not loaded.training
        assert all(parameter.requires_grad for parameter in loaded.parameters())
    with safe_open(tmp_path / "new" / "w.safetensors", framework="pt") as file:
        description = read_description(file.metadata(), "file")
    assert description is not None
    assert description.notes == {"epoch": "3"}


def test_others_may_read_what_they_may_read_usually(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary.txt"
    ordinary.write_text("x", encoding="utf-8")
    save_checkpoint(drawn(small_config("srf")), tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_mode == ordinary.stat().st_mode


def test_a_run_folder_gives_its_best_and_else_its_last(tmp_path: Path) -> None:
    last, best = drawn(small_config("srf"), seed=1), drawn(small_config("srf"), seed=2)
    save_checkpoint(last, tmp_path / "last.safetensors")
    assert torch.equal(focalnets.load_model(tmp_path).head.weight, last.head.weight)
    save_checkpoint(best, tmp_path / "best.safetensors")
    assert torch.equal(focalnets.load_model(str(tmp_path)).head.weight, best.head.weight)


def test_the_origin_does_not_grow_with_each_generation(tmp_path: Path) -> None:
    model = drawn(small_config("srf"))
    model.origin = "somewhere"
    for generation in range(4):
        save_checkpoint(model, tmp_path / f"{generation}.safetensors")
        model = load_checkpoint(tmp_path / f"{generation}.safetensors")
    assert model.origin == f"{tmp_path / '3.safetensors'}, descended from somewhere"


def test_loaded_weights_do_not_hang_on_the_file(tmp_path: Path) -> None:
    model = drawn(small_config("srf"))
    path = tmp_path / "w.safetensors"
    save_checkpoint(model, path)
    loaded = load_checkpoint(path)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    with open(path, "rb+") as file:
        file.write(b"\x00" * path.stat().st_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())
    with torch.no_grad():
        loaded.head.weight.zero_()


def test_state_dicts_of_ours_without_description_are_recognised(tmp_path: Path) -> None:
    model = drawn(small_config("overlapped"))
    torch.save(model.state_dict(), tmp_path / "w.pth")
    assert focalnets.load_model(tmp_path / "w.pth").config == model.config
    with pytest.raises(CheckpointError, match=r"load_model reads the other layouts"):
        load_checkpoint(tmp_path / "w.pth")
    torch.save(to_layout("timm", model.state_dict(), post_norm=False), tmp_path / "timm.pth")
    with pytest.raises(CheckpointError, match=r"load_model reads the other layouts"):
        load_checkpoint(tmp_path / "timm.pth")
    with pytest.raises(CheckpointError, match="There is no file"):
        load_checkpoint(tmp_path)


def test_large_networks_survive(tmp_path: Path) -> None:
    names = [f"n{index}" for index in range(21842)]
    model = FocalNet(FocalNetConfig(depths=(1,), embed_dim=2, focal_levels=(1,), focal_windows=(3,), num_classes=21842))
    model.class_names = tuple(names)
    save_checkpoint(model, tmp_path / "w.safetensors")
    assert load_checkpoint(tmp_path / "w.safetensors").class_names == tuple(names)


FULL_DISK = """
import resource, signal, sys
from focalnets import FocalNet, FocalNetConfig
from focalnets.errors import CheckpointError
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.conversion import save_in_layout
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
model = FocalNet(FocalNetConfig(depths=(1,), embed_dim=64, focal_levels=(2,), focal_windows=(3,), num_classes=1000))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write, name in ((save_checkpoint, "old.safetensors"), (lambda m, p: save_in_layout(m, p, "official"), "old.pth")):
    try:
        write(model, sys.argv[1] + "/" + name)
    except CheckpointError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files stands for a full disk")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    old = {"old.safetensors": b"precious", "old.pth": b"dear"}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 2, done.stdout + done.stderr
    assert all("could not be written" in line and "unchanged" in line for line in lines)


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="could not be written"):
        save_checkpoint(drawn(small_config("srf")), tmp_path / "file" / "w.safetensors")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_weights_kept_in_fewer_bits_come_back_as_float32(tmp_path: Path, dtype: str) -> None:
    model = drawn(small_config("srf", stem="convolutional"))
    statistics = {
        name: buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))
    }
    assert statistics
    for tensor in statistics.values():
        tensor.uniform_(0.1, 1e5)  # beyond float16
    save_checkpoint(model, tmp_path / "first.safetensors", dtype=dtype)
    with safe_open(tmp_path / "first.safetensors", framework="pt") as file:
        kept = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
        assert file.metadata()["focalnets.stored_dtype"] == f'"{dtype}"'
    parameters = dict(model.named_parameters())
    assert all(kept[name] == STORED_DTYPES[dtype] for name in parameters)
    assert all(kept[name] == torch.float32 for name in statistics)
    loaded = load_checkpoint(tmp_path / "first.safetensors")
    for name, tensor in loaded.state_dict().items():
        expected = model.state_dict()[name]
        expected = expected.to(STORED_DTYPES[dtype]).float() if name in parameters else expected
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected), name
    save_checkpoint(loaded, tmp_path / "second.safetensors", dtype=dtype)
    again = load_checkpoint(tmp_path / "second.safetensors").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in loaded.state_dict().items())


def test_weights_beyond_a_dtype_are_refused(tmp_path: Path) -> None:
    model = drawn(small_config("srf"))
    with torch.no_grad():
        model.head.bias[0] = 1e6
    with pytest.raises(CheckpointError, match=r"float16 reaches to 65504 only, and 1 of \d+ tensors .*head\.bias"):
        save_checkpoint(model, tmp_path / "w.safetensors", dtype="float16")
    assert not list(tmp_path.iterdir())
    save_checkpoint(model, tmp_path / "w.safetensors", dtype="bfloat16")
    with pytest.raises(UnknownNameError, match="cannot be kept as 'int8'"):
        save_checkpoint(model, tmp_path / "w.safetensors", dtype="int8")
