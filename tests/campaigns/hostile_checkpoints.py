"""Weights that are hostile, damaged, incomplete, of others or none: each made on the spot around one small network.

What would execute something makes a canary file. The first ones are named; those after them are good files and
descriptions, changed at random.
"""

from __future__ import annotations

import collections
import functools
import gzip
import io
import json
import math
import os
import pickle
import random
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save, save_file
from tests.campaigns.json_changes import changed_json
from tests.campaigns.odd_images import changed
from tests.weights.networks import drawn, small_config

from focalnets.models.config import Preprocessing
from focalnets.weights.checkpoint import describe, save_checkpoint
from focalnets.weights.companions import timm_settings, transformers_settings
from focalnets.weights.key_maps import to_layout

Build = Callable[[Path], Path]
"""Makes the weights in a folder; returns what to load."""

CANARY = "canary"
CLASSES = ("cats", "dogs")


@functools.cache
def network() -> Any:
    model = drawn(small_config("srf", embed_dim=4, num_classes=2), preprocessing=Preprocessing(input_size_px=32))
    model.class_names = CLASSES
    return model


def official() -> dict[str, torch.Tensor]:
    return {
        name: tensor.clone() for name, tensor in to_layout("official", network().state_dict(), post_norm=False).items()
    }


class Calls:
    """Unpickles by calling something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Fills:
    """Unpickles with a state that calls something."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __reduce_ex__(self, protocol: int) -> Any:
        return collections.OrderedDict, (), {"a": self.inner}, None, iter([("b", self.inner)])


def _payloads(canary: Path) -> dict[str, Any]:
    touch = f"open({str(canary)!r}, 'w').close()"
    return {
        "open": Calls(open, str(canary), "w"),
        "eval": Calls(eval, touch),
        "exec": Calls(exec, touch),
        "system": Calls(os.system, f"touch {canary}"),
        "popen": Calls(subprocess.Popen, ["touch", str(canary)]),
        "mkdir": Calls(os.mkdir, str(canary)),
        "getattr": Calls(getattr, Calls(__import__, "os"), "system"),
        "import": Calls(__import__, "antigravity"),
        "pickle again": Calls(pickle.loads, pickle.dumps(Calls(open, str(canary), "w"))),
        "torch again": Calls(torch.load, str(canary)),
        "storage again": Calls(torch.storage._load_from_bytes, pickle.dumps(Calls(open, str(canary), "w"))),
        "numpy again": Calls(np.load, str(canary), None, True),
        "numpy objects": np.array([Calls(eval, touch)], dtype=object),
        "numpy code": Calls(np.fromfile, str(canary)),
        "partial": Calls(functools.partial, eval, touch),
        "compile": Calls(compile, touch, "a", "exec"),
        "in a state": Fills(Calls(eval, touch)),
        "as a key": {Calls(eval, touch): 1},
        "in a tuple": (1, (2, (Calls(exec, touch),))),
        "as a tensor": Calls(torch._utils._rebuild_tensor_v2, Calls(eval, touch), 0, (1,), (1,), False,
        collections.OrderedDict()),
        "as hooks": Calls(torch._utils._rebuild_tensor_v2, torch.zeros(1), 0, (1,), (1,), False, {0: Calls(eval,
        touch)}),
        "as a parameter": Calls(torch._utils._rebuild_parameter, Calls(eval, touch), False, collections.OrderedDict()),
        "hub": Calls(torch.hub.load, "a/b", "c"),
        "class of theirs": Fills,
        "instance of theirs": Fills(3),
        "function": _payloads,
        "network": torch.nn.Linear(2, 2),
    }  # fmt: skip


def _saved(folder: Path, content: Any, name: str = "w.pth", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


def _payload(key: str, form: str, folder: Path) -> Path:
    payload = _payloads(folder / CANARY)[key]
    content: Any = {"model": official(), "extra": payload}
    if form == "bare":
        return _written(folder, "w.pth", pickle.dumps(content, protocol=2))
    if form == "first":
        content = [payload, official()]
    return _saved(folder, content, _use_new_zipfile_serialization=form != "old")


def _written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def _by_hand(code: bytes, folder: Path, **records: bytes) -> Path:
    """A file of torch.save whose pickle is written by hand."""
    with zipfile.ZipFile(folder / "w.pth", "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02" + code + b".")
        archive.writestr("w/version", b"3\n")
        archive.writestr("w/byteorder", b"little")
        for name, content in records.items():
            archive.writestr(f"w/data/{name.removeprefix('data')}", content)
    return folder / "w.pth"


def _global(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def _number(value: int) -> bytes:
    return b"\x8a" + bytes([len(data := value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))]) + data


def _storage(count: int, kind: str = "FloatStorage", key: str = "0", device: str = "cpu") -> bytes:
    letters = b"".join(b"X" + struct.pack("<I", len(text)) + text.encode() for text in ("storage",))
    names = b"".join(b"X" + struct.pack("<I", len(text)) + text.encode() for text in (key, device))
    return b"(" + letters + _global(f"torch.{kind}") + names + _number(count) + b"tQ"


def _tensor(count: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, **storage: str) -> bytes:
    numbers = [b"(" + b"".join(map(_number, values)) + b"t" for values in (size, stride)]
    return (
        _global("torch._utils._rebuild_tensor_v2") + b"(" + _storage(count,
        **storage) + _number(offset) + numbers[0] + numbers[1]
        + b"\x89" + _global("collections.OrderedDict") + b")R" + b"tR"
    )  # fmt: skip


def _entry(value: bytes) -> bytes:
    """A dict with one entry."""
    return b"}" + b"X\x04\0\0\0head" + value + b"s"


_CODES: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "a tensor beyond its storage": (_entry(_tensor(4, (1000,), (1,))), {"data0": bytes(16)}),
    "a tensor of 2^62 numbers": (_entry(_tensor(4, (2**62,), (1,))), {"data0": bytes(16)}),
    "a tensor of 2^40 numbers in 4": (_entry(_tensor(4, (2**20, 2**20), (0, 0))), {"data0": bytes(16)}),
    "a tensor of -1 numbers": (_entry(_tensor(4, (-1,), (1,))), {"data0": bytes(16)}),
    "a tensor that runs back": (_entry(_tensor(4, (4,), (-1,), 3)), {"data0": bytes(16)}),
    "a tensor from -9 on": (_entry(_tensor(4, (4,), (1,), -9)), {"data0": bytes(16)}),
    "a storage of 2^40 numbers": (_entry(_tensor(2**40, (4,), (1,))), {"data0": bytes(16)}),
    "a storage of -1 numbers": (_entry(_tensor(-1, (0,), (1,))), {"data0": bytes(16)}),
    "a storage that is missing": (_entry(_tensor(4, (4,), (1,))), {}),
    "a storage outside": (_entry(_tensor(4, (4,), (1,), key="../../../etc/passwd")), {"data0": bytes(16)}),
    "a storage on a GPU": (_entry(_tensor(4, (4,), (1,), device="cuda:7")), {"data0": bytes(16)}),
    "a storage on meta": (_entry(_tensor(4, (4,), (1,), device="meta")), {"data0": bytes(16)}),
    "a storage nowhere": (_entry(_tensor(4, (4,), (1,), device="moon")), {"data0": bytes(16)}),
    "a storage of an odd kind": (_entry(_tensor(4, (4,), (1,), kind="QInt8Storage")), {"data0": bytes(16)}),
    "a bytearray of 10^11": (_entry(_global("builtins.bytearray") + b"(" + _number(10**11) + b"tR"), {}),
    "a bytearray of 10^19": (_entry(_global("builtins.bytearray") + b"(" + _number(10**19) + b"tR"), {}),
    "a size of -1": (_entry(_global("torch.Size") + b"((" + _number(-1) + b"ttR"), {}),
    "a size of texts": (_entry(_global("torch.Size") + b"((X\x01\0\0\0attR"), {}),
    "a device of nonsense": (_entry(_global("torch.device") + b"(X\x04\0\0\0moontR"), {}),
    "a text in odd letters": (_entry(_global("_codecs.encode") + b"(X\x01\0\0\0aX\x05\0\0\0rot13tR"), {}),
    "numbers of a long": (_entry(b"\x8b\xff\xff\xff\x7f"), {}),
    "a text longer than the file": (_entry(b"X\xff\xff\xff\x7f"), {}),
    "a memo that is not there": (_entry(b"h\x63"), {}),
    "a stack that is empty": (b"000", {}),
    "a mark without": (b"t", {}),
    "an unknown letter": (b"\xfe", {}),
    "no end": (b"}" * 5, {}),
    "deep tuples": (b"(" * 200_000, {}),
    "deep lists": (b"]" + b"]" * 3000 + b"a" * 3000, {}),
    "a state for a dict": (_entry(_global("collections.OrderedDict") + b")R}X\x07\0\0\0__len__K\x01sb"), {}),
    "a state for a tensor": (_entry(_tensor(4, (4,), (1,)) + b"}X\x04\0\0\0dataNsb"), {"data0": bytes(16)}),
    "a state for a storage": (_entry(_storage(4) + b"Nb"), {"data0": bytes(16)}),
    "a parameter of nothing": (_entry(_global("torch._utils._rebuild_parameter") + b"(N\x89NtR"), {}),
    "a sparse tensor of nothing": (_entry(_global("torch._utils._rebuild_sparse_tensor") + b"(NNtR"), {}),
    "a tensor on meta": (_entry(_global("torch._utils._rebuild_meta_tensor_no_storage") + b"(NNNNtR"), {}),
    "an extension": (_entry(b"\x82\x01"), {}),
    "an unhashable key": (b"}]K\x01s", {}),
    "a dict in itself": (b"}q\0X\x04\0\0\0headh\0s", {}),
    "names that are numbers": (b"}K\x01" + _tensor(4, (4,), (1,)) + b"s", {"data0": bytes(16)}),
    "nothing": (b"N", {}),
    "a number": (b"K\x07", {}),
}  # fmt: skip


def _bomb(kind: str, folder: Path) -> Path:
    """An archive that unpacks to 1.5 GB."""
    size = 1_500_000_000
    good = io.BytesIO()
    torch.save({"model": official()}, good)
    path = folder / "w.pth"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            if kind == "pickle" and name.endswith("data.pkl"):
                with new.open(name, "w", force_zip64=True) as file:
                    file.write(b"\x80\x02" + b"X" + struct.pack("<I", size))
                    for _ in range(size // 10**7):
                        file.write(_ZEROS)
            elif kind == "storage" and name.endswith("/data/0"):
                with new.open(name, "w", force_zip64=True) as file:
                    for _ in range(size // 10**7):
                        file.write(_ZEROS)
            else:
                new.writestr(name, old.read(name), zipfile.ZIP_STORED)
    return path


_ZEROS = bytes(10**7)


def _own(folder: Path, **changes: Any) -> Path:
    """A checkpoint of this package with other metadata; None leaves an entry out."""
    metadata = describe(network())
    for key, value in changes.items():
        metadata[f"focalnets.{key}"] = value
    save_file(network().state_dict(), folder / "w.safetensors", {k: v for k, v in metadata.items() if v is not None})
    return folder / "w.safetensors"


def _head(edit: Callable[[dict[str, Any]], Any], folder: Path) -> Path:
    """A safetensors file with another head."""
    whole = save(network().state_dict(), describe(network()))
    length = int.from_bytes(whole[:8], "little")
    head = json.loads(whole[8 : 8 + length])
    text = edit(head)
    text = json.dumps(head if text is None else text).encode() if not isinstance(text, bytes) else text
    return _written(folder, "w.safetensors", len(text).to_bytes(8, "little") + text + whole[8 + length :])


def _tensors(edit: Callable[[dict[str, torch.Tensor]], Any], folder: Path) -> Path:
    tensors = official()
    edit(tensors)
    return _saved(folder, {"model": tensors})


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(held: dict[str, Any]) -> None:
        held[name] = value(held[name]) if callable(value) else value

    return edit


def _first(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Change what the head says of its first tensor."""

    def edit(head: dict[str, Any]) -> None:
        name = next(name for name in head if name != "__metadata__")
        head[name].update(changes)

    return edit


def timm_description() -> dict[str, Any]:
    return {
        "architecture": "focalnet_tiny_srf", "num_classes": 2, "model_args": timm_settings(network().config),
        "pretrained_cfg": {
            "input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.2] * 3, "crop_pct": 0.9, "interpolation": "bicubic",
            "label_names": list(CLASSES), "num_classes": 2,
        },
    }  # fmt: skip


def transformers_description() -> dict[str, Any]:
    names = {str(place): name for place, name in enumerate(CLASSES)}
    return {
        "model_type": "focalnet", "architectures": ["FocalNetForImageClassification"], "id2label": names,
        **transformers_settings(network().config),
    }  # fmt: skip


def preparation() -> dict[str, Any]:
    return {
        "size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3,
        "image_std": [0.2] * 3, "resample": 3, "do_center_crop": True, "rescale_factor": 1 / 255,
    }  # fmt: skip


def _described(layout: str, config: Any, folder: Path, prepared: Any = None) -> Path:
    """A folder as the hub keeps it."""
    place = folder / "hub"
    place.mkdir()
    save_file(to_layout(layout, network().state_dict(), post_norm=False), place / "model.safetensors", {"format": "pt"})
    texts = {"config.json": config, "preprocessor_config.json": prepared}
    for name, content in texts.items():
        if content is not None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode("utf-8", "surrogatepass")
            (place / name).write_bytes(data)
    return place


def _timm(config: Any, folder: Path) -> Path:
    return _described("timm", config, folder)


def _sharded(weight_map: Any, folder: Path) -> Path:
    place = folder / "hub"
    place.mkdir()
    save_file(official(), place / "a.safetensors")
    text = weight_map if isinstance(weight_map, bytes) else json.dumps({"weight_map": weight_map}).encode()
    (place / "model.safetensors.index.json").write_bytes(text)
    return place


def _tar(folder: Path) -> Path:
    with tarfile.open(folder / "w.pth", "w") as archive:
        member = tarfile.TarInfo(f"../{CANARY}")
        archive.addfile(member, io.BytesIO())
    return folder / "w.pth"


def _zip_outside(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "w.pth", "w") as archive:
        archive.writestr(f"../{CANARY}", b"")
        archive.writestr("w/data.pkl", b"\x80\x02}.")
    return folder / "w.pth"


def _script(folder: Path) -> Path:
    torch.jit.script(torch.nn.Linear(2, 2)).save(folder / "w.pth")
    return folder / "w.pth"


def _named() -> dict[str, Build]:
    builds: dict[str, Build] = {}
    for key in _payloads(Path("nowhere")):
        for form in ("new", "old") if key not in ("open", "eval", "as a tensor") else ("new", "old", "bare", "first"):
            builds[f"{key}, {form}"] = functools.partial(_payload, key, form)
    for name, (code, records) in _CODES.items():
        builds[f"by hand: {name}"] = functools.partial(lambda c, r, folder: _by_hand(c, folder, **r), code, records)
    builds |= {
        "archive whose pickle unpacks to 1.5 GB": functools.partial(_bomb, "pickle"),
        "archive whose tensor unpacks to 1.5 GB": functools.partial(_bomb, "storage"),
        "tar with a member outside": _tar,
        "archive with a member outside": _zip_outside,
        "program": _script,
        "empty archive": lambda folder: _written(folder, "w.pth", b"PK\x05\x06" + bytes(18)),
    }
    for name, content in {
        "nothing": b"", "one byte": b"\x80", "a text": b"these are no weights\n", "a page": b"<html>",
        "a pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "zeros": bytes(999), "noise": random.Random(0).randbytes(999), "gzip": gzip.compress(b"a"),
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(99),
        "ONNX": b"\x08\x08\x12\x07pytorch", "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(99),
        "a short head": b"\x05\0\0\0\0\0\0\0{", "a head of 2^63": b"\xff" * 7 + b"\x7f{",
        "a head of braces": (9).to_bytes(8, "little") + b"{" * 9, "deep JSON": (10**5).to_bytes(8,
        "little") + b'{"a":' * 20_000,
        "a head that is a list": (2).to_bytes(8, "little") + b"[]", "a head with NaN": (9).to_bytes(8,
        "little") + b'{"a":NaN}',
        "a head not in UTF-8": (9).to_bytes(8, "little") + b'{"\xff\xfe":1}',
    }.items():  # fmt: skip
        for ending in ("pth", "safetensors"):
            builds[f"{name}, called .{ending}"] = functools.partial(
                lambda c, e, folder: _written(folder, f"w.{e}", c), content, ending
            )
    heads: dict[str, Callable[[dict[str, Any]], Any]] = {
        "shape beyond the file": _first(shape=[10**6, 10**6]), "shape of 2^63": _first(shape=[2**63]),
        "shape of -1": _first(shape=[-1]),
        "shape of texts": _first(shape=["1"]), "no shape": _first(shape=None),
        "shape of 10^5 axes": _first(shape=[1] * 10**5),
        "an odd dtype": _first(dtype="F99"), "dtype F4": _first(dtype="F4"), "dtype BOOL": _first(dtype="BOOL"),
        "dtype C64": _first(dtype="C64"),
        "dtype a number": _first(dtype=3), "offsets that cross": _first(data_offsets=[8, 0]),
        "offsets beyond": _first(data_offsets=[0, 2**62]),
        "negative offsets": _first(data_offsets=[-8, 8]), "offsets of texts": _first(data_offsets=["0", "8"]),
        "one offset": _first(data_offsets=[0]),
        "overlapping": _first(data_offsets=[4, 100]), "an unknown key": _first(more=1),
        "metadata a list": _set("__metadata__", []),
        "metadata of numbers": _set("__metadata__", {"a": 1}), "metadata deep": _set("__metadata__", {"a": {"b": "c"}}),
        "no metadata": lambda head: head.pop("__metadata__"),
        "only metadata": lambda head: {"__metadata__": head["__metadata__"]},
        "doubled names": lambda head: json.dumps(head)[:-1].encode() + b"," + json.dumps(head)[1:].encode(),
        "a name of 10^6 letters": lambda head: {("x" * 10**6 if name == "head.bias" else name): value for name,
        value in head.items()},
        "names with line ends": lambda head: {name.replace(".", "\n"): value for name, value in head.items()},
        "names with escapes": lambda head: {f"\x1b[31m{name}": value for name, value in head.items()},
        "a lone surrogate": lambda head: json.dumps(head).encode().replace(b'"head.bias"', b'"\\udcff"'),
    }  # fmt: skip
    for name, edit in heads.items():
        builds[f"head: {name}"] = functools.partial(_head, edit)
    settings: dict[str, Any] = {
        "config": ["{", "[" * 99_999, "[]", "null", "1e999", '"\\ud800"', None, "{}",
        '{"depths": [1, 2, 1, 1000000000]}', '{"embed_dim": 1e300}', "NaN"],
        "input": ["{", "{}", None, '{"kind": "image", "mean": [1e999, 0, 0]}', '{"kind": "text"}',
        '{"kind": ["image"]}', '{"kind": "image", "input_size_px": 8192}'],
        "labels": ["{", '["a"]', "[1, 2]", '["a", "a"]', '["\\u001b[31m", "b\\nc"]', '["' + "x" * 10**6 + '", "b"]',
        '["\\ud800", "b"]', '["", ""]'],
        "head": [None, "{}", '{"kind": "linear", "outputs": 10000000000}', '{"kind": "__class__"}'],
        "task": [None, '"detect"', '"../../x"', '"classify\\n"', "3"],
        "notes": ['{"a": {}}', "[]", '{"a\\nb": "\\u001b[2J"}'],
        "origin": ["3", '"' + "x" * 10**6 + '"', '"a\\nb"'],
        "format_version": ["3", "0", "-1", "", "1e3", "٢", "²", "x" * 10**5],
        "stored_dtype": ['"int3"', "[]"],
    }  # fmt: skip
    for key, values in settings.items():
        for place, value in enumerate(values):
            builds[f"metadata: {key} {place}"] = functools.partial(
                lambda k, v, folder: _own(folder, **{k: v}), key, value
            )
    edits: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
        "without the head": lambda held: (held.pop("head.weight"), held.pop("head.bias")),
        "without the stem": lambda held: [held.pop(name) for name in list(held) if name.startswith("patch_embed.")],
        "without a block": lambda held: [held.pop(name) for name in list(held) if name[:18] == "layers.1.blocks.1."],
        "only one tensor": lambda held: [held.pop(name) for name in list(held)[1:]],
        "NaN": _set("head.weight", lambda tensor: tensor * math.nan), "infinite": _set("head.bias",
        lambda tensor: tensor + math.inf), "huge": _set("head.weight", lambda tensor: tensor + 3e38),
        "whole numbers": _set("head.weight", lambda tensor: tensor.long()), "complex": _set("head.weight",
        lambda tensor: tensor.to(torch.complex64)), "booleans": _set("head.weight", lambda tensor: tensor > 0),
        "float64": _set("head.weight", lambda tensor: tensor.double()), "float8": _set("head.weight",
        lambda tensor: tensor.to(torch.float8_e4m3fn)), "half": lambda held: held.update({name: tensor.half() for name,
        tensor in held.items()}),
        "meta": _set("head.weight", lambda tensor: tensor.to("meta")), "sparse": _set("head.weight",
        lambda tensor: tensor.to_sparse()), "sparse rows": _set("head.weight", lambda tensor: tensor.to_sparse_csr()),
        "quantised": _set("head.weight", lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)),
        "nested": _set("head.weight", lambda tensor: torch.nested.nested_tensor([tensor[0], tensor[1, :3]])),
        "a parameter": _set("head.weight", torch.nn.Parameter), "a view": _set("head.weight",
        lambda tensor: tensor[:1].expand_as(tensor)), "turned": _set("head.weight", lambda tensor: tensor.T),
        "no axes": _set("head.bias", lambda tensor: torch.tensor(1.0)), "empty": _set("head.weight",
        lambda tensor: torch.zeros(0, 32)), "2 x 10^9 classes, of one number": _set("head.weight",
        lambda tensor: torch.zeros(1).expand(2 * 10**9, 32)),
        "64 axes": _set("head.weight", lambda tensor: torch.zeros((1,) * 64)),
        "far block numbers": lambda held: held.update({"layers.99999999999.blocks.0.mlp.fc1.weight": torch.zeros(1)}),
        "odd block numbers": lambda held: held.update({"layers.٣.blocks.0.mlp.fc1.weight": torch.zeros(1)}),
        "a tensor too many": lambda held: held.update({"more.weight": torch.zeros(1)}),
        "an even kernel": lambda held: [held.__setitem__(name, tensor[..., :2, :2].clone()) for name,
        tensor in list(held.items()) if "focal_layers" in name],
        "names with line ends": lambda held: [held.__setitem__(f"a\nb{place}", held.pop(name)) for place,
        name in enumerate(list(held)[:3])],
        "names with a prefix": lambda held: [held.__setitem__(f"module._orig_mod.{name}",
        held.pop(name)) for name in list(held)], "two networks": lambda held: held.update({f"b.{name}": tensor for name,
        tensor in held.items()}),
    }  # fmt: skip
    for name, change in edits.items():
        builds[f"tensors: {name}"] = functools.partial(_tensors, change)
    for name, content in {"a list": [1, 2], "one tensor": torch.zeros(3), "an empty dict": {}, "a text": "weights",
    "None": None, "numpy only": {"a": np.zeros(3)}, "numbers as names": {1: torch.zeros(1)},
                          "numpy beside": {"model": official(), "best": np.float64(0.5), "all": np.arange(3.0)},
                          "others": torch.nn.Linear(3, 2).state_dict(), "ResNet": {"conv1.weight": torch.zeros(64, 3, 7,
                          7), "fc.weight": torch.zeros(10, 512)},
                          "ViT": {"cls_token": torch.zeros(1, 1, 8), "blocks.0.attn.qkv.weight": torch.zeros(24, 8)},
                          "Swin": {"layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(9,
                          3)}}.items():  # fmt: skip
        builds[f"content: {name}"] = functools.partial(lambda c, folder: _saved(folder, c), content)
    for protocol in (0, 1, 3, 4, 5):
        builds[f"protocol {protocol}"] = functools.partial(
            lambda p, folder: _saved(folder, {"model": official()}, pickle_protocol=p), protocol
        )
    good = timm_description()
    timm: dict[str, Any] = {
        "good": good, "not JSON": b"{", "a list": [], "deep": b"[" * 10**5, "not in UTF-8": b"\xff\xfe", "empty": b"",
        "architecture a list": {**good, "architecture": ["focalnet"]}, "another": {**good, "architecture": "resnet50"},
        "depths 10^9": {**good, "model_args": {"depths": [10**9]}}, "depths of texts": {**good,
        "model_args": {"depths": "1211"}}, "arguments a list": {**good, "model_args": [1]}, "no numbers": {**good,
        "model_args": {"embed_dim": "wide"}},
        "1e999": json.dumps(good).replace("0.9", "1e999").encode(), "NaN": {**good,
        "pretrained_cfg": {**good["pretrained_cfg"], "mean": [math.nan] * 3}}, "size 10^9": {**good,
        "pretrained_cfg": {"input_size": [3, 10**9, 10**9]}},
        "size empty": {**good, "pretrained_cfg": {"input_size": []}}, "size a text": {**good,
        "pretrained_cfg": {"input_size": "224"}}, "crop 0": {**good, "pretrained_cfg": {**good["pretrained_cfg"],
        "crop_pct": 1e-9}},
        "statistics of one": {**good, "pretrained_cfg": {**good["pretrained_cfg"], "std": [0.0]}},
        "settings a text": {**good, "pretrained_cfg": "x"}, "labels of lists": {**good, "label_names": [[1], {}]},
        "three labels": {**good, "label_names": ["a", "b", "c"]},
        "classes a text": {**good, "num_classes": "many"}, "classes -1": {**good, "num_classes": -1},
        "a lone surrogate": json.dumps({**good, "label_names": ["\ud800", "b"]}).encode(),
    }  # fmt: skip
    for name, content in timm.items():
        builds[f"timm: {name}"] = functools.partial(_timm, content)
    described = transformers_description()
    for name, config, prepared in (
        ("good", described, preparation()), ("labels without order", {**described, "id2label": {"7": "a", "x": "b"}},
        None), ("labels a list", {**described, "id2label": ["a", "b"]}, None), ("activation", {**described,
        "hidden_act": "relu"}, None),
        ("activation a list", {**described, "hidden_act": [1]}, None), ("epsilon NaN", {**described,
        "layer_norm_eps": math.nan}, None), ("mean of texts", described, {**preparation(), "image_mean": ["a"]}),
        ("mean a number", described, {**preparation(), "image_mean": 0.5}),
        ("factor 0", described, {**preparation(), "rescale_factor": 0}), ("factor 1e308", described, {**preparation(),
        "rescale_factor": 1e308}), ("factor a text", described, {**preparation(), "rescale_factor": "x"}),
        ("size a text", described, {**preparation(), "crop_size": "x"}),
        ("size 1e999", described, json.dumps(preparation()).replace("32", "1e999").encode()), ("size deep", described,
        {**preparation(), "size": {"shortest_edge": {"height": 3}}}), ("preparation a list", described, []),
        ("preparation cut", described, b'{"size":'),
        ("resample a list", described, {**preparation(), "resample": []}), ("std 0", described, {**preparation(),
        "image_std": [0, 0, 0]}), ("depths deep", {**described, "depths": [[1]]}, None), ("patch 10^12", {**described,
        "patch_size": 10**12}, None),
        ("auto_map", {**described, "auto_map": {"AutoModel": "evil.py--Model"}}, None), ("layer scale a text",
        {**described, "use_layerscale": True, "layerscale_value": "x"}, None), ("channels 0", {**described,
        "num_channels": 0}, None),
    ):  # fmt: skip
        builds[f"transformers: {name}"] = functools.partial(
            lambda c, p, folder: _described("transformers", c, folder, p), config, prepared
        )
    names = list(official())
    for name, weight_map in {
        "good": dict.fromkeys(names, "a.safetensors"), "outside": dict.fromkeys(names, "../../etc/passwd"),
        "absolute": dict.fromkeys(names, "/etc/passwd"), "missing": dict.fromkeys(names, "b.safetensors"),
        "itself": dict.fromkeys(names, "model.safetensors.index.json"),
        "a list": [], "of numbers": dict.fromkeys(names, 1), "a name too many": {**dict.fromkeys(names,
        "a.safetensors"), "more": "a.safetensors"}, "not JSON": b"{", "a device": dict.fromkeys(names, "null"),
        "empty": {},
    }.items():  # fmt: skip
        builds[f"shards: {name}"] = functools.partial(_sharded, weight_map)
    return builds


NAMED = _named()
_NAMES = list(NAMED)
NAMED_CASES = len(_NAMES)


def make_checkpoint(number: int, folder: Path, draw: random.Random) -> tuple[Path, str]:
    """Make the weights of a number in a folder; returns what to load, and what it is."""
    if number < NAMED_CASES:
        return NAMED[_NAMES[number]](folder), _NAMES[number]
    kind = draw.choice(("own", "own", "new", "old", "timm", "transformers", "preparation", "metadata"))
    if kind in ("own", "new", "old"):
        ending = "safetensors" if kind == "own" else "pth"
        content, words = changed(_good(kind), draw)
        return _written(folder, f"w.{ending}", content), f"{kind} file, {words}"
    if kind == "timm":
        return _timm(changed_json(timm_description(), draw), folder), "timm's description changed"
    if kind == "transformers":
        return _described("transformers", changed_json(transformers_description(), draw), folder), "description changed"
    if kind == "preparation":
        return (
            _described("transformers", transformers_description(), folder, changed_json(preparation(), draw)),
            "preparation changed",
        )
    metadata = describe(network())
    key = draw.choice([name for name in metadata if name.startswith("focalnets.") and metadata[name][:1] in '{["'])
    value = changed_json(json.loads(metadata[key]), draw)
    return _own(folder, **{key.removeprefix("focalnets."): value.decode("utf-8", "replace")}), f"{key} changed"


@functools.cache
def _good(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "own":
        return save(network().state_dict(), describe(network()))
    torch.save({"model": official(), "best": np.float64(0.5)}, file, _use_new_zipfile_serialization=kind == "new")
    return file.getvalue()


def save_good(path: Path) -> Path:
    """The network as a good file."""
    save_checkpoint(network(), path)
    return path
