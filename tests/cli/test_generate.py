"""``focalnets generate``: text on standard output, notes beside it, mistakes in one sentence."""

from __future__ import annotations

import json

import pytest
from tests.tasks.corpus import write_corpus

import focalnets
from focalnets.cli.main import main
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import in_miniature
from focalnets.training.trainer import open_data, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    config = in_miniature(TrainingConfig(task="language")).replace(epochs=1, sample_length=0)
    train(config, open_data(write_corpus(folder / "corpus.txt"), config), output=folder / "run", quiet=True)
    return str(folder / "run")


def test_one_text_goes_to_standard_output(run, capsys):
    assert main(["generate", run, "--prompt", "the king", "--length", "40", "--seed", "1"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("the king")
    assert len(shown.out) == len("the king") + 40 + 1
    assert "40 tokens in" in shown.err
    assert "tokens/s; seed 1" in shown.err
    assert main(["generate", run, "--prompt", "the king", "--length", "40", "--seed", "1", "--quiet"]) == 0
    assert capsys.readouterr() == (shown.out, "")


def test_several_texts_and_json(run, tmp_path, capsys):
    options = ["--prompt", "the", "a crown", "--length", "20", "--temperature", "0"]
    assert main(["generate", run, *options]) == 0
    shown = capsys.readouterr().out
    assert main(["generate", run, *options, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["prompts"] == ["the", "a crown"]
    assert content["tokens"] == 40
    assert all(
        f"{prompt}{text}".strip("\n") in shown
        for prompt, text in zip(content["prompts"], content["texts"], strict=True)
    )
    assert main(["generate", run, *options, "--json", str(tmp_path / "a.json")]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["texts"] == content["texts"]
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--length", "0"], "--length must be a whole number from 1 up"),
        (["--temperature", "-1"], "temperature must be a finite number from 0 up"),
        (["--top_p", "2"], "top_p is a probability"),
        (["--prompt", ""], "at least one character"),
        (["--prompt", "QX"], "does not know ('Q', 'X')"),
        (["--seed", "-3"], "--seed must be"),
        (["--device", "cuda:99"], "device"),
    ],
)
def test_mistakes_are_told_in_one_sentence(run, options, message, capsys):
    assert main(["generate", run, *options]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_networks_for_images_continue_nothing(coloured_run, capsys):
    assert main(["generate", str(coloured_run)]) == 2
    assert "which networks of the task language do" in capsys.readouterr().err


def test_without_a_prompt_a_network_of_a_single_line_begins_with_a_token(tmp_path, capsys):
    (tmp_path / "line.txt").write_text("the king of rain came home " * 60, encoding="utf-8")
    config = in_miniature(TrainingConfig(task="language")).replace(epochs=1, sample_length=0)
    train(config, open_data(tmp_path / "line.txt", config), output=tmp_path / "run", quiet=True)
    command = ["generate", str(tmp_path / "run"), "--length", "5"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "does not know new lines; the text begins with ' '" in shown.err
    assert len("".join(focalnets.load(tmp_path / "run", device="cpu").generate(length=5))) == 5
    assert len(shown.out) == 7
    assert main([*command, "--prompt", "\n"]) == 2
    assert "does not know" in capsys.readouterr().err


def test_bytes_that_are_no_text_are_told(run, capsys):
    assert main(["generate", run, "--prompt", "th\udcff", "--length", "3"]) == 2
    assert "does not know ('\ufffd')" in capsys.readouterr().err


def test_what_is_stopped_can_be_made_again(run, monkeypatch, capsys):
    def stopped(self, prompts, **options):
        yield ["a"]
        yield ["b"]
        raise KeyboardInterrupt

    monkeypatch.setattr("focalnets.tasks.trained.TrainedNetwork.generate", stopped)
    assert main(["generate", run, "--prompt", "the", "--seed", "7"]) == 130
    shown = capsys.readouterr()
    assert shown.out == "theab\n"
    assert "2 tokens in" in shown.err
    assert "tokens/s; seed 7" in shown.err
