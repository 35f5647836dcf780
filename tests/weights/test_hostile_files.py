"""Files that are damaged, hostile, or of something else: one sentence each, nothing executed, nothing loaded."""

from __future__ import annotations

import argparse
import functools
import io
import json
import pickle
import sys
import tarfile
import types
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.weights.networks import drawn, small_config

import focalnets
from focalnets.errors import CheckpointError
from focalnets.weights.checkpoint import describe, save_checkpoint, write_safetensors
from focalnets.weights.key_maps import to_layout
from focalnets.weights.loading import inspect_checkpoint


class Payload:
    """Unpickles by creating a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self.marker, "w"))


def official() -> dict[str, torch.Tensor]:
    model = drawn(small_config("srf"))
    return to_layout("official", model.state_dict(), post_norm=False)


def refused(path: Path, *words: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        focalnets.load_model(path)
    message = str(caught.value)
    assert path.name in message or path.parent.name in message
    assert message.count("\n") == 0
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_executes_code_is_refused_and_executes_nothing(tmp_path: Path, zipped: bool) -> None:
    marker, path = tmp_path / "marker", tmp_path / "weights.pth"
    content = {"model": official(), "extra": Payload(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(path, "is refused", "execute code", "open")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker))).close()
    assert marker.exists(), "the payload works, so the refusal above means something"


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Payload(marker)))
    refused(path)
    assert not marker.exists()


def test_old_files_that_are_no_zip_archives_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": official()}, path, _use_new_zipfile_serialization=False)
    assert inspect_checkpoint(path).layout == "official"


def test_tar_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(0)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    refused(path, "damaged or no weights file")


@pytest.mark.parametrize("fraction", [0.2, 0.6, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files_are_refused(tmp_path: Path, fraction: float, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"model": official()}, path)
    else:
        save_file(official(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    refused(path, "damaged")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"these are no weights\n", b"\x00" * 64, b"\xff" * 64])
def test_files_that_hold_no_weights_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    refused(path, "damaged" if content else "empty")


@pytest.mark.parametrize("content", [{}, [1, 2], {"model": {}}, {"epoch": 3}, torch.zeros(3)])
def test_pickles_without_named_tensors_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    refused(path, "no named tensors")


def test_folders_without_weights_or_with_several_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, "holds no weights")
    for name in ("a.pth", "b.pth"):
        torch.save(official(), tmp_path / name)
    refused(tmp_path, "a.pth, b.pth")


def test_a_missing_source_is_reported(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pth", "no file or folder")


def test_shards_outside_their_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file(official(), tmp_path / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict.fromkeys(official(), "../outside.safetensors")})
    )
    refused(folder, "outside its own folder")


def test_another_network_is_refused(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    path = tmp_path / "resnet.pth"
    torch.save(resnet18().state_dict(), path)
    refused(path, "is no FocalNet", "conv1.weight")


@pytest.mark.parametrize(
    ("layout", "lost"),
    [
        ("official", "layers.1.blocks.0.modulation.f.weight"),
        ("official", "layers.1.downsample.norm.bias"),
        ("timm", "layers.1.blocks.0.modulation.focal_layers.0.0.weight"),
        ("transformers", "focalnet.encoder.stages.1.layers.0.mlp.fc2.bias"),
        ("focalnets", "stages.2.blocks.0.norm2.weight"),
    ],
)
def test_incomplete_files_list_what_is_missing(tmp_path: Path, layout: str, lost: str) -> None:
    tensors = to_layout(layout, drawn(small_config("srf")).state_dict(), post_norm=False)
    del tensors[lost]
    path = tmp_path / "weights.pth"
    torch.save(tensors, path)
    refused(path, "nothing was loaded", "1 missing", lost)


def test_a_missing_stem_or_first_block_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for lost in ("patch_embed.proj.weight", "layers.0.blocks.0.mlp.fc1.weight"):
        tensors = official()
        del tensors[lost]
        torch.save(tensors, path)
        refused(path, "missing")


def test_unexpected_and_mis_shaped_tensors_are_listed(tmp_path: Path) -> None:
    tensors = official()
    tensors["layers.0.blocks.0.attention.weight"] = torch.zeros(3)
    tensors["two\nlines"] = torch.zeros(3)
    tensors["norm.weight"] = torch.ones(5)
    path = tmp_path / "weights.pth"
    torch.save(tensors, path)
    message = refused(path, "2 unexpected: layers.0.blocks.0.attention.weight, 'two\\nlines'")
    assert "1 mis-shaped: norm.weight (5,) instead of (64,)" in message


def test_absurd_layer_numbers_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({**official(), "layers.0.blocks.999999.norm1.weight": torch.ones(8)}, path)
    refused(path, "999999")


def test_a_tensor_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    tensors = official()
    tensors["head.weight"] = torch.zeros(1).expand(50_000_000, 64)
    tensors["head.bias"] = torch.zeros(1).expand(50_000_000)
    path = tmp_path / "weights.pth"
    torch.save(tensors, path)
    assert path.stat().st_size < 1_000_000
    refused(path, "exhaust memory")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    tensors = official()
    tensors["norm.bias"][3] = value
    path = tmp_path / "weights.pth"
    torch.save(tensors, path)
    refused(path, "NaN or infinite", "norm.bias")


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool])
def test_numbers_that_are_no_weights_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "weights.pth"
    torch.save({name: tensor.to(dtype) for name, tensor in official().items()}, path)
    refused(path, str(dtype))


def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({**official(), "head.bias": torch.zeros(11).to_sparse()}, path)
    refused(path, "sparse")


ODD_TENSORS = {
    "sparse": lambda tensor: tensor.to_sparse(),
    "sparse_csr": lambda tensor: tensor.reshape(len(tensor), -1).to_sparse_csr(),
    "quantized": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "without numbers": lambda tensor: tensor.to("meta"),
    "complex64": lambda tensor: tensor.to(torch.complex64),
    "exhaust memory": lambda tensor: torch.zeros(1).expand(tensor.shape),
    "uint8": lambda tensor: tensor.to(torch.uint8),
    "2 axes is expected": lambda tensor: tensor.reshape(*tensor.shape, 1, 1, 1),
}


@functools.cache
def in_layout(layout: str) -> dict[str, torch.Tensor]:
    return to_layout(layout, drawn(small_config("srf")).state_dict(), post_norm=False)


@pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:torch.quantize")
@pytest.mark.parametrize("layout", ["official", "timm", "transformers", "focalnets"])
@pytest.mark.parametrize("word", ODD_TENSORS)
@pytest.mark.parametrize("twice", [False, True])
def test_tensors_that_are_no_plain_numbers_are_refused_in_every_layout(
    tmp_path: Path, word: str, layout: str, twice: bool
) -> None:
    odd = {name: ODD_TENSORS[word](tensor) if tensor.ndim else tensor for name, tensor in in_layout(layout).items()}
    path = tmp_path / "weights.pth"
    torch.save({"model": odd, "ema": dict(odd)} if twice else odd, path)
    refused(path, word)


def with_index(folder: Path, places: object) -> Path:
    """A folder with one shard, a whole network beside it, and an index."""
    folder.mkdir()
    tensors = {name: tensor.clone() for name, tensor in in_layout("official").items()}
    save_file(tensors, folder.parent / "outside.safetensors")
    save_file(tensors, folder / "part.safetensors")
    (folder / "inner").mkdir()
    save_file(tensors, folder / "inner" / "model.safetensors")
    (folder / "again").symlink_to(folder)
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": places}), encoding="utf-8", errors="surrogatepass"
    )
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "../outside.safetensors", "..", ".", "", "/etc/passwd", "inner/model.safetensors", "inner", "again",
        "loop.safetensors", "gone.safetensors", "model.safetensors.index.json", "a\0b", "\ud800", "x" * 300,
        "two\nlines", "\u202e.safetensors",
    ],
)  # fmt: skip
def test_an_index_of_shards_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    refused(with_index(tmp_path / "folder", dict.fromkeys(in_layout("official"), name)))


@pytest.mark.parametrize(
    "places",
    [
        None, [], "part.safetensors", 3, {}, {"a": None}, {"a": 1}, {"a": ["part.safetensors"]}, {"a": {}},
        {"a": "part.safetensors"}, {"two\nlines": "part.safetensors"}, float("inf"), 10**30,
        {str(number): f"{number}.safetensors" for number in range(20_000)},
    ],
    ids=range(14),
)  # fmt: skip
def test_an_index_of_shards_is_not_believed(tmp_path: Path, places: object) -> None:
    refused(with_index(tmp_path / "folder", places), "index.json")


def test_an_index_of_shards_is_read(tmp_path: Path) -> None:
    folder = with_index(tmp_path / "folder", dict.fromkeys(in_layout("official"), "part.safetensors"))
    assert inspect_checkpoint(folder).layout == "official"


def test_settings_that_training_scripts_keep_are_read_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official script saves its yacs settings, others an argparse namespace; neither runs code."""

    class CfgNode(dict[str, object]):
        def __setstate__(self, state: object) -> None:
            raise AssertionError("the real class must not be used")

    yacs, config = types.ModuleType("yacs"), types.ModuleType("yacs.config")
    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    config.CfgNode = CfgNode  # type: ignore[attr-defined]
    node = CfgNode(lr=0.1)
    node.__dict__["__immutable__"] = True
    path = tmp_path / "weights.pth"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yacs", yacs)
        patch.setitem(sys.modules, "yacs.config", config)
        torch.save(
            {"model": OrderedDict(official()), "config": node, "args": argparse.Namespace(lr=0.1), "epoch": 3}, path
        )
    recognition = inspect_checkpoint(path)
    assert recognition.layout == "official"
    assert "args, config, epoch" in recognition.notes[0]


def as_format_1(metadata: dict[str, str]) -> dict[str, str]:
    """The metadata of a classifier as versions before format 2 wrote them."""
    old = {key: value for key, value in metadata.items() if key not in ("focalnets.task", "focalnets.head")}
    preprocessing = json.loads(old.pop("focalnets.input"))
    assert preprocessing.pop("kind") == "image"
    return {
        **old,
        "focalnets.format_version": "1",
        "focalnets.preprocessing": json.dumps(preprocessing),
        "focalnets.class_names": old.pop("focalnets.labels"),
    }


def _own(tmp_path: Path, version: int, **changes: object) -> Path:
    model = drawn(small_config("srf"))
    metadata = describe(model)
    if version == 1:
        metadata = as_format_1(metadata)
    else:
        names = {"preprocessing": "input", "class_names": "labels"}
        changes = {names.get(key, key): value for key, value in changes.items()}
    for key, value in changes.items():
        if value is None:
            del metadata[f"focalnets.{key}"]
        elif isinstance(value, dict):
            metadata[f"focalnets.{key}"] = json.dumps({**json.loads(metadata[f"focalnets.{key}"]), **value})
        else:
            metadata[f"focalnets.{key}"] = str(value)
    path = tmp_path / "own.safetensors"
    write_safetensors(model.state_dict(), path, metadata)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": "{"}, "no valid JSON"),
        ({"config": "[" * 100_000}, "no valid JSON"),
        ({"config": "[1]"}, "is a list"),
        ({"config": None}, "lack focalnets.config"),
        ({"config": {"colour": "red"}}, "no field 'colour'"),
        ({"config": {"post_norm": "yes"}}, "post_norm"),
        ({"config": {"depths": 3}}, "depths"),
        ({"config": {"depths": [1, 2, 1, 10**9]}}, "depths may be at most"),
        ({"config": {"embed_dim": 10**12}}, "embed_dim may be at most"),
        ({"config": {"mlp_ratio": 10**300}}, "no valid JSON"),
        ({"config": {"drop_path": 2.0}}, "drop_path"),
        ({"config": {"layer_scale": "1"}}, "layer_scale"),
        ({"config": {"num_classes": 12}}, "contradict"),
        ({"config": {"in_chans": True}}, "in_chans"),
        ({"preprocessing": {"mean": "bright"}}, "mean"),
        ({"preprocessing": {"mean": [0.5]}}, "mean and std"),
        ({"preprocessing": {"mean": [0.5], "std": [0.5]}}, "each of the 3 channels of the network, got 1"),
        ({"preprocessing": {"std": [0.0, 0.2, 0.2]}}, "std must be finite"),
        ({"preprocessing": {"std": [1e-30, 0.2, 0.2]}}, "std must be finite"),
        ({"preprocessing": {"mean": [1e300, 0.5, 0.5]}}, "mean must be finite"),
        ({"preprocessing": {"input_size_px": 20_000}}, "from 1 to 8,192, got 20000"),
        ({"preprocessing": {"input_size_px": 10**9}}, "from 1 to 8,192"),
        ({"preprocessing": {"crop_fraction": 1e-9}}, "resized to"),
        ({"preprocessing": {"colour": "red"}}, "no field 'colour'"),
        ({"preprocessing": '{"mean": [1e999, 0.5, 0.5]}'}, "no valid JSON"),
        ({"preprocessing": '{"input_size_px": NaN}'}, "no valid JSON"),
        ({"class_names": '["a", "b"]'}, "names 2 classes for 11 outputs"),
        ({"class_names": "[1,2,3,4,5,6,7,8,9,10,11]"}, "must be texts"),
        ({"class_names": '{"a": 1}'}, "is an object"),
        ({"notes": '{"a": {}}'}, "must be texts"),
        ({"format_version": "3"}, "update focalnets"),
        ({"format_version": "0"}, "update focalnets"),
        ({"stored_dtype": '"int3"'}, "weights are kept as"),
        ({"format_version": "one"}, "update focalnets"),
        ({"notes": '{"a": "%s"}' % ("x" * (17 * 2**20))}, "16 Mi characters"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_hostile_metadata_are_refused(tmp_path: Path, version: int, changes: dict[str, object], words: str) -> None:
    refused(_own(tmp_path, version, **changes), words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": None}, "lack focalnets.task"),
        ({"task": "3"}, "is a number"),
        ({"task": '"Detect things"'}, "a task is named by"),
        ({"task": '"' + "x" * 50 + '"'}, "a task is named by"),
        ({"head": None}, "lack focalnets.head"),
        ({"head": "[]"}, "is a list"),
        ({"head": "{}"}, "kind is named by"),
        ({"head": '{"kind": 3}'}, "kind is named by"),
        ({"head": {"outputs": 12}}, "contradicts its config"),
        ({"head": {"outputs": "11"}}, "whole number from 1 up"),
        ({"head": {"outputs": -1}}, "whole number from 1 up"),
        ({"head": {"outputs": True}}, "whole number from 1 up"),
        ({"head": {"kind": "cosine"}}, "contradicts its config"),
        ({"head": {"more": 1}}, "contradicts its config"),
        ({"head": {"more": "x" * 70_000}}, "at most 65,536 characters"),
        (
            {"head": '{"kind": "linear", "outputs": 11, "more": ' + "[" * 900 + "]" * 900 + "}"},
            "contradicts its config",
        ),
        ({"head": '{"kind": "linear", "outputs": NaN}'}, "no valid JSON"),
        ({"head": '{"kind": "linear", "outputs": 1e999}'}, "no valid JSON"),
        ({"input": None}, "lack focalnets.input"),
        ({"input": {"kind": "sound"}}, "of kind image, whole_image, clip, text"),
        ({"input": {"kind": "text"}}, "no field"),
        ({"input": {"kind": "clip"}}, "takes images, got an input of kind clip"),
        ({"input": '{"kind": "text", "context_length": 1000000000000}'}, "context_length"),
        ({"labels": '["a"]'}, "names 1 classes for 11 outputs"),
    ],
)
def test_hostile_metadata_of_format_2_are_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    refused(_own(tmp_path, 2, **changes), words)


def test_tensors_that_contradict_their_own_metadata_are_refused(tmp_path: Path) -> None:
    model = drawn(small_config("srf"))
    state = model.state_dict()
    del state["head.bias"]
    path = tmp_path / "own.safetensors"
    write_safetensors(state, path, describe(model))
    refused(path, "1 missing: head.bias")
    state["head.bias"] = torch.full((11,), float("nan"))
    write_safetensors(state, path, describe(model))
    refused(path, "NaN")


def test_a_checkpoint_of_ours_is_loaded_by_both_functions(tmp_path: Path) -> None:
    model = drawn(small_config("srf"))
    save_checkpoint(model, tmp_path / "own.safetensors")
    for load in (focalnets.load_model, focalnets.weights.loading.load_checkpoint):
        assert torch.equal(load(tmp_path / "own.safetensors").state_dict()["head.weight"], model.head.weight)
