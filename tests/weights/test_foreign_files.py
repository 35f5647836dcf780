"""Weights as people have them: other wrappers, things beside tensors, wrong endings, and files that are no weights."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import gzip
import json
import pathlib
import pickle
import random
import struct
import types
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.weights.networks import drawn, small_config

from focalnets.cli.main import main
from focalnets.errors import CheckpointError
from focalnets.weights.checkpoint import save_checkpoint
from focalnets.weights.key_maps import to_layout
from focalnets.weights.loading import inspect_checkpoint, load_model, open_trained
from focalnets.weights.stand_ins import STAND_INS, Inert

State = dict[str, torch.Tensor]


def state(seed: int = 0) -> State:
    return to_layout("official", drawn(small_config("srf"), seed).state_dict(), post_norm=False)


def refused(path: Path, *words: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


RAW = ["model_state_dict", "net", "network", "params", "weights", "generator", "module", "my own name", "backbone"]


@pytest.mark.parametrize("name", RAW)
def test_any_name_around_the_weights_is_seen_through(tmp_path: Path, name: str) -> None:
    tensors = state()
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    path = saved(tmp_path / "w.pth", {"epoch": 3, name: tensors, "optimizer_state_dict": optimizer, "loss": 0.5})
    assert torch.equal(load_model(path).head.weight, tensors["head.weight"])
    notes = inspect_checkpoint(path).notes
    assert f"Of the entries of w.pth, '{name}' was used and not epoch, loss, optimizer_state_dict." in notes


@pytest.mark.parametrize(
    ("averaged", "raw"),
    [
        ("params_ema", "params"),
        ("ema", "model"),
        ("model_ema", "model"),
        ("state_dict_ema", "state_dict"),
        ("ema_state_dict", "model_state_dict"),
        ("net_ema", "net"),
        ("swa", "network"),
    ],
)
def test_of_an_averaged_and_a_raw_network_the_averaged_is_taken(tmp_path: Path, averaged: str, raw: str) -> None:
    path = saved(tmp_path / "w.pth", {raw: state(1), averaged: state(2)})
    assert torch.equal(load_model(path).head.weight, state(2)["head.weight"])
    assert inspect_checkpoint(path).notes[0] == f"Of the entries of w.pth, '{averaged}' was used and not {raw}."
    assert torch.equal(load_model(path, entry=raw).head.weight, state(1)["head.weight"])


@pytest.mark.parametrize(
    "names", [("teacher", "student"), ("model", "state_dict"), ("a", "b", "c"), ("ema", "teacher", "student")]
)
def test_where_it_is_not_clear_the_user_is_asked(
    tmp_path: Path, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "w.pth", {name: state(seed) for seed, name in enumerate(names)})
    quoted = ", ".join(f"'{name}'" for name in names)
    refused(path, f"several networks, {quoted}, and it is not clear", f"entry='{names[0]}'", f"--entry {names[0]}")
    for seed, name in enumerate(names):
        assert torch.equal(load_model(path, entry=name).head.weight, state(seed)["head.weight"])
        assert torch.equal(open_trained(path, entry=name).tensors["head.weight"], state(seed)["head.weight"])
    with pytest.raises(CheckpointError, match=f"no entry 'other' with named tensors; there are {quoted}"):
        load_model(path, entry="other")
    assert main(["convert", str(path), str(tmp_path / "w.safetensors"), "--to", "focalnets"]) == 2
    assert f"--entry {names[0]}" in capsys.readouterr().err
    arguments = ["convert", str(path), str(tmp_path / "w.safetensors"), "--to", "focalnets", "--entry", names[1]]
    assert main(arguments) == 0
    assert torch.equal(load_model(tmp_path / "w.safetensors").head.weight, state(1)["head.weight"])


def test_the_same_network_twice_is_clear(tmp_path: Path) -> None:
    tensors = state()
    path = saved(
        tmp_path / "w.pth", {"model": tensors, "state_dict": {key: one.clone() for key, one in tensors.items()}}
    )
    assert torch.equal(load_model(path).head.weight, tensors["head.weight"])


def test_entries_lie_some_levels_deep_and_may_be_part_of_names(tmp_path: Path) -> None:
    path = saved(tmp_path / "deep.pth", {"a": {"b": {"net": state(1)}, "other": {"net": state(2)}}})
    refused(path, "'a.b.net', 'a.other.net'")
    assert torch.equal(load_model(path, entry="a.other.net").head.weight, state(2)["head.weight"])
    flat = {f"student.{key}": value for key, value in state(1).items()}
    flat |= {f"teacher.backbone.{key}": value for key, value in state(2).items()}
    for path in (saved(tmp_path / "flat.pth", {"state_dict": flat}), tmp_path / "flat.safetensors"):
        if path.suffix == ".safetensors":
            save_file(flat, path)
        refused(path, "more than one FocalNet, under 'student.', 'teacher.backbone.'", "entry=")
        assert torch.equal(load_model(path, entry="teacher").head.weight, state(2)["head.weight"])
        assert torch.equal(load_model(path, entry="student.").head.weight, state(1)["head.weight"])
        with pytest.raises(CheckpointError, match="nobody"):
            load_model(path, entry="nobody")
    path = saved(tmp_path / "plain.pth", flat)
    with pytest.raises(CheckpointError, match="it holds one state dict"):
        load_model(path, entry="nobody")


def test_dicts_within_themselves_end(tmp_path: Path) -> None:
    content: dict[str, Any] = {"model": state()}
    content["self"] = content
    content["many"] = {str(index): content for index in range(1000)}
    assert load_model(saved(tmp_path / "w.pth", content)).config.embed_dim == 8


class AttributeDict(dict[str, Any]):
    """A dict under the name that Lightning saves."""


BESIDE: dict[str, Any] = {
    "numpy scalar": np.float64(0.5),
    "numpy integer": np.int64(3),
    "numpy array": np.arange(4.0),
    "numpy dtype": np.dtype("float32"),
    "numpy type": np.float32,
    "path": pathlib.PosixPath("/data"),
    "pure path": pathlib.PureWindowsPath("c:/data"),
    "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "duration": datetime.timedelta(seconds=3),
    "default dict": collections.defaultdict(list, {"loss": [0.5]}),
    "default dict of numbers": collections.defaultdict(float, a=1.0),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2], maxlen=5),
    "ordered": collections.OrderedDict(a=1),
    "decimal": decimal.Decimal("0.1"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=3),
    "set": {1, 2},
    "frozen set": frozenset({1, 2}),
    "complex": 1 + 2j,
    "slice": slice(1, 2),
    "range": range(3),
    "bytes": b"abc",
    "simple namespace": types.SimpleNamespace(lr=0.1),
    "torch version": torch.torch_version.TorchVersion("2.0"),
    "torch dtype": torch.float16,
    "torch device": torch.device("cpu"),
    "random state": random.Random(3).getstate(),
    "numpy random state": np.random.default_rng(3).bit_generator.state,
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_the_tensors_does_not_matter(tmp_path: Path, name: str, zipped: bool) -> None:
    path = tmp_path / "w.pth"
    content = {"state_dict": state(), "best": BESIDE[name], "all": [{"a": BESIDE[name]}, (BESIDE[name],)]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(load_model(path).head.weight, state()["head.weight"])


def test_settings_of_frameworks_are_read_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, dict[str, Any]] = {}
    for package, name in (
        ("lightning.fabric.utilities.data", "AttributeDict"),
        ("pytorch_lightning.utilities.parsing", "AttributeDict"),
        ("easydict", "EasyDict"),
        ("mmengine.config.config", "ConfigDict"),
    ):
        modules[package] = {name: type(name, (dict,), {"__module__": package, "__qualname__": name})}
    node = type("DictConfig", (), {"__module__": "omegaconf.dictconfig", "__qualname__": "DictConfig"})
    modules["omegaconf.dictconfig"] = {"DictConfig": node}
    path = tmp_path / "w.ckpt"
    with monkeypatch.context() as patch:
        parents = {".".join(name.split(".")[:depth]): {} for name in modules for depth in range(1, name.count(".") + 1)}
        for package, members in {**parents, **modules}.items():
            module = types.ModuleType(package)
            for member, value in members.items():
                setattr(module, member, value)
            patch.setitem(__import__("sys").modules, package, module)
        settings: list[Any] = [
            value(lr=0.1) if issubclass(value, dict) else value()
            for members in modules.values()
            for value in members.values()
        ]
        settings[-1].content = {"lr": 0.1}
        torch.save({"state_dict": state(), "hyper_parameters": settings}, path)
    assert torch.equal(load_model(path).head.weight, state()["head.weight"])


class Payload:
    """Unpickles by calling something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class OfTheirs:
    """A class of the script that saved it."""


@pytest.mark.parametrize("zipped", [True, False])
def test_what_could_execute_something_is_still_refused(tmp_path: Path, zipped: bool) -> None:
    marker, path = tmp_path / "marker", tmp_path / "w.pth"
    payloads: list[Any] = [
        Payload(eval, f"open({str(marker)!r}, 'w')"),
        Payload(exec, f"open({str(marker)!r}, 'w')"),
        Payload(getattr, "a", "upper"),
        Payload(__import__("os").system, f"touch {marker}"),
        Payload(__import__("subprocess").run, ["touch", str(marker)]),
        Payload(pickle.loads, b""),
        Payload(np.load, str(marker)),
        Payload(torch.load, str(marker)),
        Payload(collections.namedtuple, "a", "b"),
        pathlib.Path.exists,
        OfTheirs(),
        np.array([Payload(eval, "1")], dtype=object),
    ]
    for payload in payloads:
        torch.save({"model": state(), "extra": payload}, path, _use_new_zipfile_serialization=zipped)
        message = refused(path, "is refused", "can execute code", "torch.save(model.state_dict(), path)")
        assert "..." not in message
        assert not marker.exists()


def test_stand_ins_do_nothing() -> None:
    assert not vars(Inert(1, a=2))
    Inert().__setstate__({"a": 1})
    given = {name for stand_in in STAND_INS if isinstance(stand_in, tuple) for name in [stand_in[1]]}
    for name in ("builtins.eval", "builtins.getattr", "builtins.exec", "builtins.open", "os.system", "importlib"):
        assert name not in given
    used = {stand_in[0] if isinstance(stand_in, tuple) else stand_in for stand_in in STAND_INS}
    assert {item.__module__ for item in used} == {"focalnets.weights.stand_ins", "collections", "argparse"}


@pytest.mark.parametrize("suffix", [".bin", ".pth", ".ckpt", ".tar", ".weights", "", ".pkl"])
def test_the_first_bytes_decide_and_not_the_ending(tmp_path: Path, suffix: str) -> None:
    model = drawn(small_config("srf"))
    save_checkpoint(model, tmp_path / "w.safetensors")
    path = tmp_path / f"renamed{suffix}"
    (tmp_path / "w.safetensors").rename(path)
    assert torch.equal(load_model(path).head.weight, model.head.weight)
    saved(tmp_path / "w.safetensors", state())
    assert inspect_checkpoint(tmp_path / "w.safetensors").layout == "official"


def _zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"123")


def _write(content: bytes) -> Any:
    return lambda path: path.write_bytes(content)


def _write_array(path: Path, save: Any) -> None:
    with path.open("wb") as file:
        save(file, np.zeros(3))


NO_WEIGHTS: dict[str, tuple[Any, str]] = {
    "lfs": (_write(b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n"), "a pointer of Git LFS"),
    "page": (_write(b"<!DOCTYPE html><html></html>"), "a web page"),
    "page with space": (_write(b"\xef\xbb\xbf\n  <HTML lang=en>"), "a web page"),
    "xml": (_write(b'<?xml version="1.0"?><Error>NoSuchKey</Error>'), "a web page"),
    "json": (_write(b'{"error": "Repository not found"}'), "a text that begins with"),
    "text": (_write(b"Entry not found"), "a text that begins with 'Entry not found'"),
    "long text": (_write("é".encode() * 5000), "a text that begins with"),
    "onnx": (_write(b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x10" + b"\x00" * 50), "an ONNX model"),
    "script": (lambda path: _zip(path, "w/data.pkl", "w/constants.pkl", "w/code/net.py"), "a TorchScript program"),
    "export": (lambda path: _zip(path, "w/archive_format", "w/models/model.json"), "a program of torch.export"),
    "npz": (lambda path: _write_array(path, np.savez), "an archive of NumPy arrays"),
    "npy": (lambda path: _write_array(path, np.save), "a NumPy array"),
    "zip": (lambda path: _zip(path, "folder/weights.pth"), "a zip archive of 1 files (folder/weights.pth)"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"a" * 100)), "compressed: unpack it"),
    "hdf5": (_write(b"\x89HDF\r\n\x1a\n" + b"\x00" * 100), "an HDF5 file"),
    "tflite": (_write(b"\x1c\x00\x00\x00TFL3" + b"\x00" * 100), "a TensorFlow Lite model"),
    "gguf": (_write(b"GGUF\x03\x00\x00\x00" + b"\x00" * 100), "a GGUF file"),
    "picture": (_write(b"\x89PNG\r\n\x1a\n" + b"\x00" * 100), "a picture"),
    "pdf": (_write(b"%PDF-1.7\n"), "a PDF document"),
    "zeros": (_write(b"\x00" * 5000), "zeros; its download"),
    "pickle": (
        lambda path: path.write_bytes(pickle.dumps({"w": np.zeros(3)})),
        "a Python pickle that torch.save did not",
    ),
    "noise": (_write(bytes(range(130, 256)) * 8), "begins with the bytes 82 83 84"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_what_is_no_weights_is_named_as_what_it_is(tmp_path: Path, name: str, suffix: str) -> None:
    write, words = NO_WEIGHTS[name]
    path = tmp_path / f"w{suffix}"
    write(path)
    refused(path, "damaged or no weights file", words)


@pytest.mark.filterwarnings("ignore")
def test_programs_of_torch_are_named(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    torch.jit.script(network).save(tmp_path / "script.pt")
    refused(tmp_path / "script.pt", "a TorchScript program; save the state dict")
    torch.export.save(torch.export.export(network, (torch.zeros(1, 2),)), tmp_path / "program.pt2")
    refused(tmp_path / "program.pt2", "a program of torch.export")


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.999])
def test_cut_files_are_named_as_cut(tmp_path: Path, fraction: float) -> None:
    path = saved(tmp_path / "w.pth", {"model": state()})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    refused(path, "its end is missing", "not completely written or downloaded")
    path = tmp_path / "w.safetensors"
    save_file(state(), path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: int(size * fraction)])
    message = refused(path, "is damaged", f"the file ends after {int(size * fraction):,}")
    assert f"{size:,}" in message or "its head has" in message


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_other_protocols_are_named(tmp_path: Path, protocol: int, zipped: bool) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": state()}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    try:
        assert load_model(path).config.embed_dim == 8  # what a protocol adds is not always used
    except CheckpointError as error:
        assert f"pickle protocol {protocol}" in str(error)  # noqa: PT017


def test_whole_networks_are_refused_with_the_name_of_their_class(tmp_path: Path) -> None:
    saved(tmp_path / "w.pth", drawn(small_config("srf")))
    refused(tmp_path / "w.pth", "(focalnets.models.focalnet.FocalNet)", "torch.save(model.state_dict(), path)")


def test_places_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("~nobody-of-that-name/w.pth", "x" * 5000, "a\0b.pth"):
        with pytest.raises(CheckpointError, match="no file or folder"):
            load_model(name)
    saved(tmp_path / "~w.pth", state())
    assert load_model("~w.pth").config.embed_dim == 8


@pytest.mark.parametrize(
    "weight_map",
    [None, [], "a", 3, {"a": 1}, {"a": None}, {"a": ""}, {"a": "."}, {"a": ".."}, {"a": "a\0b"}, {"a": "x" * 5000}, {}],
)
def test_hostile_maps_of_shards_are_refused(tmp_path: Path, weight_map: Any) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).replace('": 1}', '": 1e999}'))
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def _contents(tmp_path: Path) -> list[bytes]:
    model = drawn(small_config("srf", embed_dim=2, num_classes=2))
    save_checkpoint(model, tmp_path / "own.safetensors", task="count", head={"kind": "x"})
    torch.save({"model": model.state_dict(), "best": np.float64(0.5)}, tmp_path / "new.pth")
    torch.save({"model": model.state_dict()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    return [(tmp_path / name).read_bytes() for name in ("own.safetensors", "new.pth", "old.pth")]


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_damage_anywhere_is_one_sentence_or_none(tmp_path: Path, kind: int) -> None:
    content = _contents(tmp_path)[kind]
    generator = random.Random(kind)
    path = tmp_path / "w.pth"
    for _ in range(120):
        damaged = bytearray(content)
        for _ in range(generator.choice([1, 3, 30])):
            # Most of what can go wrong stands at the beginning, or in the directory of an archive at its end.
            place = generator.choice(
                [generator.randrange(len(content)), generator.randrange(3000), -1 - generator.randrange(500)]
            )
            damaged[place % len(content)] = generator.randrange(256)
        if generator.random() < 0.2:
            damaged[:8] = struct.pack("<Q", generator.choice([0, 2, 100, 10**7, 2**63]))
        path.write_bytes(damaged)
        try:
            open_trained(path)
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("length", [300, 100_000])
def test_a_name_that_no_system_has_is_one_sentence(length: int) -> None:
    with pytest.raises(CheckpointError, match=r"^There is no file or folder x") as caught:
        open_trained("x" * length)
    assert str(caught.value).endswith("(File name too long).")
    assert len(str(caught.value)) < 3100
