"""Cells are filled, kept, and say why where they are empty."""

from __future__ import annotations

import dataclasses

import pytest

from focalnets.compare.entrants import find_entrants
from focalnets.compare.measurement import Plan, fill
from focalnets.compare.results import Comparison, read_comparison
from focalnets.errors import ConfigError

SETTING = {"device": "cpu"}
PLAN = Plan(entrants=tuple(find_entrants(["focalnet_pico"])), sizes_px=(32,), batches=(1,), most_rounds=2, minutes=1.0)


def answer(job, timeout_s):
    if job["task"] == "training":
        return {"status": "out of memory", "why": "simulated"}
    return {"status": "measured", "peak_bytes": 5, "seconds": 0.01}


def test_fills_keeps_and_reads_again(tmp_path):
    comparison = Comparison(SETTING)
    fill(comparison, PLAN, after_group=lambda one: one.write(tmp_path), memory=answer)
    inference, training = comparison.sorted_cells()
    assert inference.status == "measured"
    assert inference.peak_bytes == 5
    assert inference.rounds >= 1
    assert inference.images_per_s > 0
    assert (training.status, training.why, training.latency_s) == ("out of memory", "simulated", None)
    again = read_comparison(tmp_path, SETTING)
    assert again.to_dict() == comparison.to_dict()

    def never(job, timeout_s):
        raise AssertionError("everything is kept")

    fill(again, PLAN, after_group=never, memory=never)
    with pytest.raises(ConfigError, match="device"):
        read_comparison(tmp_path, {"device": "cuda"})
    (tmp_path / "comparison.json").write_text("{")
    with pytest.raises(ConfigError, match="--fresh"):
        read_comparison(tmp_path, SETTING)


def test_bad_plans():
    with pytest.raises(ConfigError, match="sizes"):
        dataclasses.replace(PLAN, sizes_px=(0,))
    with pytest.raises(ConfigError, match="minutes"):
        dataclasses.replace(PLAN, minutes=0.0)
