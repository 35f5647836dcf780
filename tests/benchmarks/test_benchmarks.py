"""Every benchmark runs at miniature size, refuses contenders that differ, and its results become the page."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import aggregation, memory, op, peers, resolution, startup, trainers
from benchmarks.__main__ import TOPICS
from benchmarks.command import RESULTS, Case, Topic, main
from benchmarks.measure import (
    Absent,
    Contender,
    DisagreementError,
    Target,
    Timing,
    attempt,
    check_agreement,
    describe_case,
    interleave,
    ratios,
    relative_error,
    time_case,
)
from benchmarks.report import DOCUMENT, write_report

from focalnets.machine.memory import measure_added

ROOT = Path(__file__).parents[2]
TWO = ("focalnets", "timm")
ABSENT = {"not run", "not installed", "cannot run here"}


@pytest.fixture
def quick_to_build(monkeypatch):
    """Miniatures, but without what has to be compiled or exported; in processes of their own only two contenders."""
    absent = peers.absent

    def as_in_quick(name, packages, sizes, size):
        return absent(name, packages, sizes, "quick")

    for module in (aggregation, peers):
        monkeypatch.setattr(module, "absent", as_in_quick)
    monkeypatch.setattr(resolution, "_NAMES", TWO)


@pytest.mark.usefixtures("quick_to_build")
@pytest.mark.parametrize("name", [name for name in TOPICS if name != "accuracy"])
def test_every_topic_runs_and_its_result_can_be_reported(name, tmp_path):
    file = tmp_path / f"{name}.json"
    assert main([TOPICS[name]], "tiny", [file]) == 0
    result = json.loads(file.read_text())
    assert result["topic"] == name
    assert result["size"] == "tiny"
    assert result["machine"]["cores"] >= 1
    assert result["versions"]["torch"] == torch.__version__.split("+")[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", result["date"])
    assert result["cases"]
    for case in result["cases"]:
        rows = {row["name"]: row for row in case["contenders"]}
        for contender in ("focalnets", case["baseline"]):
            assert rows[contender]["status"] == "measured"
            assert rows[contender]["relative_error"] <= rows[contender].get("tolerance", case["tolerance"])
            assert rows[contender]["p20"] <= rows[contender]["median"] <= rows[contender]["p80"]
            assert math.isfinite(rows[contender]["ratio"]["median"])
        assert {row["status"] for row in case["contenders"]} <= ABSENT | {"measured"}
    page = write_report(tmp_path)
    assert f"python -m benchmarks.{name} --size tiny" in page
    assert page.count("Not measured yet") == len(TOPICS) - 1
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.slow
def test_everything_runs_as_a_program_with_every_contender(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks", "--size", "tiny", "--output", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    for name in TOPICS:
        for case in json.loads((tmp_path / f"{name}.json").read_text())["cases"]:
            statuses = {row["name"]: row["status"] for row in case["contenders"]}
            allowed = {"measured", "not installed", "cannot run here"}
            assert all(status in allowed or "compiled" in name for name, status in statuses.items()), statuses


@pytest.mark.usefixtures("quick_to_build")
def test_cuda_cases_compute_the_same_in_bfloat16():
    for case in op.cuda_cases("tiny", device="cpu")[:8:3]:
        (outcome,) = case.run()
        assert outcome["dtype"] == "bfloat16"
        assert {"focalnets", "timm"} <= {row["name"] for row in outcome["contenders"] if row["status"] == "measured"}


def test_operator_is_refused_when_a_peer_loses_the_global_level(monkeypatch, tmp_path, capsys):
    def without_mean(self, context, gates):
        gathered = 0
        for level, layer in enumerate(self.focal_layers):
            context = layer(context)
            gathered = gathered + context * gates[:, level : level + 1]
        return gathered

    monkeypatch.setattr(aggregation.TimmAggregation, "aggregate", without_mean)
    cases = [op.cases("tiny")[8]]
    topic = Topic("op", "", "", lambda size: cases)
    assert main([topic], "tiny", [tmp_path / "op.json"]) == 1
    assert re.search(r"error: op: timm does not compute the same: the relative error of ", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_other_topics_still_run_after_a_refused_one(tmp_path):
    def refuse():
        raise DisagreementError("a differs.")

    never = Case("never", 1, refuse)
    fine = Case("fine", 1, lambda: [describe_case("fine", "s", {"a": [1.0]}, [], {}, baseline="a", tolerance=1.0)])
    topics = [Topic("op", "", "", lambda size: [never, never]), Topic("memory", "", "", lambda size: [fine])]
    assert main(topics, "tiny", [tmp_path / "op.json", tmp_path / "memory.json"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["memory.json"]


def test_losing_any_single_weight_would_be_seen():
    ours = peers.drawn_network(peers.network_config("tiny"))
    theirs = peers.timm_network(ours)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        expected = ours(images)
        assert relative_error(theirs(images), expected) <= peers.TOLERANCES["float32"]
        for parameter in theirs.parameters():
            kept = parameter.clone()
            parameter.zero_()
            assert relative_error(theirs(images), expected) > 10 * peers.TOLERANCES["float32"]
            parameter.copy_(kept)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.1])
def test_wrong_outputs_are_refused(value):
    expected = {"result": torch.ones(3)}
    wrong = Contender("wrong", lambda: None, lambda: {"result": torch.tensor([1.0, 1.0, value])})
    with pytest.raises(DisagreementError, match="wrong does not compute the same"):
        check_agreement([wrong], expected, 1e-3)


def test_outputs_of_other_shapes_and_names_are_refused():
    expected = {"result": torch.ones(3)}
    for outputs in ({"result": torch.ones(1)}, {}, {"other": torch.ones(3)}):
        with pytest.raises(DisagreementError):
            check_agreement([Contender("wrong", lambda: None, lambda outputs=outputs: outputs)], expected, 1e-3)


def test_rounds_call_every_contender_and_shuffle_them():
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "abc"}
    samples = interleave(calls, Timing(0.0, fewest=4, turn_s=0.0))
    assert {name: len(values) for name, values in samples.items()} == {"a": 4, "b": 4, "c": 4}
    rounds = [tuple(order[start : start + 3]) for start in range(6, len(order), 3)]  # after two warm-up calls each
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 1


def test_ratios_are_taken_within_rounds():
    assert ratios([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == {"median": 2.0, "p20": 2.0, "p80": 2.0}
    samples = {"ours": [1.0, 2.0], "theirs": [3.0, 6.0]}
    targets = [
        Target("ours", "theirs", at_least=2.5),
        Target("ours", "theirs", at_least=3.5),
        Target("ours", "none", 1),
    ]
    case = describe_case("case", "s", samples, [], {}, baseline="theirs", tolerance=1.0, targets=targets)
    assert [goal.get("reached") for goal in case["targets"]] == [True, False, None]
    assert case["contenders"][0]["ratio"]["median"] == 3.0
    case = describe_case("case", "bytes", samples, [], {}, baseline="theirs", tolerance=1.0)
    assert case["contenders"][0]["ratio"]["median"] == pytest.approx(1 / 3)


def test_a_missing_package_is_a_cell():
    absent = peers.absent("peer", ("torch", "no_such_package_anywhere"), ("tiny",), "tiny")
    assert absent == Absent("peer", "not installed", "Needs no_such_package_anywhere: pip install 'focalnets[bench]'.")
    present = Contender("ours", lambda: None, lambda: {"result": torch.ones(1)})
    targets = [Target("ours", "peer", at_least=1.0)]
    case = time_case(
        "case", [present, absent], baseline="peer", tolerance=0.1, timing=Timing(0.0, 1, 1, 0.0), targets=targets
    )
    assert "ratio" not in case["contenders"][0]
    assert case["contenders"][1]["status"] == "not installed"
    assert "reached" not in case["targets"][0]


def test_a_worker_that_dies_is_a_cell(monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    outcome = memory.run_worker("focalnets", [{"task": "inference", "batch": 1, "side_px": 64}], "tiny")
    assert isinstance(outcome, Absent)
    assert outcome.status == "failed"


def test_peak_memory_counts_what_a_call_allocates():
    def prepare(images):
        return lambda: float(images.repeat(20, 1, 1, 1).sum())

    images = torch.zeros(1, 3, 512, 512)
    added = 20 * images.numel() * 4
    _, outcome = measure_added(prepare, images, lambda: None)
    if not outcome["peak_was_reset"]:
        pytest.skip("this system does not let a process reset its peak")
    assert 0.9 * added < outcome["added_bytes"] < 1.3 * added


def test_the_training_step_leaves_the_weights_alone():
    ours = peers.drawn_network(peers.network_config("tiny"))
    trainer = trainers.Trainer("focalnets", ours)
    images, labels = torch.randn(2, 3, 64, 64), torch.tensor([1, 2])
    assert trainer.step(images, labels) == trainer.step(images, labels)
    assert set(trainer.gradients()) == set(ours.state_dict())
    assert trainers.TOLERANCES["float32"] < 1e-2


def test_the_page_is_that_of_the_results():
    assert DOCUMENT.read_text(encoding="utf-8") == write_report(RESULTS), "run `python -m benchmarks.report`"


def test_the_page_tells_targets_missed_and_contenders_that_failed(tmp_path):
    case = describe_case(
        "a case",
        "s",
        {"ours": [2.0, 2.0], "theirs": [1.0, 1.0]},
        [Absent("third", "failed", "It was killed.")],
        {"ours": 1e-7},
        baseline="theirs",
        tolerance=1e-5,
        targets=[Target("ours", "theirs", at_least=1.5), Target("third", "theirs", at_least=1.0)],
    )
    topic = Topic("op", "", "", lambda size: [Case("a case", 1, lambda: [case])])
    assert main([topic], "tiny", [tmp_path / "op.json"]) == 0
    page = write_report(tmp_path)
    assert "| at least 1.5 | 0.50 | missed |" in page
    assert "| not measured |" in page
    assert "- third: failed. It was killed." in page


def _break_down():
    raise RuntimeError("out of order\nand a long trace")


def test_a_peer_that_breaks_down_is_a_cell_and_our_own_failure_an_error():
    ours = Contender("focalnets", lambda: None, lambda: {"result": torch.ones(1)})
    broken = Contender("peer", lambda: None, _break_down)
    case = time_case("case", [ours, broken], baseline="focalnets", tolerance=0.1, timing=Timing(0.0, 1, 1, 0.0))
    assert case["contenders"][1] == {"name": "peer", "status": "failed", "why": "RuntimeError: out of order"}
    assert attempt("peer", _break_down) == Absent("peer", "failed", "RuntimeError: out of order")
    with pytest.raises(RuntimeError, match="out of order"):
        attempt("focalnets compiled", _break_down)


def test_startup_compares_commands_with_importing_torch(tmp_path, monkeypatch, capsys):
    times = {"-c": 2.0, "predict": 3.0, "--help": 0.5, "models": 1.0}
    monkeypatch.setattr(startup, "_network_s", lambda photo: 1.0 if photo.exists() else None)
    monkeypatch.setattr(
        startup, "_processor_time_s", lambda command: next(times[word] for word in reversed(command) if word in times)
    )
    assert startup.run(["--rounds", "3", "--json", str(tmp_path / "startup.json")]) == 0
    shown = capsys.readouterr().out
    assert "predict without the network's own, to import torch: 1.00" in shown
    result = json.loads((tmp_path / "startup.json").read_text())
    rows = result["processor_time"]
    assert rows["import torch"] == {"median_s": 2.0, "p20_s": 2.0, "p80_s": 2.0, "ratio_to_import_torch": 1.0}
    assert rows["focalnets predict photo.png"]["ratio_to_import_torch"] == 1.5
    assert rows["focalnets predict --help"]["ratio_to_import_torch"] == 0.25
