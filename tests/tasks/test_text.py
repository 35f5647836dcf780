"""The task text: what it measures, the plain method beside it, what it answers, and a run that keeps how it reads."""

from __future__ import annotations

import builtins
import csv
import importlib.util
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.tasks.messages import messages, write_messages

import focalnets
from focalnets.cli.main import main
from focalnets.errors import CheckpointError, ConfigError, DataError
from focalnets.intervals import f1_scores
from focalnets.tasks.text.baseline import fit_and_predict
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import RECIPES, in_miniature
from focalnets.training.sampling import EpochBatches
from focalnets.training.trainer import open_data, train

SMS = Path(__file__).parents[3] / "shared" / "data" / "text" / "sms_spam" / "sms.tsv"

with_sklearn = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn")


def settings(**changes):
    return in_miniature(TrainingConfig(task="text")).replace(batch_size=8, **changes)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_messages(tmp_path_factory.mktemp("texts") / "messages.csv", 240)


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = settings(epochs=4, learning_rate=1e-2)
    train(config, open_data(place, config), output=folder, quiet=True)
    return folder


@with_sklearn
def test_it_learns_and_says_what_a_plain_method_does(run):
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert float(rows[-1]["val_accuracy"]) > 0.9
    log = (run / "log.txt").read_text()
    assert "on 2 classes: 192 texts to train, 48 held out" in log
    assert "a bag of word n-grams with logistic regression reaches" in log
    baseline = json.loads((run / "baseline.json").read_text())
    assert baseline["accuracy"] > 0.9
    assert baseline["verdict"] in log
    card = (run / "README.md").read_text()
    assert "text-classification" in card
    assert 'focalnets predict "a text" --model .' in card


@with_sklearn
def test_figures_are_those_of_the_answers(run, place):
    network = focalnets.load(run, device="cpu")
    measured = network.evaluate(place)
    _, data = network.task.open_evaluation(place, labels=network.labels, split=run / "split.json")
    answers = network.predict([text for text, _ in data])
    right = [answer.class_indices[0] == label for answer, (_, label) in zip(answers, data, strict=True)]
    assert measured.inputs == len(data) == 48
    assert measured.accuracy.value == pytest.approx(sum(right) / len(right))
    assert measured.accuracy.low < measured.accuracy.value < measured.accuracy.high or measured.accuracy.value == 1
    confusion = np.array(measured.confusion)
    true = confusion[1, 1]
    expected = 2 * true / (2 * true + confusion[0, 1] + confusion[1, 0])
    assert measured.rarer_class == "spam"
    assert measured.rarer_f1.value == pytest.approx(expected)
    assert measured.macro_f1.value == pytest.approx(np.mean([figures.f1.value for figures in measured.per_class]))
    assert len(measured.mistakes) == right.count(False)
    assert network.evaluate(place, batch_size=1).loss == pytest.approx(measured.loss, rel=1e-5)
    named = fit_and_predict(data.learnt_from.texts, data.learnt_from.class_of, data.texts)
    assert measured.baseline.accuracy == pytest.approx(np.mean(named == np.array(data.class_of)))
    assert measured.to_dict()["per_class"][0].keys() >= {"name", "inputs", "f1"}


def test_f1_and_its_interval():
    counts = np.array([[40, 10, 0], [5, 45, 0], [0, 0, 0]])
    first, second, none, macro = f1_scores(counts)
    assert none is None
    assert first.value == pytest.approx(80 / 95)
    assert second.value == pytest.approx(90 / 105)
    assert macro.value == pytest.approx((80 / 95 + 90 / 105) / 2)
    assert 0.7 < macro.low < macro.value < macro.high < 0.95
    wide = f1_scores(counts // 5)[-1]
    assert wide.high - wide.low > 1.5 * (macro.high - macro.low)


@with_sklearn
def test_other_texts_are_measured_beside_it_too(run, tmp_path, capsys):
    other = write_messages(tmp_path / "other.csv", 60, seed=7)
    assert main(["evaluate", str(run), str(other), "--output", str(tmp_path / "report")]) == 0
    shown = capsys.readouterr().out
    assert "F1 of the rarer class spam" in shown
    assert "a bag of word n-grams" in shown
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Beside a plain method" in page
    assert str(tmp_path) not in page
    written = {file.name for file in (tmp_path / "report").iterdir()}
    assert {"per_class.csv", "confusion.png", "calibration.csv", "mistakes.csv", "baseline.json"} <= written
    shutil.copy(run / "best.safetensors", tmp_path / "alone.safetensors")
    alone = focalnets.load(tmp_path / "alone.safetensors", device="cpu").evaluate(other)
    assert alone.baseline is None
    assert alone.baseline_note == ""
    other.write_text("text,label\nhello you,greeting\n")
    with pytest.raises(DataError, match="no class of the network: 'greeting'"):
        focalnets.load(run, device="cpu").evaluate(other)


def test_without_scikit_learn_a_sentence_says_so(run, place, monkeypatch):
    original = builtins.__import__

    def refuse(name, *arguments):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    measured = focalnets.load(run, device="cpu").evaluate(place)
    assert measured.baseline is None
    assert "pip install 'focalnets[text]'" in measured.baseline_note
    assert "pip install" in "; ".join(measured.task.summary(measured.evaluation))


def test_answers_to_texts_tables_lines_and_standard_input(run, tmp_path, capsys, monkeypatch):
    network = focalnets.load(run, device="cpu", top_k=1)
    results = network.predict(["win cash now, call 08712", "home for dinner, mother"])
    assert [result.class_names[0] for result in results] == ["spam", "ham"]
    assert "win cash" in results._repr_html_()
    results.show()
    assert capsys.readouterr().out.splitlines()[0] == "path,text,rank,class,confidence"
    assert results.save(tmp_path / "results.csv").exists()
    with pytest.raises(ConfigError, match="is for images"):
        results.save(tmp_path / "results.png")
    table = write_messages(tmp_path / "some.tsv", 5)
    (tmp_path / "lines.txt").write_text("win a prize\n\nhome late\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("urgent cash\nthe bus is late\n"))
    given = ["predict", "-", "call to win", str(table), str(tmp_path / "lines.txt"), "--lines", "--model", str(run)]
    assert main([*given, "--csv", "-", "--output", str(tmp_path / "out"), "--device", "cpu"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["path"] for row in rows if row["rank"] == "1"] == [
        "standard input line 1", "standard input line 2", "text 2", *(f"some.tsv line {line}" for line in range(2, 7)),
        "lines.txt line 1", "lines.txt line 3",
    ]  # fmt: skip
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["predictions.csv", "predictions.json"]
    assert main(["predict", "gone.txt", "hello", "--model", str(run)]) == 1
    assert "there is no file" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main(["predict", "-", "--model", str(run)]) == 2
    assert "a text on each line" in capsys.readouterr().err


def test_a_text_alone_gives_what_it_gives_in_a_batch(run):
    network = focalnets.load(run, device="cpu")
    texts = [text for text, _ in messages(9, seed=3)] + ["", "x" * 500, "win " * 200]
    for text, result in zip(texts, network.predict(texts), strict=True):
        (alone,) = network.predict(text)
        assert alone.class_indices == result.class_indices
        assert alone.confidences == pytest.approx(result.confidences, abs=1e-5)


@pytest.mark.parametrize(
    "changes", [{"ema_decay": 0.9}, {"precision": "bfloat16"}, {"optimizer": "muon"}, {"class_balance": 1.0},
                {"model": "attention_text_small"}, {"tokenizer": "bytes"}]
)  # fmt: skip
def test_the_trainer_serves_it_as_any_other(place, changes, tmp_path):
    config = settings(epochs=1, **changes)
    result = train(config, open_data(place, config), output=tmp_path / "run", quiet=True)
    assert len(result.history) == 1


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is None, reason="needs the package tokenizers")
def test_pieces_of_words_lie_in_the_checkpoint(place, tmp_path):
    config = settings(epochs=1, tokenizer="bpe:300")
    train(config, open_data(place, config), output=tmp_path / "run", quiet=True)
    shutil.copy(tmp_path / "run" / "best.safetensors", tmp_path / "alone.safetensors")
    network = focalnets.load(tmp_path / "alone.safetensors", device="cpu")
    assert network.preprocessing.unit == "tokens"
    assert len(network.predict(["win a prize"])) == 1


def test_going_on_from_weights(run, place, tmp_path):
    config = settings(pretrained=str(run), model_overrides={}, epochs=1)
    result = train(config, open_data(place, config), output=tmp_path / "same", quiet=True)
    assert [row["epoch"] for row in result.history] == [0, 1]
    third = tmp_path / "third.csv"
    third.write_text("text,label\n" + "".join(f"{text},{label if i % 5 else 'other'}\n"
                                              for i, (text, label) in enumerate(messages(60))))  # fmt: skip
    result = train(config, open_data(third, config), output=tmp_path / "third", quiet=True)
    assert [row["epoch"] for row in result.history] == [1]
    again = focalnets.load(tmp_path / "third", device="cpu")
    assert again.labels == ("ham", "other", "spam")
    assert again.preprocessing == focalnets.load(run, device="cpu").preprocessing
    with pytest.raises(ConfigError, match="tokenizer of their own"):
        open_data(place, settings(pretrained=str(run), model_overrides={}, tokenizer="bytes"))


def test_commands_find_the_task(place, tmp_path, capsys):
    table = write_messages(tmp_path / "odd.csv", 40, heading=("v1", "v2"))
    quick = ["--recipe", "miniature", "--epochs", "1", "--device", "cpu", "--output", str(tmp_path / "run")]
    assert main(["train", str(table), *quick]) == 2
    capsys.readouterr()
    assert main(["train", str(table), "--text_field", "v1", "--label_field", "v2", *quick]) == 0
    assert "focalnets predict" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "run"), str(table), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "text"
    assert main(["predict", str(table), "--model", str(tmp_path / "run")]) == 0
    assert "odd.csv line 2" in capsys.readouterr().out
    assert main(["train", str(place), *quick, "--overwrite"]) == 0
    assert "recognised a table of texts with labels" in capsys.readouterr().err
    assert main(["check", str(table), "--text_field", "v1", "--label_field", "v2"]) == 0
    assert "40 texts, 2 classes" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "run"), str(place), "--corruptions", "jpeg"]) == 2
    assert "is for images" in capsys.readouterr().err


def test_what_cannot_be_trained_is_refused(place, tmp_path):
    for changes, message in (
        ({"image_size": 32}, "--context_length"), ({"vocabulary": 0}, "from 1 up"), ({"vocabulary": 10**9}, "at most"),
        ({"token_dropout": 1.0}, "from 0 to below 1"), ({"context_length": 0}, "from 1 up"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            settings(**changes)
    with pytest.raises(ConfigError, match="must be words, bytes"):
        open_data(place, settings(tokenizer="characters"))
    config = settings(model_overrides={"num_classes": 9})
    with pytest.raises(ConfigError, match="the data decides it"):
        train(config, open_data(place, config), output=tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("input", {"vocabulary_size": 40}, "its vocabulary_size"),
        ("input", {"tokenizer": "a\nb"}, "entries"),
        ("config", {"depth": 900}, "more than its"),
        ("config", {"mixer": "magic"}, "mixer must be one of"),
        ("config", {"patch": 3}, "patch is for series"),
        ("head", {"kind": "linear"}, "of kind sequence_classifier"),
        ("input", {"kind": "image"}, "no field|takes texts"),
    ],
)
def test_files_that_contradict_themselves_are_refused(run, field, change, message, tmp_path):
    with safe_open(run / "best.safetensors", "pt") as file:
        metadata = file.metadata()
    metadata[f"focalnets.{field}"] = json.dumps({**json.loads(metadata[f"focalnets.{field}"]), **change})
    save_file(load_file(run / "best.safetensors"), tmp_path / "odd.safetensors", metadata)
    with pytest.raises((CheckpointError, ConfigError), match=message):
        focalnets.load(tmp_path / "odd.safetensors", device="cpu").predict("the")


def test_texts_of_similar_length_share_a_batch():
    lengths = torch.randint(1, 500, (1003,), generator=torch.Generator().manual_seed(0)).tolist()
    plain, sorted_ = (EpochBatches(1003, 10, 0, lengths=given) for given in (None, lengths))

    def spread(batches):
        return np.mean([np.ptp([lengths[index] for _, index, _ in batch]) for batch in batches])

    assert spread(sorted_) < 0.1 * spread(plain)
    seen = [index for batch in sorted_ for _, index, _ in batch]
    assert len(set(seen)) == len(seen) == 1000
    sorted_.set_epoch(1)
    assert [index for batch in sorted_ for _, index, _ in batch] != seen
    assert len(list(EpochBatches(3, 10, 0, lengths=[3, 1, 2]))) == 1


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not SMS.exists(), reason="needs the data beside the checkout")
def test_spam_is_told_from_other_messages(tmp_path):
    config = RECIPES["text"]().replace(text_field="2", label_field="1", device="cpu")
    train(config, open_data(SMS, config), output=tmp_path / "run", quiet=True)
    measured = focalnets.load(tmp_path / "run", device="cpu").evaluate(SMS)
    assert measured.rarer_class == "spam"
    assert measured.rarer_f1.value > 0.9
