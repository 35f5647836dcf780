"""Files of OpenVINO, where it is installed: float32, float16 weights and 8 bits, and hostile ones."""

from __future__ import annotations

import json
import re

import pytest
from tests.exporting.networks import classifier

import focalnets
from focalnets.cli.main import main
from focalnets.errors import CheckpointError
from focalnets.weights.checkpoint import save_checkpoint

openvino = pytest.importorskip("openvino")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino")
    save_checkpoint(classifier(), folder / "net.safetensors")
    assert main(["export", str(folder / "net.safetensors"), str(folder / "net.xml"), "--half", "--quiet"]) == 0
    return folder


def test_it_answers_as_the_checkpoint_does(exported, coloured_images):
    photos = sorted((coloured_images / "red").iterdir())[:5]
    assert sorted(each.name for each in exported.iterdir()) == ["net.bin", "net.safetensors", "net.xml"]
    file, network = (focalnets.load(exported / name) for name in ("net.xml", "net.safetensors"))
    assert (file.labels, file.preprocessing) == (network.labels, network.preprocessing)
    for size in (None, 37):
        for found, expected in zip(
            file.predict(photos, size_px=size), network.predict(photos, size_px=size), strict=True
        ):
            assert found.confidences == pytest.approx(expected.confidences, abs=0.02)


def test_the_commands_take_it_as_model(exported, coloured_images, capsys):
    assert main(["evaluate", str(exported / "net.xml"), str(coloured_images), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 60


def test_damaged_and_foreign_files_are_refused_in_a_sentence(exported, tmp_path):
    file = tmp_path / "net.xml"
    text = (exported / "net.xml").read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"lacks its weights, net.bin"):
        focalnets.load(file)
    (tmp_path / "net.bin").write_bytes((exported / "net.bin").read_bytes())
    for content, words in (
        ("<html></html>", "no file of OpenVINO"),
        (text[: len(text) // 2], "no file of OpenVINO"),
        (re.sub("<focalnets>.*</focalnets>", '<focalnets value="a" />', text, flags=re.S), "metadata cannot be read"),
        (text.replace("<focalnets>", "<other>").replace("</focalnets>", "</other>"), "does not say which classes"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(CheckpointError, match=words) as refused:
            focalnets.load(file)
        assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_8_bits(exported, coloured_images, tmp_path, capsys):
    pytest.importorskip("nncf")
    command = ["export", str(exported / "net.safetensors"), str(tmp_path / "net.xml"), "--int8", "--quiet", "--json"]
    assert main([*command, "--data", str(coloured_images)]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "int8"
    assert 'element_type="i8"' in (tmp_path / "net.xml").read_text(encoding="utf-8")
    photos = sorted((coloured_images / "red").iterdir())[:5]
    file, network = focalnets.load(tmp_path / "net.xml"), focalnets.load(exported / "net.safetensors")
    for found, expected in zip(file.predict(photos), network.predict(photos), strict=True):
        assert found.confidences == pytest.approx(expected.confidences, abs=0.2)
