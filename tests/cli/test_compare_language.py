"""``focalnets compare`` of language models as users run it."""

from __future__ import annotations

import json

import pytest
from tests.tasks.corpus import write_corpus

from focalnets.cli.main import main

MODELS = ["focal_language_small:dim=8,depth=1", "attention_language_small:dim=8,depth=1,attention_heads=2"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return str(write_corpus(tmp_path_factory.mktemp("text") / "corpus.txt", words=800))


def test_trains_on_a_text_and_keeps_everything(text, tmp_path, capsys):
    settings = tmp_path / "settings.yaml"
    settings.write_text("batch_size: 4\nlanguage:\n  context_length: 16\n  passages: 16\n")
    output = tmp_path / "out"
    command = ["compare", "--models", *MODELS, "--train", text, "--config", str(settings), "--epochs", "1"]
    command += ["--learning_rates", "1e-3", "1e-2", "--recall_steps", "2", "--size", "4", "20", "--device", "cpu"]
    command += ["--output", str(output)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "[4/4]" in shown
    assert "training tokens/s" in shown
    content = json.loads((output / "language.json").read_text())
    assert [row["model"] for row in content["rows"]] == MODELS
    for row in content["rows"]:
        assert set(row["training"]["by_rate"]) == {"0.001", "0.01"}
        assert row["training"]["mean"] == min(row["training"]["by_rate"].values())
        assert set(row["speed"]["generation"]) == {"4", "20"}
        assert 0 <= row["recall"]["fraction"] <= 1
    for name in ("language.csv", "language.png", "report.html"):
        assert (output / name).exists()
    assert main([*command, "--quiet", "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert json.loads(shown.out)["rows"] == content["rows"]
    assert main([*command, "--recall_pairs", "2"]) == 2
    assert "another setting (recall)" in capsys.readouterr().err
    run = next((output / "runs").glob("focal*/rate0.01*/seed0"))
    assert main(["generate", str(run), "--prompt", "the", "--length", "5", "--quiet"]) == 0


def test_measures_cost_without_a_text(tmp_path, capsys):
    command = ["compare", "--task", "language", "--models", MODELS[1], "--recall_steps", "0", "--size", "4"]
    assert main([*command, "--device", "cpu", "--output", str(tmp_path / "out")]) == 0
    assert "attention_language_small" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "out" / "language.json").read_text())["rows"]
    assert (row["training"], row["recall"]) == (None, None)
    assert row["speed"]["state_bytes"] == {"4": 4 * (2 * 4 * 8 + 1)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "focal_language_small", "--batch", "2"], "--batch can be given for networks that see images"),
        (["--task", "language", "--models", "focalnet_pico"], "'focalnet_pico' reads no text"),
        (["--models", "focalnet_pico", "focal_language_small"], "'focalnet_pico' reads no text"),
        (
            ["--models", "focalnet_pico", "--learning_rates", "1e-3"],
            "--learning_rates can be given for language models",
        ),
        (["--models", "focal_language_small", "--recall_steps", "-1"], "--recall_steps must be a whole number from 0"),
        (["--task", "language", "--train", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, capsys, arguments, words):
    assert main(["compare", *arguments, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
