"""Planted links: what is planted is what is counted, and a run that was stopped goes on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks.audit_statistics import main as simulate
from benchmarks.audit_statistics import simulate_groups, simulate_pull
from benchmarks.planted_links import CLASSES, main, plant, summarise

from focalnets.auditing.statistics.association import cramers_v, cross_table


@pytest.mark.parametrize("link", [0.0, 0.5, 0.75, 0.95])
def test_the_association_is_what_was_planted(link):
    labels = np.arange(480) % 4
    kinds = plant(labels.tolist(), link, seed=1)
    assert cramers_v(cross_table(labels, np.array(kinds), (4, 4))) == pytest.approx(link, abs=0.02)
    assert kinds != plant(labels.tolist(), link, seed=2) or link == 0.95


def test_a_run_goes_on_where_it_ended(tmp_path, capsys):
    file = tmp_path / "planted.json"
    options = ["--output", str(file), "--train", "32", "--pairs", "8", "--mapped", "2", "--epochs", "1",
               "--image_size_px", "32", "--embed_dim", "8", "--links", "0.95"]  # fmt: skip
    main([*options, "--seeds", "0"])
    first = json.loads(file.read_text())["networks"]
    main([*options, "--seeds", "0", "1"])
    written = json.loads(file.read_text())
    assert written["networks"][0] == first[0]
    assert [row["seed"] for row in written["networks"]] == [0, 1]
    assert written["summary"]["links"][0]["networks"] == 2
    assert "| 0.95 | 2 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*options, "--seeds", "0", "--pairs", "9"])


def test_the_summary_compares_maps_with_pull():
    rows = [
        {"link": 0.5, "association": 0.5, "pull": {"value": value}, "found": False, "map_share": 1 - value}
        for value in (0.1, 0.2, 0.3)
    ]
    assert summarise(rows)["map_share_and_pull"]["spearman"] == pytest.approx(-1.0)
    assert len(CLASSES) == 4


def test_simulations_of_the_statistics():
    assert abs(simulate_pull(0.5, 40)["bias"]) < 0.02
    assert simulate_groups([60, 60], [0.3, 0.9], 3) == {"any": 1.0, "first": 1.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--train", "38"], "train must be a multiple of 4"),
        (["--train", "28"], "train must be at least 32"),
        (["--mapped", "0"], "mapped must be at least 1"),
        (["--links", "2"], "--links must be shares from 0 to 1"),
        (["--seeds", "-1"], "--seeds whole numbers from 0 up"),
        ([], "is no complete file of this command"),
    ],
)
def test_mistakes_are_one_sentence_before_the_work(options, words, tmp_path, capsys):
    file = tmp_path / "planted.json"
    file.write_text('{"plan": {')
    with pytest.raises(SystemExit) as stopped:
        main([*options, "--output", str(file)])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_simulations_refuse_places_before_the_work(tmp_path, capsys):
    (tmp_path / "file").touch()
    for options in (["--json", str(tmp_path / "file" / "x.json")], ["--repetitions", "0"]):
        with pytest.raises(SystemExit) as stopped:
            simulate([*options])
        assert stopped.value.code == 2
    assert "which is a file" in capsys.readouterr().err
