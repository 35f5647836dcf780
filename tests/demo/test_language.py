"""``focalnets demo --task language`` from the text in the package to the report, and on after a stop."""

from __future__ import annotations

import html
import json
import math
import re
import shlex

import pytest
from tests.report.reading import check_alone

from focalnets.cli.main import main
from focalnets.demo.language.report import chosen_samples
from focalnets.demo.language.run import Sample
from focalnets.demo.language.settings import full, quick
from focalnets.demo.language.text import passage_of, read_plays
from focalnets.models.sequence import create_language_model
from focalnets.training.callbacks import Guard
from focalnets.visualize.text.listening import focal_blocks

QUICK = quick()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo <of> & texts") / "out"
    command = ["demo", "--task", "language", "--quick", "--output", str(folder), "--quiet"]
    assert main([*command, "--json", str(folder.parent / "result.json")]) == 0
    return folder


def test_the_result_as_json(demo):
    result = json.loads((demo.parent / "result.json").read_text(encoding="utf-8"))
    assert result["report"] == str(demo / "report.html")
    assert result["held_out"] == QUICK.characters // 10
    assert result["characters"] == QUICK.characters - QUICK.characters // 10
    steps = QUICK.passages // QUICK.batch_size
    for network in result["networks"].values():
        assert [point["step"] for point in network["curve"]] == [steps * epoch for epoch in range(1, QUICK.epochs + 1)]
        assert network["nats"] == min(point["nats"] for point in network["curve"])
        assert network["curve"][-1]["nats"] < network["curve"][0]["nats"]
    ours, attention = (network["parameters"] for network in result["networks"].values())
    assert abs(ours - attention) < 0.05 * attention
    assert [sample["step"] for sample in result["samples"]] == [steps * epoch for epoch in range(QUICK.epochs + 1)]
    assert result["samples"][0]["nats"] > math.log(40) > result["samples"][1]["nats"]
    assert all(sample["text"].startswith(QUICK.sample_prompt) for sample in result["samples"])
    assert len({sample["text"] for sample in result["samples"]}) == QUICK.epochs + 1
    assert result["state_bytes"] < 65_536
    assert result["tokens_per_s"] > 0


def test_the_report_is_whole_and_needs_nothing_else(demo):
    text = (demo / "report.html").read_text(encoding="utf-8")
    page = check_alone(text, scripts=True)
    assert len(text) < 3_000_000
    for words in ("How it learned to write", "Before the first step", "Beside attention", "What each character listens",
                  "in the public domain"):  # fmt: skip
        assert words in page.text
    assert str(demo) not in text
    assert not re.search(r"\bnan\b", page.text)
    assert {"explained.html", "tokens.csv", "passage.txt", "report.html"} <= {path.name for path in demo.iterdir()}
    passage = (demo / "passage.txt").read_text(encoding="utf-8")
    assert passage in read_plays()[QUICK.characters - QUICK.characters // 10 : QUICK.characters] + "\n"


def test_the_commands_of_the_report_work_in_its_folder(demo, monkeypatch, capsys):
    monkeypatch.chdir(demo)
    text = (demo / "report.html").read_text(encoding="utf-8")
    commands = html.unescape(re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL)[-1]).splitlines()
    assert len(commands) == 3
    assert main([*shlex.split(commands[0])[1:], "--length", "20"]) == 0
    assert main(shlex.split(commands[1])[1:]) == 0
    assert (demo / "explained" / "passage_explained.html").exists()
    capsys.readouterr()


def test_a_demonstration_that_was_stopped_goes_on(tmp_path, monkeypatch, capsys):
    command = ["demo", "--task", "language", "--quick", "--output", str(tmp_path / "out")]
    save = Guard._save

    def save_and_break_off(self, trainer):
        save(self, trainer)
        if trainer.current_epoch + 1 == 2 and self.folder.root.name == "attention":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Guard, "_save", save_and_break_off)
        assert main(command) == 130
    shown = capsys.readouterr()
    assert "Stopped; `focalnets demo --task language` with the same output goes on" in shown.err
    assert "epoch 3/3" in shown.out  # of the first network
    assert not (tmp_path / "out" / "report.html").exists()
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "run is trained already" in shown
    assert "epoch 1/3" not in shown
    assert "epoch 3/3" in shown
    assert (tmp_path / "out" / "report.html").exists()


def test_both_networks_have_the_same_size_and_the_text_is_whole():
    text = read_plays()
    assert len(text) == 317_026
    assert text.startswith("First Citizen:\nBefore we proceed")
    assert text.endswith("God say amen!\n")
    assert "Now is the winter of our discontent" in text
    for settings in (full(), quick()):
        ours, attention = (create_language_model(name, **settings.overrides) for name in settings.networks)
        assert len(focal_blocks(ours)) == ours.config.depth
        assert focal_blocks(attention) == {}
        sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in (ours, attention)]
        assert abs(sizes[0] - sizes[1]) < 0.05 * sizes[1]
        assert settings.context_length < settings.characters // 10


def test_a_passage_consists_of_whole_speeches():
    text = "ds end.\n\nA:\nOne.\n\nB:\nTwo.\n\nC:\nThree, which is long.\n"
    assert passage_of(text, 20) == "A:\nOne.\n\nB:\nTwo.\n"
    assert passage_of(text, 5) == "A:\nOn\n"


def test_samples_are_chosen_where_steps_double():
    samples = [Sample(50 * number, 2.0, str(number)) for number in range(11)]
    assert [sample.step for sample in chosen_samples(samples)] == [0, 50, 100, 200, 500]
    assert [sample.step for sample in chosen_samples(samples[:2])] == [0, 50]
