"""Equal training: runs are kept, continued, refused where they differ, and done side by side."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from focalnets.compare import runs
from focalnets.compare.accuracy import read_accuracies
from focalnets.compare.charts import draw_accuracies
from focalnets.compare.models import find_models
from focalnets.compare.page import write_page
from focalnets.compare.results import Comparison
from focalnets.compare.training import train_all
from focalnets.errors import ConfigError, InterruptedRunError
from focalnets.intervals import mean_interval
from focalnets.training.config import TrainingConfig
from focalnets.training.runs import find_runs

CONFIG = TrainingConfig(image_size=32, batch_size=8, epochs=2, limit_train_batches=2, workers=0, device="cpu")
SKELETON = {"embed_dim": 8, "depths": [1, 1, 1, 1]}
NAMES = ["levels_1", "pooling"]


def train(coloured_images, folder, names=NAMES, config=CONFIG, **options):
    seen = []
    accuracies = train_all(
        find_models(names, SKELETON), config, coloured_images, folder,
        **{"seeds": 1, "after_run": lambda _, trained: seen.append(trained), **options},
    )  # fmt: skip
    accuracies.write(folder)
    return accuracies, seen


@pytest.fixture(scope="module")
def trained(coloured_images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, *train(coloured_images, folder)


def test_trains_alike_and_keeps(trained, coloured_images):
    folder, accuracies, seen = trained
    assert [(run.model, run.seed, run.done, run.runs) for run in seen] == [("levels_1", 0, 1, 2), ("pooling", 0, 2, 2)]
    assert [row.model for row in accuracies.rows] == NAMES
    for row in accuracies.rows:
        assert row.interval[0] <= row.mean <= row.interval[1]
        assert row.parameters > 0
        assert row.macs > 0
        assert row.training_s > 0
    first, second = (runs.RunFolder(folder / "runs" / name / "seed0").read_config().to_dict() for name in NAMES)
    assert {key for key in first if first[key] != second[key]} == {"model", "model_overrides"}
    assert len(find_runs(folder)) == 2
    again, seen = train(coloured_images, folder)
    assert (again.rows, seen) == (accuracies.rows, [])
    assert read_accuracies(folder).rows == accuracies.rows


def test_more_seeds_and_networks_join_the_table(coloured_images, tmp_path):
    train(coloured_images, tmp_path, ["levels_1"], seeds=2)
    both, seen = train(coloured_images, tmp_path, ["pooling"])
    assert [run.model for run in seen] == ["pooling"]
    assert [(row.model, sorted(row.scores)) for row in both.rows] == [("levels_1", [0, 1]), ("pooling", [0])]
    both.rows[1] = dataclasses.replace(both.rows[1], mean=1.0, interval=(0.9, 1 - 1e-16))
    assert draw_accuracies(both, tmp_path / "accuracy.png")
    write_page(Comparison({}), both, ["accuracy.png"], tmp_path)
    assert "levels_1" in (tmp_path / "report.html").read_text()


def test_networks_changed_in_their_names(coloured_images, tmp_path):
    pytest.importorskip("timm")
    names = ["focalnet_pico:embed_dim=8,depths=[1,1,1,1]", "vit_tiny_patch16_224:depth=1,embed_dim=24,num_heads=1"]
    accuracies, _ = train(coloured_images, tmp_path, names)
    assert [row.model for row in accuracies.rows] == names
    assert all(
        row.failed == {} and row.parameters < 300_000 and row.published_top1_percent is None for row in accuracies.rows
    )
    folders = sorted(folder.name for folder in (tmp_path / "runs").iterdir())
    assert folders == [
        "focalnet_pico_embed_dim=8_depths=_1_1_1_1_",
        "vit_tiny_patch16_224_depth=1_embed_dim=24_num_heads=1",
    ]
    assert train(coloured_images, tmp_path, names)[1] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("focalnet_pico:", "NAME:FIELD=VALUE"),
        ("focalnet_pico:embed_dim", "NAME:FIELD=VALUE"),
        ("focalnet_pico:embed=8", "no field 'embed'"),
        ("focalnet_pico:num_classes=8", "the same for all"),
        ("full:embed_dim=8", "--skeleton"),
    ],
)
def test_changes_that_cannot_be_made(name, words):
    with pytest.raises(ConfigError, match=words):
        find_models([name])


def test_goes_on_with_a_stopped_run(trained, coloured_images):
    folder, accuracies, _ = trained
    run = folder / "runs" / "levels_1" / "seed0"
    with safe_open(run / "last.safetensors", "pt") as file:  # its end is noted last
        metadata = {key: value for key, value in file.metadata().items() if key != "focalnets.run_complete"}
    save_file(load_file(run / "last.safetensors"), run / "last.safetensors", metadata)
    again, seen = train(coloured_images, folder)
    assert [run.model for run in seen] == ["levels_1"]
    assert again.rows[0].scores == accuracies.rows[0].scores
    assert "continuing" in (run / "log.txt").read_text()


def test_says_how_to_go_on_when_stopped(coloured_images, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise InterruptedRunError("Stopped.")

    monkeypatch.setattr(runs, "train", stopped)
    with pytest.raises(InterruptedRunError, match="same command goes on"):
        train(coloured_images, tmp_path)


def test_refuses_other_settings_and_other_images(trained, coloured_images, write_coloured_images, tmp_path):
    folder, _, _ = trained
    with pytest.raises(ConfigError, match="training"):
        train(coloured_images, folder, config=CONFIG.replace(learning_rate=0.5))
    with pytest.raises(ConfigError, match="data"):
        train(write_coloured_images(tmp_path / "other", 10), folder)
    (folder / "accuracy.json").rename(tmp_path / "accuracy.json")
    try:
        with pytest.raises(ConfigError, match="other settings"):
            train(coloured_images, folder, config=CONFIG.replace(learning_rate=0.5))
        with pytest.raises(ConfigError, match="other images"):
            train(tmp_path / "other", folder)
    finally:
        (tmp_path / "accuracy.json").rename(folder / "accuracy.json")


def test_a_network_that_cannot_be_trained_is_a_row(coloured_images, tmp_path):
    pytest.importorskip("timm")
    config = CONFIG.replace(image_size=8)
    accuracies, seen = train(coloured_images, tmp_path, ["vit_tiny_patch16_224", "pooling"], config=config)
    failed, whole = accuracies.rows
    assert failed.mean is None
    assert failed.result == seen[0].result
    assert whole.mean is not None
    assert read_accuracies(tmp_path).rows == accuracies.rows
    assert draw_accuracies(accuracies, tmp_path / "accuracy.png")


def test_side_by_side_gives_the_same(trained, coloured_images, tmp_path, capfd):
    accuracies, seen = train(coloured_images, tmp_path, parallel=2)
    assert sorted(run.model for run in seen) == NAMES
    assert [row.model for row in accuracies.rows] == NAMES
    assert "pooling, seed 0: epoch 2/2" in capfd.readouterr().out
    command = json.loads((tmp_path / "runs" / "pooling" / "seed0" / "environment.json").read_text())["command"]
    assert "training_worker" not in command
    for row, alone in zip(accuracies.rows, trained[1].rows, strict=True):
        assert row.scores.keys() == alone.scores.keys()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process")
def test_ctrl_c_stops_all_after_saving(coloured_images, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text("image_size: 32\nbatch_size: 4\nworkers: 0\nlimit_val_batches: 1\ndevice: cpu\n")
    command = [sys.executable, "-m", "focalnets", "compare", "--variations", *NAMES, "--skeleton.embed_dim", "8"]
    command += ["--train", str(coloured_images), "--config", str(settings), "--epochs", "500", "--parallel", "2"]
    command += ["--output", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        next(line for line in process.stdout if "epoch 2/" in line)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "The same command goes on" in error
    saved = [(tmp_path / "out" / "runs" / name / "seed0" / "checkpoints" / "last.ckpt").exists() for name in NAMES]
    assert any(saved)  # the other may still have been starting


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": 0}, "--seeds"),
        ({"seeds": 11}, "--seeds"),
        ({"parallel": 0}, "--parallel"),
        ({"config": CONFIG.replace(patience=2)}, "patience"),
        ({"config": CONFIG.replace(layer_decay=0.5)}, "layer_decay"),
        ({"config": CONFIG.replace(model_overrides={"embed_dim": 8})}, "--skeleton"),
        ({"config": CONFIG.replace(devices=2)}, "one device"),
    ],
)
def test_bad_settings(coloured_images, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        train(coloured_images, tmp_path, **options)
    assert not (tmp_path / "runs").exists()


def test_a_damaged_table_is_one_sentence(tmp_path):
    assert read_accuracies(tmp_path) is None
    (tmp_path / "accuracy.json").write_text('{"rows": [1]}')
    with pytest.raises(ConfigError, match="cannot be read"):
        read_accuracies(tmp_path)


def test_intervals():
    low, high = mean_interval({0: 0.5}, 100)
    assert 0.40 < low < 0.41 < 0.59 < high < 0.60
    low, high = mean_interval({0: 0.4, 1: 0.5, 2: 0.6}, 100)
    assert (low, high) == pytest.approx((0.5 - 0.2484, 0.5 + 0.2484), abs=1e-3)
    assert mean_interval({0: 0.0, 1: 1.0}, 100) == (0.0, 1.0)
