"""docs/results.md is made from files, says what was not measured, and is the newest."""

from __future__ import annotations

import pytest
from benchmarks.command import RESULTS
from benchmarks.results_page import DOCUMENT, main, write_page

from focalnets.compare.accuracy import Accuracies, Accuracy
from focalnets.compare.results import Cell, Comparison, Network
from focalnets.files import write_json

ORIGIN = {"command": "focalnets compare", "date": "2030-01-01", "seconds": 5.0, "machine": {"threads": 2}}


def row(model, top1, **change):
    mean = sum(top1.values()) / len(top1) if top1 else None
    values = {
        "model": model, "summary": "one | change", "parameters": 1_230_000, "macs": 4_560_000, "scores": top1,
        "mean": mean, "interval": (mean - 0.1, mean + 0.1) if top1 else None, "training_s": 60.0, "failed": {},
        "published_top1_percent": 82.0, "published_by": "somebody",
    }  # fmt: skip
    return Accuracy(**values | change)


def test_the_page_is_the_newest(tmp_path):
    assert write_page(RESULTS, tmp_path / "results.md") == DOCUMENT.read_text(encoding="utf-8")


def test_makes_tables_and_pictures(tmp_path):
    comparison = Comparison({}, ORIGIN)
    comparison.networks["a"] = Network(
        name="a", family="timm", parameters=2_000_000, published_top1_percent=81.0, published_by="somebody"
    )
    spread = {"p20": 0.1, "median": 0.2, "p80": 0.3}
    for size, factor in ((224, 1), (448, 8)):
        latency = {key: factor * value for key, value in spread.items()}
        comparison.add(
            Cell(model="a", task="inference", size_px=size, batch=1, status="measured", macs=10**9, latency_s=latency,
                 rounds=3, peak_bytes=2**20)
        )  # fmt: skip
    comparison.add(
        Cell(model="a", task="training", size_px=448, batch=1, status="over the time", why="late", expected_s=95.0)
    )
    comparison.write(tmp_path / "comparison")
    training = {"image_size": 64, "epochs": 5, "batch_size": 64, "optimizer": "adamw", "learning_rate": 1e-3,
                "augmentation": "light"}  # fmt: skip
    data = {"name": "toys", "images_to_train": 1000, "images_to_validate": 100}
    setting = {"training": training, "data": data, "skeleton": {"embed_dim": 16}, "drop_path": 0.0}
    rows = [
        row("full", {0: 0.5, 1: 0.6}),
        row("pooling", {0: 0.4}, published_top1_percent=80.5),
        row("broken", {}, failed={0: "out of memory"}),
    ]
    Accuracies(setting, ORIGIN, rows).write(tmp_path / "ablation")
    equal = [row("weak", {0: 0.25}), row("strong", {0: 0.75})]
    Accuracies(setting | {"skeleton": {}}, ORIGIN, equal).write(tmp_path / "equal_training")
    baseline = {
        "task": "detect", "data": "cells", "contender": "theirs", "minutes": 3.0, "clock": "wall", "image_size": 320,
        "learning_rate": 1e-3, "parameters": 2_000_000, "images": 400, "date": "2030-01-01",
    }  # fmt: skip
    baselines = [
        {**baseline, "seed": seed, "figures": dict.fromkeys(("map", "map50", "map75"), score)}
        for seed, score in ((0, 0.25), (1, 0.35))
    ]
    write_json(tmp_path / "dense_baselines.json", {"machine": {"threads": 2}, "versions": {}, "rows": baselines})
    timed = {"median": 0.1, "p20": 0.05, "p80": 0.2, "ratio": {"median": 0.5, "p20": 0.4, "p80": 0.625}}
    case = {
        "name": "generation",
        "tokens": 64,
        "baseline": "theirs",
        "contenders": [{"name": "ours, after 256", **timed}],
    }
    case["state_bytes"] = {"256": 26 * 1024}
    fields = {"machine": {"threads": 2}, "versions": {}, "date": "2030-01-01T", "cases": [case]}
    write_json(tmp_path / "causal.json", fields)
    page = write_page(tmp_path, tmp_path / "results.md")
    assert "| generation | ours, after 256 | 640 (320 to 1,280) | 0.50 (0.40 to 0.62) | theirs | 26 |" in page
    assert "detect, cells, 320 px, 3 minutes each:" in page
    assert "| theirs | 2.00 | 0.001 | 400 | 2 | 30.0 (0.0 to 93.5) |" in page
    assert "| 200.0 (100.0 to 300.0); 3 rounds | 1600.0 (800.0 to 2400.0); 3 rounds | 2.00 |" in page
    assert "not run: about 95 s a step" in page
    assert "one \\| change" in page
    assert "| -15.0 | 80.5 | -1.5 |" in page
    assert "out of memory" in page
    assert "embed_dim 16" in page
    pictures = {path.name for path in (tmp_path / "images").iterdir()}
    assert pictures == {
        "ablation.png", "comparison_inference_batch1_latency.png", "comparison_published_accuracy.png",
        "equal_training.png", "shipped_training.png",
    }  # fmt: skip
    assert all(name in page for name in pictures)
    assert "Not measured yet" not in page
    assert page.index("| strong | 1.23 | 5 | 75.0%") < page.index("| weak | 1.23 | 5 | 25.0%")
    assert "| epochs | trained at [px] | minutes so far | top-1 [%] | validation loss |" in page


def test_a_folder_without_results_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["--ablation", str(tmp_path)])
