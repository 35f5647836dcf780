"""Cells are filled, kept, and say why where they are empty."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from tests.report.reading import without_pictures

from focalnets.compare import measurement
from focalnets.compare.charts import comparison_figures, draw_comparison
from focalnets.compare.forecast import Forecast, wanted_rounds
from focalnets.compare.measurement import Plan, describe_setting, fill
from focalnets.compare.models import ComparedModel, Published, build_module, find_models
from focalnets.compare.page import write_page
from focalnets.compare.results import Cell, Comparison, Network, read_comparison
from focalnets.errors import ConfigError
from focalnets.report.colours import DARK

SETTING = {"device": "cpu"}
PLAN = Plan(models=tuple(find_models(["focalnet_pico"])), sizes_px=(32,), batches=(1,), most_rounds=2, minutes=1.0)


def answer(job, timeout_s):
    if job["task"] == "training":
        return {"status": "out of memory", "why": "simulated"}
    return {"status": "measured", "peak_bytes": 5, "seconds": 0.01}


def filled(plan, memory, comparison=None):
    comparison = comparison or Comparison(SETTING)
    fill(comparison, plan, after_group=lambda comparison: None, memory=memory)
    return comparison.sorted_cells()


def test_fills_keeps_and_reads_again(tmp_path):
    comparison = Comparison(SETTING)
    steps = []
    fill(comparison, PLAN, after_group=lambda filled: filled.write(tmp_path), memory=answer, progress=steps.append)
    inference, training = comparison.sorted_cells()
    assert inference.status == "measured"
    assert inference.peak_bytes == 5
    assert inference.rounds >= 1
    assert inference.images_per_s > 0
    assert (training.status, training.why, training.latency_s) == ("out of memory", "simulated", None)
    assert [(step.done, step.groups) for step in (steps[0], steps[-1])] == [(0, 2), (2, 2)]
    assert 0 <= steps[1].left_s <= 60
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


def test_what_does_not_fit_into_the_time_is_left_out_with_its_estimate(monkeypatch):
    monkeypatch.setattr(measurement, "interleave", lambda calls, timing, first: {name: [first[name]] for name in calls})
    plan = dataclasses.replace(PLAN, sizes_px=(32, 512), tasks=("inference",))
    asked = []

    def slow(job, timeout_s):
        asked.append(job["size_px"])
        return {"status": "measured", "peak_bytes": 1, "seconds": 1.1}

    small, large = filled(plan, slow)
    assert asked == [32]
    assert small.status == "measured"
    assert large.status == "over the time"
    assert large.result == f"not run: about {large.expected_s:.0f} s a call"
    assert large.expected_s > 50
    assert "--minutes" in large.why
    later = Comparison(SETTING)
    later.add(large)
    tried = filled(plan, lambda job, timeout_s: {"status": "measured", "peak_bytes": 1, "seconds": 0.01}, later)
    assert [cell.status for cell in tried] == ["measured", "measured"]


def test_what_takes_longer_than_expected_is_not_timed():
    plan = dataclasses.replace(PLAN, tasks=("inference",))
    (cell,) = filled(plan, lambda job, timeout_s: {"status": "measured", "peak_bytes": 7, "seconds": 500.0})
    assert (cell.status, cell.peak_bytes, cell.latency_s) == ("over the time", 7, None)
    assert cell.result == "not run: about 500 s a call"


def test_what_does_not_fit_into_the_memory_is_not_tried(monkeypatch):
    monkeypatch.setattr(measurement, "available_bytes", lambda: 1000)
    plan = dataclasses.replace(PLAN, sizes_px=(32, 64), tasks=("inference",))
    small, large = filled(plan, lambda job, timeout_s: {"status": "measured", "peak_bytes": 500, "seconds": 0.01})
    assert small.status == "measured"
    assert (large.status, large.result) == ("over the memory", "not run: over the memory")
    assert "GiB are free" in large.why


def test_a_network_that_breaks_down_among_the_others_is_a_cell(monkeypatch):
    prepare = measurement.prepare_call

    def breaking(model, task, size_px, device, trained_for):
        network, call = prepare(model, task, size_px, device, trained_for)
        return network, (lambda images: 1 / 0) if model.name == "pooling" else call

    monkeypatch.setattr(measurement, "prepare_call", breaking)
    plan = dataclasses.replace(
        PLAN, models=tuple(find_models(["pooling", "focalnet_pico"], {"embed_dim": 8})), tasks=("inference",)
    )
    broken, whole = filled(plan, answer)
    assert (broken.status, broken.latency_s) == ("unsupported", None)
    assert "ZeroDivisionError" in broken.why
    assert whole.status == "measured"


def test_forecast():
    forecast = Forecast()
    cell = Cell(model="a", task="inference", size_px=10, batch=2, status="measured", macs=50, peak_bytes=400)
    assert forecast.call_s(cell) is None
    assert forecast.peak_bytes(cell) is None
    forecast.learn(cell, 4.0)
    assert forecast.call_s(cell) == pytest.approx(4.0)
    larger = dataclasses.replace(cell, size_px=20, macs=200, batch=1)
    assert forecast.call_s(larger) == pytest.approx(8.0)
    assert forecast.peak_bytes(larger) == 800
    assert forecast.call_s(dataclasses.replace(larger, task="training")) == pytest.approx(28.0)
    assert forecast.call_s(dataclasses.replace(larger, model="b")) == pytest.approx(8.0)
    assert forecast.cell_s(larger) > 2.5 * 8.0
    assert [wanted_rounds(seconds) for seconds in (0.1, 3.0, 9.0)] == [3, 2, 1]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "poolformer_s12", "vgg11"])
def test_networks_of_timm_take_other_sizes(name):
    pytest.importorskip("timm")
    network = build_module(find_models([name])[0], size_px=64, num_classes=3, drop_path=0.0).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_draws_and_describes_everything(tmp_path):
    comparison = Comparison(describe_setting(torch.device("cpu")))
    plan = dataclasses.replace(
        PLAN,
        models=(ComparedModel("focalnet_pico", "focalnets", Published(50.0, "nobody <et al.>")),),
        sizes_px=(32, 224),
        tasks=("inference",),
        minutes=60.0,
    )
    fill(comparison, plan, after_group=lambda comparison: None, memory=answer)
    comparison.add(
        Cell(model="focalnet_pico", task="training", size_px=32, batch=1, status="out of memory", why="a <b> in '/x/y'")
    )
    comparison.origin = {"command": "focalnets compare --train '/home/a b/photos' --output=/tmp/out"}
    pictures = draw_comparison(comparison, tmp_path)
    assert {"macs.png", "inference_batch1_latency.png", "published_accuracy.png"} <= set(pictures)
    write_page(comparison, None, pictures, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "a &lt;b&gt;" in page
    assert "nobody &lt;et al.&gt;" in page
    assert "focalnets compare --train photos --output=out" in page
    assert page.count("<source ") == len(pictures)
    assert not re.search(r"/home|/tmp|/x/|<script|@import|url\(|https?://", without_pictures(page))


def test_charts_of_one_size_and_one_network_have_sane_axes():
    comparison = Comparison({})
    comparison.networks["only"] = Network(
        name="only", family="timm", parameters=1, published_top1_percent=80.0, published_by="x"
    )
    latency = {"median": 0.01, "p20": 0.009, "p80": 0.012}
    comparison.add(
        Cell(
            model="only", task="inference", size_px=224, batch=1, status="measured", macs=10**9, latency_s=latency,
            rounds=3, peak_bytes=2**20,
        )
    )  # fmt: skip
    figures = comparison_figures(comparison)
    assert list(figures) == [
        "inference_batch1_latency.png", "inference_batch1_memory.png", "macs.png", "published_accuracy.png",
    ]  # fmt: skip
    for name, draw in figures.items():
        figure = draw(DARK)
        for axes in figure.axes:
            low, high = axes.get_xlim()
            assert 1.1 < high / low < 2.0
        if name != "published_accuracy.png":
            assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["224"]
            assert all(high / low <= 8.1 for low, high in (axes.get_ylim() for axes in figure.axes))
    assert comparison_figures(Comparison({})) == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sizes_px": (0,)}, "sizes"),
        ({"batches": ()}, "batch"),
        ({"minutes": 0.0}, "minutes"),
        ({"minutes": float("nan")}, "minutes"),
        ({"tasks": ("sleeping",)}, "sleeping"),
        ({"models": ()}, "at least one"),
    ],
)
def test_bad_plans(change, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(PLAN, **change)
