"""What is refused before anything is written, and that nothing is written where the check fails."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from tests.exporting.networks import classifier, detector

import focalnets
from focalnets.cli.main import main
from focalnets.errors import CheckpointError, ConfigError, MissingPackageError
from focalnets.exporting import writing
from focalnets.exporting.formats import FORMATS, format_of, is_exported
from focalnets.exporting.writing import export_network
from focalnets.tasks.table import TASKS, build_task
from focalnets.weights.checkpoint import save_checkpoint


def test_tasks_without_a_graph_are_refused(tmp_path):
    assert set(TASKS) - set(writing.GRAPHS) == {"language"}
    with pytest.raises(ConfigError, match="Networks of the task language cannot be exported"):
        export_network(build_task("language"), classifier(), tmp_path / "net.pt2")


def test_the_ending_says_the_format(tmp_path):
    assert [format_of(tmp_path / f"net{ending}").name for ending in FORMATS] == [row.name for row in FORMATS.values()]
    assert is_exported("net.ONNX")
    assert not is_exported("net.pt2")
    for name in ("net", "net.tflite"):
        with pytest.raises(ConfigError, match="end its name in one of"):
            format_of(tmp_path / name)


@pytest.mark.parametrize(
    ("ending", "options", "words"),
    [
        (".onnx", {"half": True}, "half does nothing for .onnx files; it is for .xml"),
        (".xml", {"aoti": True}, "aoti does nothing for .xml files; it is for .pt2"),
        (".pt2", {"size_px": 64}, "size does nothing for .pt2 files; it is for .pte"),
        (".xml", {"int8": True}, "int8 and data go together"),
        (".onnx", {"without_masks": True}, "is no Mask R-CNN"),
    ],
)
def test_options_of_other_formats_are_refused(ending, options, words, tmp_path, monkeypatch):
    monkeypatch.setattr("focalnets.exporting.formats.require_packages", lambda *_: None)
    with pytest.raises(ConfigError, match=words):
        focalnets.export(classifier(), tmp_path / f"net{ending}", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ending", "package", "words"),
    [
        (".onnx", "onnxscript", r"ONNX files need onnxscript; run: pip install 'focalnets\[export\]'"),
        (".xml", "openvino", r"OpenVINO files need openvino; run: pip install 'focalnets\[export\]'"),
        (".pte", "executorch", r"ExecuTorch files need executorch; run: pip install 'focalnets\[executorch\]'"),
    ],
)
def test_packages_that_are_missing_are_named(ending, package, words, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else name)
    with pytest.raises(MissingPackageError, match=words):
        export_network(build_task("classify"), classifier(), tmp_path / f"net{ending}")


def fake_runner(change):
    """Stands in for a format that writes nothing of use, and whose files answer as PyTorch does, changed."""

    def write(self, plan, path):
        for ending in (self.ending, *self.also):
            path.with_suffix(ending).write_text(plan.metadata()["focalnets.graph"])
        write.plan = plan

    def run(*inputs):
        with torch.no_grad():
            return [change(output) for output in write.plan.graph(*inputs)]

    return write, lambda self, path: run


@pytest.fixture
def any_package(monkeypatch):
    monkeypatch.setattr("focalnets.exporting.formats.require_packages", lambda *_: None)


def fake(monkeypatch, change):
    write, open_runner = fake_runner(change)
    monkeypatch.setattr("focalnets.exporting.formats.Format.write", write)
    monkeypatch.setattr("focalnets.exporting.formats.Format.open_runner", open_runner)


@pytest.mark.usefixtures("any_package")
@pytest.mark.parametrize(
    "change", [lambda output: output * 1.01, lambda output: output[:, 1:], lambda output: output / 0]
)
def test_files_that_answer_otherwise_are_not_put_in_place(change, tmp_path, monkeypatch):
    fake(monkeypatch, change)
    (tmp_path / "net.xml").write_text("before")
    with pytest.raises(ConfigError, match=r"net.xml was not written: for images of shape \(1, 3, 24, 24\)"):
        export_network(build_task("classify"), classifier(), tmp_path / "net.xml")
    assert [each.name for each in tmp_path.iterdir()] == ["net.xml"]
    assert (tmp_path / "net.xml").read_text() == "before"


@pytest.mark.usefixtures("any_package")
def test_what_was_compared_is_told(tmp_path, monkeypatch):
    fake(monkeypatch, lambda output: output * (1 + 1e-5))
    network = classifier().train()
    exported = export_network(build_task("classify"), network, tmp_path / "net.xml")
    assert network.training  # it is left as it is
    assert len({each.shape[0] for each in exported.comparisons}) > 1
    assert len({each.shape[2:] for each in exported.comparisons}) > 1
    assert 5e-6 < exported.difference < 2e-5 < exported.tolerance
    assert sorted(each.name for each in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    assert exported.to_dict()["files"][1] == {
        "path": str(tmp_path / "net.bin"),
        "bytes": exported.files[1].stat().st_size,
    }


@pytest.mark.usefixtures("any_package")
def test_boxes_of_a_network_that_draws_masks(tmp_path, monkeypatch):
    fake(monkeypatch, lambda output: output)
    task, network = detector(masks=True)
    with pytest.raises(ConfigError, match="--without_masks"):
        export_network(task, network, tmp_path / "net.xml")
    exported = export_network(task, network, tmp_path / "net.xml", without_masks=True)
    assert (exported.task, exported.inputs) == ("detect", ("images", "sizes"))
    assert network.head_config.masks
    assert network.head.regions.mask is not None


def test_mistakes_on_the_command_line(tmp_path, capsys):
    save_checkpoint(classifier(), tmp_path / "net.safetensors")
    source = str(tmp_path / "net.safetensors")
    (tmp_path / "exported.onnx").touch()
    for arguments, words in (
        ([source, str(tmp_path / "net.tflite")], "end its name in one of"),
        ([source, str(tmp_path / "net.xml"), "--int8"], "int8 and data go together"),
        ([str(tmp_path / "absent.pth"), str(tmp_path / "net.onnx")], "There is no file or folder"),
        ([str(tmp_path / "exported.onnx"), str(tmp_path / "net.pt2")], "is an exported file already"),
        ([source, str(tmp_path / "net.onnx"), "--size", "64"], "size does nothing for .onnx"),
    ):
        assert main(["export", *arguments, "--quiet"]) == 2
        assert words in capsys.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["exported.onnx", "net.safetensors"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("net.onnx", {"half": True}, "half does nothing for .onnx"),
        ("net.pte", {"size_px": 0}, "size must be a whole number from 1 up, got 0"),
        ("net.xml", {"int8": True, "half": True, "data": "photos"}, "half and int8 are two ways"),
        ("net.xml", {"int8": True, "data": "absent"}, "absent"),
    ],
)
@pytest.mark.usefixtures("any_package")
def test_mistakes_are_told_before_a_network_is_read(name, options, words, tmp_path, monkeypatch):
    monkeypatch.setattr("focalnets.exporting.export._trained", lambda _model: pytest.fail("a network was read"))
    with pytest.raises(focalnets.errors.FocalNetsError, match=words):
        focalnets.export("net.safetensors", tmp_path / name, **options)


@pytest.mark.usefixtures("any_package")
def test_folders_stay_only_with_a_file_in_them(tmp_path, monkeypatch):
    place = tmp_path / "new" / "newer" / "net.xml"
    fake(monkeypatch, lambda output: output * 2)
    with pytest.raises(ConfigError, match="was not written"):
        export_network(build_task("classify"), classifier(), place)
    assert list(tmp_path.iterdir()) == []
    fake(monkeypatch, lambda output: output)
    export_network(build_task("classify"), classifier(), place)
    assert place.is_file()


@pytest.mark.usefixtures("any_package")
def test_weights_are_not_replaced_by_what_lies_beside_a_file(tmp_path):
    weights = tmp_path / "net.bin"
    weights.write_bytes(b"weights")
    (tmp_path / "net.xml").touch()  # of an earlier export, as it seems
    with pytest.raises(ConfigError, match=r"would replace '.*net.bin', which is read"):
        focalnets.export(weights, tmp_path / "net.xml")
    assert weights.read_bytes() == b"weights"


@pytest.mark.usefixtures("any_package")
def test_what_somebody_else_put_beside_a_file_is_left_alone(tmp_path):
    other = tmp_path / "net.bin"
    other.write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"net.bin' would be replaced, and no 'net.xml' it belongs to"):
        focalnets.export(None, tmp_path / "net.xml")
    assert other.read_bytes() == b"mine"


def test_other_objects_are_no_networks(tmp_path):
    with pytest.raises(ConfigError, match="model is of type list"):
        focalnets.export([], tmp_path / "net.onnx")


@pytest.mark.parametrize("name", ["net.onnx", "net.xml"])
def test_missing_files_are_named(name, tmp_path):
    pytest.importorskip({"net.onnx": "onnxruntime", "net.xml": "openvino"}[name])
    with pytest.raises(CheckpointError, match="There is no file"):
        focalnets.load(tmp_path / name)
