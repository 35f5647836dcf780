"""The measurement on a GPU: a dry run in Triton's interpreter, and going on where an earlier start ended."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import language
from benchmarks.gpu.device import interleaved
from benchmarks.gpu.record import Record

ROOT = Path(__file__).parents[2]

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def interpreting() -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1"}


@needs_triton
def test_kernels_are_compared_in_the_interpreter(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", str(tmp_path), "--tiny", "--stage", "correctness"]
    done = subprocess.run(command, env=interpreting(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "correctness.json").read_text())
    assert content["complete"]
    assert len(content["rows"]) == 5
    assert all(row["passed"] for row in content["rows"].values()), content


@pytest.mark.slow
@needs_triton
@pytest.mark.skipif(os.name == "nt", reason="a script for sh")
def test_a_dry_run_goes_through_all_stages_and_is_not_repeated(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(ROOT / "benchmarks/gpu/run.sh"), str(tmp_path), "--tiny"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in gpu.STAGES:
        content = json.loads((tmp_path / f"{stage.name}.json").read_text())
        assert content["complete"], (stage.name, content)
        assert content["rows"] or stage.name == "memory", stage.name
    rows = json.loads((tmp_path / "correctness.json").read_text())["rows"]
    assert all(row["passed"] for row in rows.values()), rows
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.stdout.count("measured already") == len(gpu.STAGES)


def test_rows_are_kept_over_starts_and_failed_ones_tried_again(tmp_path: Path) -> None:
    file, calls = tmp_path / "stage.json", []

    def broken() -> dict[str, float]:
        calls.append("broken")
        raise RuntimeError("out of memory")

    for expected in (1, 1):
        record = Record(file, time.monotonic() + 60)
        record.measure("good", lambda: calls.append("good") or {"value": 1.0})
        record.measure("bad", broken)
        record.finish()
        assert json.loads(file.read_text())["failed"] == expected
        assert not json.loads(file.read_text())["complete"]
    assert calls == ["good", "broken", "broken"]


@pytest.mark.parametrize("before", ["", "{", "[]", '{"rows": 3}'])
def test_after_its_time_a_stage_begins_no_row(tmp_path: Path, before: str) -> None:
    (tmp_path / "stage.json").write_text(before)
    record = Record(tmp_path / "stage.json", time.monotonic() - 1)
    record.measure("late", dict)
    record.finish()
    assert json.loads((tmp_path / "stage.json").read_text()) | {"seconds": 0} == {
        "complete": False,
        "rows": {},
        "left_out": 1,
        "failed": 0,
        "seconds": 0,
    }


def test_a_call_that_fails_does_not_stop_the_others() -> None:
    def broken() -> None:
        raise RuntimeError("no such kernel")

    rows = interleaved({"good": lambda: sum(range(1000)), "bad": broken}, budget_s=0.0, baseline="good")
    assert rows["good"]["times_as_fast"] == 1.0
    assert math.isfinite(rows["good"]["median_s"])
    assert "no such kernel" in rows["bad"]["failed"]


def test_all_stages_fit_into_nine_minutes() -> None:
    assert sum(stage.seconds for stage in gpu.STAGES) <= 540


def test_without_a_gpu_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(gpu, "_has_gpu", lambda: False)
    assert gpu.main([str(tmp_path / "new")]) == 2
    assert "no GPU" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@needs_triton
def test_causal_kernels_are_compared_in_the_interpreter(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", str(tmp_path), "--tiny", "--stage", "causal_correctness"]
    done = subprocess.run(command, env=interpreting(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "causal_correctness.json").read_text())
    assert content["complete"]
    assert len(content["rows"]) == 6
    assert all(row["passed"] for row in content["rows"].values()), content


@needs_triton
def test_a_language_model_is_trained_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("To be, or not to be, that is the question.\n" * 6)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    starts = ((whole, "8", 0), (parts, "0", 3), (parts, "8", 0))
    calls = [[str(corpus), str(folder), "--minutes", minutes, "--tiny"] for folder, minutes, _ in starts]
    code = f"from benchmarks.gpu.language import main; print([main(call) for call in {calls}])"
    done = subprocess.run([sys.executable, "-c", code], env=interpreting(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == str([status for *_, status in starts]), done.stdout + done.stderr
    once, twice = (json.loads((folder / "language.json").read_text()) for folder in (whole, parts))
    assert once["complete"]
    assert twice["complete"]
    assert [row["step"] for row in twice["rows"]] == [1, 2]
    assert once["best_val_nats"] == pytest.approx(twice["best_val_nats"])
    assert once["sample"] == twice["sample"]


def test_a_text_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert language.main([str(tmp_path / "none.txt"), str(tmp_path / "new")]) == 2
    assert "none.txt" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
