"""The task language: what it measures is what the text says, and a run keeps how it reads."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.tasks.corpus import corpus, write_corpus

import focalnets
from focalnets.cli.main import main
from focalnets.data.text.pieces import tokenizer_of
from focalnets.errors import CheckpointError, ConfigError, DataError, TrainingError
from focalnets.tasks.language.metrics import TextSurprise, surprise
from focalnets.tasks.recognition import recognise_task
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import RECIPES, in_miniature
from focalnets.training.trainer import open_data, train

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "text" / "tinyshakespeare" / "input.txt"


def settings(**changes):
    return in_miniature(TrainingConfig(task="language")).replace(batch_size=8, **changes)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("texts") / "corpus.txt")


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = settings(epochs=4, learning_rate=1e-2, sample_prompt="the ")
    train(config, open_data(place, config), output=folder, quiet=True)
    return folder


def test_it_learns_and_shows_what(run):
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert float(rows[-1]["val_nats"]) < float(rows[0]["val_nats"]) < math.log(26)
    samples = (run / "samples.txt").read_text()
    assert samples.count("== epoch") == 4
    assert samples.startswith("== epoch 1\nthe ")
    log = (run / "log.txt").read_text()
    assert "in contexts of 32 characters: 64 passages to train" in log
    assert samples.splitlines()[1] in log
    card = (run / "README.md").read_text()
    assert "text-generation" in card
    assert 'focalnets generate . --prompt "..."' in card
    assert "image" not in card.partition("## Data")[2]


def test_figures_are_those_of_the_text(run, place):
    network = focalnets.load(run, device="cpu")
    measured = network.evaluate(place)
    text = corpus()
    held_out = text[int(0.8 * len(text)) :]
    assert (measured.tokens, measured.bytes, measured.characters) == (len(held_out) - 1,) * 3
    model, characters = network.network, network.preprocessing.tokenizer
    tokens = torch.tensor([characters.index(letter) for letter in held_out])
    total = 0.0
    with torch.inference_mode():
        for first in range(0, len(tokens) - 1, 32):
            part = tokens[first : first + 33]
            total += float(F.cross_entropy(model(part[None, :-1])[0][0], part[1:], reduction="sum"))
    nats = total / (len(held_out) - 1)
    assert measured.metrics["nats"] == pytest.approx(nats, rel=1e-5)
    assert measured.metrics["perplexity"] == pytest.approx(math.exp(nats), rel=1e-5)
    assert measured.metrics["bits_per_byte"] == pytest.approx(nats / math.log(2), rel=1e-5)
    assert sum(count for _, _, count in measured.by_position) == measured.tokens
    assert measured.surprising[0].nats >= measured.surprising[-1].nats > measured.expected[0].nats
    assert measured.surprising[0].text in text
    again = network.evaluate(place, batch_size=1)
    assert again.metrics == pytest.approx(measured.metrics, rel=1e-5)
    whole = network.evaluate(place, size_px=2000)
    assert whole.inputs == math.ceil((len(held_out) - 1) / 2000)
    assert whole.metrics["nats"] != measured.metrics["nats"]
    assert len(whole.by_position) == 2000
    assert sum(count for _, _, count in whole.by_position) == measured.tokens


def test_bits_count_bytes_and_characters_whatever_the_tokens():
    from focalnets.data.text.tokenizers import ByteTokenizer, CharacterTokenizer

    text = "Grüße 世界"
    for tokenizer in (ByteTokenizer(), CharacterTokenizer.of_text(text)):
        metric = TextSurprise(tokenizer, 4)
        tokens = torch.from_numpy(tokenizer.encode(text).astype("int64"))[None]
        metric.update(surprise(torch.zeros(1, tokens.shape[1], tokenizer.size), tokens), tokens)
        figures = {name: float(value) for name, value in metric.compute().items()}
        bits = tokens.shape[1] * math.log2(tokenizer.size)
        assert figures["perplexity"] == pytest.approx(tokenizer.size)
        assert figures["bits_per_byte"] == pytest.approx(bits / len(text.encode()))
        assert figures["bits_per_character"] == pytest.approx(bits / len(text))


def test_the_report_shows_context_and_passages(run, place, tmp_path, capsys):
    assert main(["evaluate", str(run), str(place), "--output", str(tmp_path / "report")]) == 0
    shown = capsys.readouterr()
    assert "perplexity" in shown.out
    assert "passages that" in shown.err
    assert {"positions.csv", "passages.csv", "positions.png", "report.html", "evaluation.json"} <= {
        file.name for file in (tmp_path / "report").iterdir()
    }
    page = (tmp_path / "report" / "report.html").read_text()
    assert "How context helps" in page
    assert "bits a byte" in page
    assert json.loads((tmp_path / "report" / "evaluation.json").read_text())["by_position"][0]["tokens_before"] == 1


def test_a_text_is_recognised(place):
    task, sentence = recognise_task(place)
    assert task == "language"
    assert "a file of text" in sentence
    assert RECIPES["language"]().settings.passages * 8 // 8 == 800


def test_generating_streams_and_repeats_itself(run):
    network = focalnets.load(run, device="cpu")
    pieces = list(network.generate("the king", length=30, seed=1))
    assert len(pieces) == 30
    assert pieces == list(network.generate("the king", length=30, seed=1))
    assert pieces != list(network.generate("the king", length=30, seed=2))
    stream = network.generate("to")
    assert len([next(stream) for _ in range(50)]) == 50
    prompts = ["the king of", "a", "home and "]
    together = list(network.generate(prompts, length=12, temperature=0))
    for number, prompt in enumerate(prompts):
        assert "".join(step[number] for step in together) == "".join(network.generate(prompt, length=12, temperature=0))
    for bad, kind, message in (
        ("", ConfigError, "at least one character"), ([], ConfigError, "at least one character"),
        ("QQ", DataError, "does not know"),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            network.generate(bad)


@pytest.mark.parametrize("changes", [{"ema_decay": 0.9}, {"precision": "bfloat16"}, {"optimizer": "muon"}])
def test_the_trainer_serves_it_as_any_other(place, changes, tmp_path):
    config = settings(epochs=1, **changes)
    result = train(config, open_data(place, config), output=tmp_path / "run", quiet=True)
    assert result.best < math.log(26)


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is None, reason="needs the package tokenizers")
def test_a_tokenizer_trained_on_the_spot_lies_in_the_checkpoint(place, tmp_path, capsys):
    text = shutil.copy(place, tmp_path / "corpus.txt")
    arguments = ["--task", "language", "--recipe", "miniature", "--tokenizer", "bpe:280", "--epochs", "1"]
    assert main(["train", str(text), *arguments, "--device", "cpu", "--output", str(tmp_path / "run")]) == 0
    Path(text).unlink()
    shutil.copy(tmp_path / "run" / "best.safetensors", tmp_path / "alone.safetensors")
    network = focalnets.load(tmp_path / "alone.safetensors", device="cpu")
    assert network.preprocessing.unit == "tokens"
    assert network.preprocessing.vocabulary == "bpe:280"
    assert "".join(network.generate("the king", length=20, seed=0))
    tokenizer = tokenizer_of(network.preprocessing)
    assert tokenizer.decode(tokenizer.encode("the king")) == "the king"


def test_going_on_reads_as_the_run_did(place, run, tmp_path, capsys):
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    with pytest.raises(TrainingError, match="is complete"):
        focalnets.train(resume=moved, quiet=True)
    other = write_corpus(tmp_path / "other.txt", words=900, seed=3)
    config = settings(pretrained=str(run), model_overrides={}, epochs=1)
    result = train(config, open_data(other, config), output=tmp_path / "next", quiet=True)
    assert [row["epoch"] for row in result.history] == [0, 1]
    again, before = (focalnets.load(source, device="cpu") for source in (result.best_weights, run))
    assert again.preprocessing == before.preprocessing
    (tmp_path / "strange.txt").write_text(corpus(900) + "ß" * 9)
    with pytest.raises(DataError, match=r"does not know .'ß'"):
        open_data(tmp_path / "strange.txt", settings(pretrained=str(run), model_overrides={}))
    with pytest.raises(ConfigError, match="tokenizer of their own"):
        open_data(other, settings(pretrained=str(run), model_overrides={}, tokenizer="bytes"))


def test_what_cannot_be_trained_is_refused(tmp_path):
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(DataError, match="is too short: 7 tokens to train and 2 held out, but a context takes 33"):
        open_data(tmp_path / "short.txt", settings())
    for changes, message in (
        ({"image_size": 32}, "--context_length"), ({"context_length": 0}, "from 1 up"),
        ({"sample_prompt": ""}, "at least one character"), ({"passages": -1}, "from 0 up"),
        ({"sample_length": 2**40}, "at most"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            settings(**changes)
    config = settings(model_overrides={"vocabulary_size": 9})
    write_corpus(tmp_path / "corpus.txt")
    with pytest.raises(ConfigError, match="the data and its tokenizer decide it"):
        train(config, open_data(tmp_path / "corpus.txt", config), output=tmp_path / "run", quiet=True)


def test_commands_for_images_say_so(run, place, tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    assert main(["predict", str(tmp_path / "a.png"), "--model", str(run)]) == 2
    assert "continue texts; use `focalnets generate`" in capsys.readouterr().err
    assert main(["evaluate", str(run), str(place), "--corruptions", "jpeg"]) == 2
    assert "is for images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("input", {"vocabulary_size": 40}, "40 entries"),
        ("input", {"tokenizer": "abc"}, "has 3 entries"),
        ("config", {"depth": 900}, "more than its"),
        ("config", {"dim": 4096}, "more than its"),
        ("config", {"kind": "other"}, "of kind language"),
        ("head", {"kind": "linear"}, "of kind language"),
        ("input", {"kind": "image"}, "no field|takes texts"),
    ],
)
def test_files_that_contradict_themselves_are_refused(run, field, change, message, tmp_path):
    with safe_open(run / "best.safetensors", "pt") as file:
        metadata = file.metadata()
    metadata[f"focalnets.{field}"] = json.dumps({**json.loads(metadata[f"focalnets.{field}"]), **change})
    save_file(load_file(run / "best.safetensors"), tmp_path / "odd.safetensors", metadata)
    with pytest.raises((CheckpointError, ConfigError), match=message):
        "".join(focalnets.load(tmp_path / "odd.safetensors", device="cpu").generate("the", length=1))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="needs the data beside the checkout")
def test_shakespeare_falls_below_what_letters_alone_tell(tmp_path):
    config = RECIPES["language"]().replace(epochs=1, sample_length=0, device="cpu")
    result = train(config, open_data(SHAKESPEARE, config), output=tmp_path / "run", quiet=True)
    assert result.best < 2.6  # 100 steps; frequencies of characters alone give 3.3


def test_a_text_of_a_single_line_is_sampled_from_its_beginning(tmp_path):
    (tmp_path / "line.txt").write_text("on and on " * 100)
    config = settings(epochs=1)
    train(config, open_data(tmp_path / "line.txt", config), output=tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "samples.txt").read_text().startswith("== epoch 1\no")


def test_samples_that_cannot_begin_are_refused_before_anything_is_written(place, tmp_path):
    config = settings(sample_prompt="é")
    with pytest.raises(ConfigError, match=r"sample_prompt does not suit the data: .*'é'"):
        train(config, open_data(place, config), output=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is None, reason="needs the package tokenizers")
def test_samples_begin_as_the_text_where_new_lines_are_no_tokens(place, tmp_path):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.decoder = normalizers.Strip(), decoders.Metaspace()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=100, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator([corpus()], trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = settings(epochs=1, tokenizer=str(tmp_path / "tokenizer.json"), context_length=16)
    data = open_data(place, config)
    prompt = config.build_task().with_data(data).settings.sample_prompt
    assert corpus().startswith(prompt.strip())
    assert len(data.train.tokenizer.encode(prompt))
    with pytest.raises(ConfigError, match="makes no token of"):
        config.replace(sample_prompt=" ").build_task().with_data(data)


def test_a_run_knows_the_field_of_its_texts(tmp_path, capsys):
    place = tmp_path / "a.jsonl"
    place.write_text("\n".join(json.dumps({"body": part}) for part in corpus().split("\n") if part))
    config = settings(epochs=1, text_field="body", sample_length=0)
    train(config, open_data(place, config), output=tmp_path / "run", quiet=True)
    other = tmp_path / "b.jsonl"
    shutil.copy(place, other)
    assert focalnets.load(tmp_path / "run", device="cpu").evaluate(other).tokens > 100
    command = ["explain", str(other), "--model", str(tmp_path / "run"), "--output", str(tmp_path / "out")]
    assert main([*command, "--most_tokens", "8"]) == 0
    assert "8 characters" in capsys.readouterr().out
