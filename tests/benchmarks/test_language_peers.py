"""Language models after equal training: a benchmark that was stopped goes on, and its tables say what was measured."""

from __future__ import annotations

import json

import pytest
from benchmarks.language_peers import Plan, best_rate, main, measure_all
from benchmarks.language_tables import format_tables
from benchmarks.results_page import write_page
from tests.tasks.corpus import write_corpus

from focalnets.compare.language.recall import RecallSettings
from focalnets.compare.language.speed import SpeedSettings

NAMES = ("focal_language_small:dim=8,depth=1", "attention_language_small:dim=8,depth=1,attention_heads=2")
PLAN = Plan(
    models=NAMES, rates=(1e-3, 3e-2), steps=16, search_steps=8, seeds=(0,),
    recall=RecallSettings(pairs=2, length=10, vocabulary=12, dim=8, depth=1, steps=2, batch=4, texts=8),
    speed=SpeedSettings(context_length=8, batch=2, lengths=(4, 20), tokens=3, budget_s=0.0, rounds=1),
    changes={"context_length": 16, "batch_size": 2, "epochs": 1},
)  # fmt: skip


def test_a_benchmark_goes_on(tmp_path, capsys):
    text, output, runs = write_corpus(tmp_path / "corpus.txt", words=800), tmp_path / "peers.json", tmp_path / "runs"
    first = measure_all(text, output, PLAN, runs)
    assert [(row["steps"], row["seed"]) for row in first["trainings"]] == [(8, 0)] * 4 + [(16, 0)] * 2
    for row in first["trainings"][4:]:
        assert row["learning_rate"] == best_rate(first, "corpus.txt", row["model"], 8)
    assert {row["model"] for row in first["recall"]} == {row["model"] for row in first["speed"]} == set(NAMES)
    capsys.readouterr()
    again = measure_all(text, output, PLAN, tmp_path / "elsewhere")
    assert again == first
    assert capsys.readouterr().out == ""

    longer = Plan(**{**vars(PLAN), "long": 2})
    whole = measure_all(text, output, longer, runs)
    assert whole["trainings"][:6] == first["trainings"]
    assert [(row["model"], row["steps"], row["seed"]) for row in whole["trainings"][6:]] == [
        (name, 32, 0) for name in NAMES
    ]
    assert json.loads(output.read_text()) == whole

    tables = format_tables(whole)
    assert "corpus.txt, 16 steps of 2 x 16 tokens:" in tables
    assert "corpus.txt, 32 steps" in tables
    assert "Nats by learning rate, corpus.txt, 8 steps, one seed:\n\n| network | 0.001 | 0.03 |" in tables
    assert "corpus.txt, 8 steps of" not in tables
    assert "| continuing at 4 [tokens/s] | continuing at 20 [tokens/s] | state at 4 [KiB] |" in tables
    (tmp_path / "results").mkdir()
    output.rename(tmp_path / "results" / "language_peers.json")
    page = write_page(tmp_path / "results", tmp_path / "results.md")
    assert "## Language models of one size" in page
    assert tables.split("\n\n")[1] in page


def test_the_lowest_stands_beside_the_last_where_they_differ():
    row = {"data": "a.txt", "model": "ours", "steps": 8, "learning_rate": 0.1, "seed": 0, "batch": 2, "parameters": 10}
    row |= {"context_length": 4, "nats": 2.5, "curve": [[1, 2.75], [2, 2.25], [3, 2.5]]}
    other = {**row, "model": "other", "nats": 2.0, "curve": [[1, 3.0], [2, 2.0]]}
    tables = format_tables({"trainings": [row, other], "recall": [], "speed": []})
    assert "| best on the way |" in tables
    assert "| ours | 0.000 | 0.1 | 1 | 2.500 | 2.250 |" in tables
    assert "| other | 0.000 | 0.1 | 1 | 2.000 |  |" in tables
    assert "on the way" not in format_tables({"trainings": [other], "recall": [], "speed": []})


def test_a_training_that_fails_is_a_row(tmp_path):
    text = write_corpus(tmp_path / "corpus.txt", words=800)
    plan = Plan(**{**vars(PLAN), "recall": None, "speed": None, "models": NAMES[:1], "rates": (1e30,)})
    (row,) = measure_all(text, tmp_path / "peers.json", plan, tmp_path / "runs")["trainings"]
    assert "nats" not in row
    assert "loss" in row["failed"]
    assert "| failed |" in format_tables({"trainings": [row], "recall": [], "speed": []})


def test_without_a_text_it_shows_what_is_there(tmp_path, capsys):
    assert main(["--output", str(tmp_path / "none.json")]) == 0
    assert capsys.readouterr().out == "\n"
    with pytest.raises(SystemExit):
        main(["--steps", "many"])
