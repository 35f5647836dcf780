"""Fuzzing of what reads weights: first bytes, heads, pickles, names and shapes, metadata, and what lies beside."""

from __future__ import annotations

import functools
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from tests.campaigns import hostile_checkpoints as hostile
from tests.campaigns.fuzzing import Target, changed_bytes, changed_values, json_texts

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def _load(path: Path) -> None:
    from focalnets.weights.loading import load_model

    model = load_model(path)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    with torch.inference_mode():
        assert model(torch.zeros(1, model.config.in_chans, 32, 32)).shape[0] == 1


def _read_file(ending: str, content: bytes, place: Path) -> None:
    path = place / f"w.{ending}"
    path.write_bytes(content)
    _load(path)
    assert [file.name for file in place.iterdir()] == [path.name]


def _recognise(content: bytes, place: Path) -> None:
    from focalnets.weights.file_kinds import describe_cut, pickle_protocol, recognise_file

    path = place / "w"
    path.write_bytes(content)
    describe_cut(path)
    pickle_protocol(path)
    assert recognise_file(path) in ("safetensors", "torch")


def _read_head(text: bytes, place: Path) -> None:
    whole = hostile._good("own")
    body = whole[8 + int.from_bytes(whole[:8], "little") :]
    _read_file("safetensors", len(text).to_bytes(8, "little") + text + body, place)


@functools.cache
def _head() -> Any:
    whole = hostile._good("own")
    return json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])


def _run_pickle(code: bytes, place: Path) -> None:
    from focalnets.weights.readers import read_weights

    canary = place / hostile.CANARY
    with zipfile.ZipFile(place / "w.pth", "w") as archive:
        archive.writestr("w/data.pkl", code)
        archive.writestr("w/version", b"3\n")
        archive.writestr("w/byteorder", b"little")
        archive.writestr("w/data/0", bytes(64))
    try:
        read_weights(place / "w.pth")
    finally:
        assert not canary.exists()
        assert not Path("canary").exists()


@functools.cache
def _pickles() -> list[bytes]:
    """Codes of pickles: by hand, of real files, and such as would make a canary."""
    found = [b"\x80\x02" + code + b"." for code, _ in hostile._CODES.values() if len(code) < 5000]
    call = b"cbuiltins\nopen\n(X\x06\0\0\0canaryX\x01\0\0\0wtR."
    return [*found, b"\x80\x02" + call, b"\x80\x02cposix\nsystem\n(X\x0c\0\0\0touch canarytR."]


def _read_metadata(metadata: dict[str, str], _: Path) -> None:
    from focalnets.weights.description import read_description

    found = read_description(metadata, "w.safetensors")
    if found is not None:
        again = read_description(found.to_metadata(), "w.safetensors")
        assert again is not None
        assert again.config == found.config


@functools.cache
def _metadata() -> dict[str, str]:
    from focalnets.weights.checkpoint import describe

    return describe(hostile.network())


def _changed_metadata() -> st.SearchStrategy[dict[str, str]]:
    good = _metadata()
    texts = [
        st.builds(
            lambda text, key=key: {**good, key: text.decode("utf-8", "replace")}, json_texts(json.loads(good[key]))
        )
        for key in good
        if key.startswith("focalnets.") and good[key][:1] in '{["n'
    ]
    return st.one_of(
        *texts, st.dictionaries(st.sampled_from(sorted(good)), st.text(max_size=20)).map(lambda new: {**good, **new})
    )


def _read_companion(files: dict[str, bytes], place: Path) -> None:
    from focalnets.weights.companions import read_companion

    for name, content in files.items():
        (place / name).write_bytes(content)
    found = read_companion(place)
    if found is not None and found.preprocessing is not None:
        assert found.preprocessing.input_size_px >= 1


def _beside(layout: str, files: dict[str, bytes], place: Path) -> None:
    """The same with tensors, so that what it says is compared with them."""
    from focalnets.weights.key_maps import to_layout

    for name, content in files.items():
        (place / name).write_bytes(content)
    save_file(to_layout(layout, hostile.network().state_dict(), post_norm=False), place / "model.safetensors")
    _load(place)


def _descriptions() -> st.SearchStrategy[dict[str, bytes]]:
    timm = json_texts(hostile.timm_description()).map(lambda text: {"config.json": text})
    prepared = json_texts(hostile.preparation())
    good = json.dumps(hostile.transformers_description()).encode()
    return st.one_of(
        timm,
        json_texts(hostile.transformers_description()).map(lambda text: {"config.json": text}),
        prepared.map(lambda text: {"config.json": good, "preprocessor_config.json": text}),
    )


def _read_shapes(shapes: dict[str, tuple[int, ...]], _: Path) -> None:
    from focalnets.weights.key_maps import LAYOUTS, find_networks, from_layout
    from focalnets.weights.recognition import matching_variants, visible_settings

    find_networks(shapes)
    visible = visible_settings(shapes, "w.pth")
    matching_variants(visible)
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    for layout in LAYOUTS:
        from_layout(layout, tensors)


def _changed_shapes() -> st.SearchStrategy[dict[str, tuple[int, ...]]]:
    good = {name: list(tensor.shape) for name, tensor in hostile.network().state_dict().items()}

    def checked(value: Any) -> dict[str, tuple[int, ...]]:
        entries = value.items() if isinstance(value, dict) else ()
        return {
            str(name): tuple(side for side in shape if type(side) is int and 0 <= side < 2**20)[:6]
            for name, shape in entries
            if isinstance(shape, list)
        }

    return changed_values(good).map(checked)


def _read_places(text: bytes, place: Path) -> None:
    save_file(hostile.official(), place / "a.safetensors")
    (place / "model.safetensors.index.json").write_bytes(text)
    _load(place)


def _weight_map() -> Any:
    return {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(hostile.official(), "a.safetensors")}


_STARTS = [
    b"PK\x03\x04" + bytes(60), b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", save({"a": torch.zeros(2)}),
    b"version https://git-lfs", b"<html>", b"\x08\x08\x12\x07pytorch", b"\x93NUMPY", b"GGUF", b"\x1f\x8b", bytes(64),
    b"text",
]  # fmt: skip

TARGETS = {
    "first bytes of weights": Target(lambda: changed_bytes(_STARTS), _recognise),
    "safetensors files": Target(lambda: changed_bytes([hostile._good("own")], (b"F32", b"[0,", b"}", b"__metadata__")),
    functools.partial(_read_file, "safetensors")),
    "safetensors heads": Target(lambda: json_texts(_head()), _read_head),
    "files of torch.save": Target(lambda: changed_bytes([hostile._good("new"), hostile._good("old")], (b"PK\x05\x06",
    b"PK\x01\x02", b"ctorch\n", b".")), functools.partial(_read_file, "pth")),
    "codes of pickles": Target(lambda: changed_bytes(_pickles(), (b"R", b"b", b"t", b"(", b"0", b"2", b"}",
    b"cbuiltins\nopen\n", b"ctorch\nSize\n", b"cnumpy\ndtype\n", b"s", b"u", b"e", b"\x8a\x08" + b"\xff" * 8, b"q\0",
    b"h\0")), _run_pickle),
    "metadata": Target(_changed_metadata, _read_metadata),
    "descriptions": Target(_descriptions, _read_companion),
    "descriptions beside timm's weights": Target(_descriptions, functools.partial(_beside, "timm")),
    "descriptions beside transformers' weights": Target(_descriptions, functools.partial(_beside, "transformers")),
    "names and shapes": Target(_changed_shapes, _read_shapes),
    "maps of shards": Target(lambda: json_texts(_weight_map()), _read_places),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TARGETS))
def test_fuzz(name, fuzzed, say):
    say(fuzzed(__name__, name))
