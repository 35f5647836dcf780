"""Runs beside each other, as ``focalnets runs`` shows them; and the card of a run."""

from __future__ import annotations

import csv
import io
import json

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from focalnets.cli.main import main
from focalnets.errors import TrainingError
from focalnets.training.recipes import miniature
from focalnets.training.runs import differing_settings, find_runs
from focalnets.training.trainer import open_data, train


@pytest.fixture(scope="module")
def runs(coloured_images, tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    for name, changes in {"slow": {"learning_rate": 1e-12}, "fast": {"epochs": 3}}.items():
        config = miniature().replace(batch_size=8, **changes)
        train(config, open_data(coloured_images, config), output=root / "all" / name, quiet=True)
    return root


def test_the_best_comes_first_with_what_differs(runs):
    found = find_runs(runs)
    assert [run.name for run in found] == ["all/fast", "all/slow"]
    assert [run.epochs for run in found] == [3, 2]
    assert all(run.complete and run.parameters > 1000 and run.wall_time_s > 0 for run in found)
    assert differing_settings(found) == {"epochs": [3, 2], "learning_rate": [miniature().learning_rate, 1e-12]}


def test_the_command_shows_and_writes(runs, tmp_path, capsys):
    assert main(["runs", str(runs), "--plot", str(tmp_path / "runs.png"), "--csv", str(tmp_path / "runs.csv")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3
    assert "learning_rate" in shown[0]
    assert shown[1].startswith("all/fast")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text(encoding="utf-8"))))
    assert rows[1]["config.learning_rate"] == "1e-12"
    with Image.open(tmp_path / "runs.png") as picture:
        assert picture.width > 500
    assert main(["runs", str(runs), "--json", "-"]) == 0
    assert [len(run["history"]) for run in json.loads(capsys.readouterr().out)] == [3, 2]


def test_mistakes_are_one_sentence(runs, tmp_path):
    with pytest.raises(TrainingError, match="no folder"):
        find_runs(tmp_path / "missing")
    with pytest.raises(TrainingError, match="no run"):
        find_runs(tmp_path)
    (tmp_path / "config.yaml").write_text("epochs: 0\n")
    (tmp_path / "environment.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"is no training config: epochs"):
        find_runs(tmp_path)


def test_the_card_is_one_of_the_hub(runs):
    card = ModelCard.load(runs / "all" / "fast" / "README.md")
    assert card.data.library_name == "focalnets"
    assert card.data.license == "unknown"
    assert {result.metric_name for result in card.data.eval_results} == {"Top-1 accuracy", "Top-5 accuracy"}
    assert str(runs) not in str(card)
