"""``focalnets explain`` with a network of texts: texts as arguments, files and standard input."""

from __future__ import annotations

import io
import json

import pytest
from tests.report.reading import check_alone
from tests.tasks.corpus import write_corpus

import focalnets
from focalnets.cli.main import main
from focalnets.errors import ConfigError
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import in_miniature
from focalnets.training.trainer import open_data, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    config = in_miniature(TrainingConfig(task="language")).replace(epochs=1, sample_length=0)
    train(config, open_data(write_corpus(folder / "corpus.txt"), config), output=folder / "run", quiet=True)
    return str(folder / "run")


def test_texts_files_and_standard_input(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter.txt").write_text("the king came home\n", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("a crown of rain"))
    command = ["explain", "the king of rain", "letter.txt", "-", "--model", run, "--output", "out"]
    assert main(command) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3
    assert "text: 16 characters, " in shown[0]
    assert "nats a character, perplexity" in shown[0]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        f"{name}_{kind}" for name in ("text", "letter", "standard_input") for kind in ("explained.html", "tokens.csv")
    }
    page = (tmp_path / "out" / "letter_explained.html").read_text(encoding="utf-8")
    assert "letter.txt" in check_alone(page, scripts=True).text
    assert str(tmp_path) not in page
    lines = (tmp_path / "out" / "text_tokens.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("position,token,text,surprise_nats")
    assert len(lines) == 17


def test_folders_and_json(run, tmp_path, capsys):
    (tmp_path / "texts").mkdir()
    for name in ("a", "b"):
        (tmp_path / "texts" / f"{name}.txt").write_text("the king", encoding="utf-8")
    command = ["explain", str(tmp_path / "texts"), "--model", run, "--output", str(tmp_path / "out"), "--quiet"]
    assert main([*command, "--most_tokens", "5", "--json"]) == 0
    shown = capsys.readouterr()
    content = json.loads(shown.out)
    assert shown.err == ""
    assert content["failures"] == []
    assert [len(entry["tokens"]) for entry in content["explained"]] == [5, 5]
    assert content["explained"][0]["left_out"] == 3
    assert "".join(token["text"] for token in content["explained"][1]["tokens"]) == "the k"
    assert len(content["explained"][0]["files"]) == 2


def test_what_cannot_be_read_is_told_and_the_rest_explained(run, tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("")
    inputs = [str(tmp_path / "empty.txt"), str(tmp_path / "gone.txt"), "QX", "the king"]
    assert main(["explain", *inputs, "--model", run, "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    for words in ("empty.txt' is empty", "there is no file", "does not know ('Q', 'X')", "3 of 4 inputs could not be"):
        assert words in error
    assert main(["explain", "QX", "--model", run, "--output", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "There is nothing to read"),
        (["the king", "--map", "evidence"], "--map is for pictures"),
        (["the king", "--size", "64"], "--size is for pictures"),
        (["the king", "--kernels"], "--kernels is for pictures"),
        (["the king", "--most_tokens", "0"], "--most_tokens must be a whole number from 1 up"),
        (["the king", "--device", "cuda:99"], "cuda:99"),
    ],
)
def test_mistakes_are_told_in_one_sentence(run, tmp_path, monkeypatch, options, message, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", *options, "--model", run]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert not (tmp_path / "explained").exists()


def test_python_explains_texts(run, coloured_run):
    network = focalnets.load(run, device="cpu")
    figures = network.explain_text("the king")
    assert figures.to_dict() == focalnets.explain_text("the king", run, device="cpu").to_dict()
    with pytest.raises(ConfigError, match="of networks of texts explain_text shows"):
        network.explain("photo.jpg")
    with pytest.raises(ConfigError, match="continue or classify texts, got a FocalNet"):
        focalnets.explain_text("the king", coloured_run, device="cpu")


def test_a_bad_file_of_a_folder_leaves_the_others(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "texts").mkdir()
    for name, content in (("a", b"the king"), ("b", b"the \0"), ("c", b"a crown")):
        (tmp_path / "texts" / f"{name}.txt").write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the \xff"), encoding="utf-8"))
    inputs = [str(tmp_path / "texts"), "-", "the \udcff"]
    assert main(["explain", *inputs, "--model", run, "--output", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    for words in ("b.txt' is no text", "standard input is not in UTF-8", "does not know ('\ufffd')", "3 of 5 inputs"):
        assert words in shown.err
