"""Classifiers of texts and series as files: any length and number, and all that another program must know."""

from __future__ import annotations

import importlib
import json

import pytest
import torch
from tests.exporting.networks import SEQUENCES, sequences

import focalnets
from focalnets.cli.main import main
from focalnets.errors import CheckpointError, ConfigError
from focalnets.exporting.formats import FORMATS, Options
from focalnets.exporting.writing import choose_graph, export_network
from focalnets.weights.checkpoint import save_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_graph_says_what_the_network_says(name):
    task, network = sequences(name)
    graph = choose_graph(task, network)(network)
    for shape in ((1, 1), (3, 7), (2, 40)):
        inputs = graph.draw(network, shape, seed=5)
        assert inputs[1].sum(1)[0] == shape[1]
        with torch.no_grad():
            assert torch.allclose(graph(*inputs)[0], network(*inputs), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "ending", "options"),
    [
        ("text", ".onnx", {"legacy": True}),
        *(
            pytest.param(name, ending, {}, marks=pytest.mark.slow)
            for name in SEQUENCES
            for ending in (".onnx", ".xml", ".pt2")
        ),
        pytest.param("text", ".xml", {"half": True}, marks=pytest.mark.slow),
        pytest.param("text", ".pt2", {"aoti": True}, marks=pytest.mark.slow),
    ],
)
def test_files_answer_as_the_network_does(name, ending, options, tmp_path):
    for package in (*FORMATS[ending].packages, *FORMATS[ending].runs_with):
        pytest.importorskip(package)
    task, network = sequences(name)
    exported = export_network(task, network, tmp_path / f"net{ending}", Options(**options))
    assert exported.difference < exported.tolerance
    assert [each.shape[:2] for each in exported.comparisons] == [(1, 40), (2, 31), (3, 1)]
    metadata = importlib.import_module(FORMATS[ending].module).read_metadata(exported.path)
    graph, read = json.loads(metadata["focalnets.graph"]), json.loads(metadata["focalnets.input"])
    assert graph["inputs"] == ["series" if name == "series" else "tokens", "mask"]
    assert graph.get("mean") == ([1.0, 2.0] if name == "series" else None)
    assert read["kind"] == task.name
    assert json.loads(metadata["focalnets.labels"]) == ["blue", "green", "red"]


def test_another_program_names_the_class_of_a_text(tmp_path, capsys):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    task, network = sequences("text")
    save_checkpoint(network, tmp_path / "net.safetensors", task="text", head=task.head(network))
    assert main(["export", str(tmp_path / "net.safetensors"), str(tmp_path / "net.onnx"), "--legacy"]) == 0
    assert "tokens 1 x 40: largest difference to PyTorch" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    labels = json.loads(session.get_modelmeta().custom_metadata_map["focalnets.labels"])
    tokens = torch.tensor([list(b"You have won a prize")])
    (logits,) = session.run(None, {"tokens": tokens.numpy(), "mask": torch.ones_like(tokens).bool().numpy()})
    (expected,) = focalnets.load(tmp_path / "net.safetensors").predict(["You have won a prize"])
    assert labels[logits[0].argmax()] == expected.class_names[0]
    with pytest.raises(CheckpointError, match="only exported files that take images are run here"):
        focalnets.load(tmp_path / "net.onnx")


def test_photos_show_no_ranges_of_texts(tmp_path, monkeypatch):
    monkeypatch.setattr("focalnets.exporting.formats.require_packages", lambda *_: None)
    monkeypatch.setattr("focalnets.exporting.export.find_images", lambda _folders: [tmp_path / "photo.png"])
    task, network = sequences("text")
    save_checkpoint(network, tmp_path / "net.safetensors", task="text", head=task.head(network))
    with pytest.raises(ConfigError, match="this network reads texts; leave int8 and data out"):
        focalnets.export(tmp_path / "net.safetensors", tmp_path / "net.xml", int8=True, data=tmp_path)


@pytest.mark.parametrize(
    ("name", "ending", "options", "words"),
    [
        ("text", ".pte", Options(), "Only classifiers of images and segmenters"),
        ("series", ".pte", Options(), "Only classifiers of images and segmenters"),
        ("series", ".onnx", Options(legacy=True), "older exporter cannot follow"),
    ],
)
def test_what_sequences_cannot_be(name, ending, options, words, tmp_path, monkeypatch):
    if ending == ".onnx":
        pytest.importorskip("onnx")
    monkeypatch.setattr("focalnets.exporting.formats.require_packages", lambda *_: None)
    with pytest.raises(ConfigError, match=words):
        export_network(*sequences(name), tmp_path / f"net{ending}", options)
    assert list(tmp_path.iterdir()) == []
