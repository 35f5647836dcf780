"""ONNX files: what they say, that they answer as the checkpoint does, and hostile ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.exporting.networks import classifier, detector, semantic

import focalnets
from focalnets.cli.main import main
from focalnets.errors import CheckpointError, ConfigError
from focalnets.exporting.onnx_files import read_metadata
from focalnets.exporting.writing import export_network
from focalnets.weights.checkpoint import save_checkpoint

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A checkpoint and its ONNX file, written by the command."""
    folder = tmp_path_factory.mktemp("onnx")
    network = classifier()
    network.threshold = 0.2
    save_checkpoint(network, folder / "net.safetensors")
    command = ["export", str(folder / "net.safetensors"), str(folder / "net.onnx"), "--json", str(folder / "net.json")]
    assert main([*command, "--quiet"]) == 0
    return folder


def test_the_file_says_what_it_is(exported):
    told = json.loads((exported / "net.json").read_text())
    assert told["format"] == "ONNX"
    assert told["difference"] < told["tolerance"] == 1e-4
    assert len({tuple(each["shape"][2:]) for each in told["comparisons"]}) == 3
    model = onnx.load(str(exported / "net.onnx"))
    onnx.checker.check_model(model)
    metadata = {each.key: each.value for each in model.metadata_props}
    assert metadata == read_metadata(exported / "net.onnx")
    assert json.loads(metadata["focalnets.labels"]) == ["blue", "green", "red"]
    assert json.loads(metadata["focalnets.input"])["input_size_px"] == 24
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in shape] == ["batch", 3, "height", "width"]
    assert [each.name for each in model.graph.output] == ["logits"]
    assert {node.domain for node in model.graph.node} <= {
        "",
        "pkg.onnxscript.torch_lib",
        "pkg.onnxscript.torch_lib.common",
    }
    content = (exported / "net.onnx").read_bytes()
    for place in (Path(focalnets.__file__).parent, Path(torch.__file__).parent, exported):
        assert str(place).encode() not in content


def test_it_answers_as_the_checkpoint_does(exported, coloured_images):
    photos = sorted((coloured_images / "red").iterdir())[:5]
    file, network = (focalnets.load(exported / name, top_k=2) for name in ("net.onnx", "net.safetensors"))
    assert (file.labels, file.task.name, file.preprocessing) == (network.labels, "classify", network.preprocessing)
    assert file.network.threshold == 0.2
    for size in (None, 37, 96):
        one, other = (each.predict(photos, size_px=size, batch_size=2) for each in (file, network))
        for found, expected in zip(one, other, strict=True):
            assert found.class_names == expected.class_names
            assert found.confidences == pytest.approx(expected.confidences, abs=1e-5)
    one, other = (each.evaluate(coloured_images) for each in (file, network))
    assert (one.top1, one.images) == (other.top1, 60)
    assert one.to_dict()["arithmetic"] == "float32 by ONNX Runtime on cpu"
    assert one.to_dict()["loss"] == pytest.approx(other.to_dict()["loss"], abs=1e-5)


def test_the_commands_take_it_as_model(exported, coloured_images, capsys):
    net = str(exported / "net.onnx")
    assert main(["predict", str(coloured_images / "red"), "--model", net, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["predictions"]) == 20
    assert main(["predict", str(coloured_images / "red"), "--model", net, "--precision", "bfloat16"]) == 2
    assert "an exported file, computed with float32 by ONNX Runtime" in capsys.readouterr().err
    assert main(["evaluate", net, str(coloured_images), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 60


def test_nobody_looks_into_it(exported, coloured_images, tmp_path, capsys):
    photo, net = str(coloured_images / "red" / "0.png"), str(exported / "net.onnx")
    for command in (
        ["explain", photo, "--model", net, "--output", str(tmp_path / "seen")],
        ["predict", photo, "--model", net, "--context", "image"],
        ["evaluate", net, str(coloured_images), "--context", "image"],
    ):
        assert main(command) == 2
        assert "is an exported file, which only answers" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="is an exported file already"):
        focalnets.load(net).export(tmp_path / "again.onnx")
    with pytest.raises(CheckpointError, match="an ONNX model"):
        focalnets.load_model(net)


def changed(exported, folder, change):
    model = onnx.load(str(exported / "net.onnx"))
    metadata = {each.key: each.value for each in model.metadata_props}
    model = change(model, metadata) or model
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(folder / "net.onnx"))
    return folder / "net.onnx"


def put(name, **fields):
    def change(_model, metadata):
        key = f"focalnets.{name}"
        metadata[key] = json.dumps({**json.loads(metadata[key]), **fields})

    return change


def another_graph(_model, _metadata):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 3, None, None])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def texts(_model, _metadata):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 3, None, None])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.STRING, None)
    node = onnx.helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.STRING)
    graph = onnx.helper.make_graph([node], "g", [value], [out])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def two_inputs(_model, _metadata):
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xyz"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "y"], ["z"])], "g", values[:2], values[2:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _model, metadata: metadata.clear(), "does not say which classes it knows"),
        (lambda _model, metadata: metadata.update({"focalnets.task": '"video"'}), "for the task 'video'"),
        (lambda _model, metadata: metadata.update({"focalnets.graph": "{"}), "focalnets.graph in its metadata"),
        (lambda _model, metadata: metadata.update({"focalnets.graph": "[1]"}), "focalnets.graph in its metadata"),
        (lambda _model, metadata: metadata.update({"focalnets.graph": "{}" + " " * 10**5}), "has 100,002 characters"),
        (lambda _model, metadata: metadata.update({"focalnets.labels": '["a"]'}), "names 1 classes for 3 outputs"),
        (lambda _model, metadata: metadata.update({"focalnets.format_version": "99"}), "update focalnets"),
        (put("graph", version=2), "update focalnets"),
        (put("graph", shape=[1, 3, 0, 2]), "shape must be four numbers"),
        (put("graph", smallest_px=10**9), "smallest_px must be"),
        (put("input", input_size_px=10**6), "input_size_px"),
        (put("input", std=[0, 1, 1]), "std"),
        (put("config", depths=[10**9, 1]), "depths"),
        (put("config", embed_dim=10**9), "embed_dim"),
        (two_inputs, "takes 2 inputs"),
        (texts, "cannot be run by ONNX Runtime"),
        (another_graph, "answers with tensors of shapes"),
    ],
)  # fmt: skip
def test_files_that_lie_are_refused_in_a_sentence(change, words, exported, tmp_path, coloured_images, capsys):
    file = changed(exported, tmp_path, change)
    assert main(["predict", str(coloured_images / "red" / "0.png"), "--model", str(file), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert words in told
    assert told.count("\n") == 1


def test_files_that_are_no_models_are_refused_in_a_sentence(exported, tmp_path):
    whole = (exported / "net.onnx").read_bytes()
    for content in (
        b"",
        b"\x00" * 50,
        b"<html>",
        b"\x80" * 30,
        whole[:-3],
        whole[: len(whole) // 2],
        b"\x72\xff\xff\xff\xff\x0f",
    ):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"is damaged or no ONNX file|does not say which"):
            focalnets.load(tmp_path / "net.onnx")
    damaged = bytearray(whole)
    middle = len(damaged) // 3
    damaged[middle : middle + 5000] = b"\xff" * 5000
    (tmp_path / "net.onnx").write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"cannot be (read|run) by ONNX Runtime|is damaged|is expected"):
        focalnets.load(tmp_path / "net.onnx").network(torch.zeros(1, 3, 24, 24))


@pytest.mark.slow
@pytest.mark.parametrize("make", [semantic, lambda: semantic("uper"), detector], ids=["mlp", "uper", "detector"])
def test_networks_of_dense_tasks(make, tmp_path):
    task, network = make()
    exported = export_network(task, network, tmp_path / "net.onnx")
    assert exported.difference < 1e-4
    file = focalnets.load(exported.path)
    images = torch.randn(2, 3, 40, 56)
    mask = torch.ones(2, 40, 56, dtype=torch.bool)
    mask[0, 33:] = mask[1, :, 50:] = False
    with torch.no_grad():
        found, expected = file.network(images, mask), network(images, mask)
    if task.name == "semantic":
        assert torch.allclose(found["logits"], expected["logits"], atol=1e-4)
        return
    for one, other in zip(found["detections"], expected["detections"], strict=True):
        assert one["labels"].tolist() == other["labels"].tolist()
        assert torch.allclose(one["boxes"], other["boxes"], atol=1e-2)


@pytest.mark.slow
def test_the_older_exporter(tmp_path):
    network = focalnets.Trained(focalnets.tasks.table.build_task("classify"), classifier())
    exported = network.export(tmp_path / "net.onnx", legacy=True)
    assert exported.difference < 1e-4
    assert focalnets.load(tmp_path / "net.onnx").labels == ("blue", "green", "red")


@pytest.mark.slow
def test_a_full_disk_leaves_the_file_of_before(exported, tmp_path, monkeypatch):
    shutil.copy(exported / "net.onnx", tmp_path / "net.onnx")
    before = (tmp_path / "net.onnx").read_bytes()

    def fail(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        focalnets.export(classifier(), tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]


def test_files_are_computed_on_the_cpu(exported):
    assert focalnets.load(exported / "net.onnx", device="cpu").labels == ("blue", "green", "red")
    with pytest.raises(ConfigError, match="Exported files are computed on the CPU"):
        focalnets.load(exported / "net.onnx", device="cuda")


def test_networks_that_no_file_can_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("focalnets.exporting.onnx_files._MOST_BYTES", 1000)
    with pytest.raises(ConfigError, match="ONNX files hold up to 2 GB"):
        focalnets.export(classifier(), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_sizes_a_file_cannot_take(exported):
    file = focalnets.load(exported / "net.onnx")
    file.network.forward.facts = type(file.network.forward.facts)(precision="float32", shape=None, smallest_px=30)
    with pytest.raises(ConfigError, match="from 30 px up"):
        file.predict(torch.zeros(3, 40, 40), size_px=24)
