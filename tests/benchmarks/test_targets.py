"""What is asked of the networks: what counts, in which arithmetic, on which processor, and how the page tells it."""

from __future__ import annotations

import dataclasses
import json
import re
import types

import pytest
import torch
from benchmarks import accuracy, peers, resolution
from benchmarks.__main__ import TOPICS, run
from benchmarks.command import Case, Topic, main
from benchmarks.machine import missing_for
from benchmarks.measure import (
    Contender,
    DisagreementError,
    Target,
    Timing,
    check_agreement,
    describe_case,
    relative_error,
    time_case,
)
from benchmarks.report import write_report
from tests.benchmarks.test_benchmarks import ABSENT

from focalnets.ops import cpu_library
from focalnets.ops.cpu_library import Engine


def test_accuracy_counts_what_differs_and_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(accuracy, "SLOW_TO_BUILD", ("full",))
    file = tmp_path / "accuracy.json"
    assert main([TOPICS["accuracy"]], "tiny", [file]) == 0
    (case,) = json.loads(file.read_text())["cases"]
    rows = {row["name"]: row for row in case["contenders"]}
    assert rows["PyTorch"]["images"] == 20
    assert rows["PyTorch"]["difference_points"] == rows["PyTorch"]["answers_that_differ"] == 0
    assert "by PyTorch" in rows["PyTorch"]["arithmetic"]
    for name in ("focalnets accelerated", "focalnets accelerated, bfloat16", "focalnets accelerated, int8"):
        if rows[name]["status"] == "measured":
            assert "by the engine" in rows[name]["arithmetic"]
    assert {row["status"] for row in rows.values()} <= ABSENT | {"measured"}
    assert "| PyTorch | float32 by PyTorch on cpu |" in write_report(tmp_path)


def test_lost_and_gained_images_are_told_apart():
    judge, other = {1: "cat", 2: "dog", 3: "cat"}, {2: "cow", 3: "cat", 4: "dog", 5: "dog"}
    found = accuracy._against(judge, other, {"images": 10})
    assert found == {"difference_points": -10.0, "lost": 2, "gained": 1, "answers_that_differ": 4}


@pytest.mark.parametrize("command", [["--only", "accuracy"], ["--quick", "--data", "/nowhere/at/all"]])
def test_accuracy_without_images_is_refused(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(command)
    assert re.search("needs labelled images: --data|is no folder", capsys.readouterr().err)


def test_contenders_have_tolerances_of_their_own():
    expected = {"result": torch.ones(3)}
    rough = Contender("rough", lambda: None, lambda: {"result": torch.full((3,), 1.1)}, 0.2)
    exact = Contender("exact", lambda: None, lambda: dict(expected))
    targets = [Target("rough", "exact", at_most=2.0, of="error"), Target("rough", "rough", at_most=2.0, of="error")]
    case = time_case(
        "case", [rough, exact], baseline="exact", tolerance=1e-5, timing=Timing(0.0, 1, 1, 0.0), expected=expected,
        targets=targets,
    )  # fmt: skip
    assert [row.get("tolerance") for row in case["contenders"]] == [0.2, None]
    assert [goal.get("reached") for goal in case["targets"]] == [None, True]
    with pytest.raises(DisagreementError, match="allowed is 5e-02"):
        check_agreement([dataclasses.replace(rough, tolerance=0.05)], expected, 0.2)


def test_a_pixel_that_becomes_dearer_is_seen():
    def case(side_px, median):
        row = {"name": "focalnets accelerated", "status": "measured", "median": median}
        return {"group": "time per pixel", "side_px": side_px, "pixels": side_px**2, "contenders": [row]}

    grows, flat = resolution.flatness([case(10, 120.0), case(20, 400.0), case(40, 2400.0)])
    assert (round(grows["ratio"]["median"], 2), grows["reached"]) == (1.25, False)
    assert (round(flat["ratio"]["median"], 2), flat["against"]) == (1.5, "itself at its cheapest, 20 px")
    assert resolution.flatness([case(10, 1.0)]) == []


def test_what_the_processor_lacks_is_told(monkeypatch, tmp_path):
    engines = [Engine(0, "bfloat16", "amx", 16, 32, 2, "this processor has no AMX"),
               Engine(1, "bfloat16", "bfloat16", 16, 2, 2, None)]  # fmt: skip
    monkeypatch.setattr(cpu_library, "load", lambda: types.SimpleNamespace(engines=engines))
    assert missing_for("amx") == "this processor has no AMX"
    assert missing_for("amx", "bfloat16") is None
    target = Target("ours", "theirs", at_least=6.0, missing=missing_for("amx"))
    samples = {"ours": [1.0], "theirs": [3.0]}
    case = describe_case("a case", "s", samples, [], {}, baseline="theirs", tolerance=1e-5, targets=[target])
    topic = Topic("inference", "", "", lambda size: [Case("a case", 1, lambda: [case])])
    assert main([topic], "tiny", [tmp_path / "inference.json"]) == 0
    result = json.loads((tmp_path / "inference.json").read_text())
    assert result["machine"]["engines"] == ["bfloat16 by bfloat16"]
    page = write_report(tmp_path)
    assert re.search(r"\| at least 6.0 \| 3.00 \|.*\| cannot run here: this processor has no AMX \|", page)


def test_plain_pytorch_computes_the_same_without_our_kernels(monkeypatch):
    ours = peers.drawn_network(peers.network_config("tiny"))
    plain, images = peers.pytorch_network(ours), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = ours(images)
        monkeypatch.setattr(cpu_library, "load", lambda: "The kernels are gone.")
        assert relative_error(plain(images), expected) <= peers.TOLERANCES["float32"]
    assert type(ours.head) is torch.nn.Linear
