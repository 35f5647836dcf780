"""Several processes train as one would: same losses, every image counted once, one set of files."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from focalnets.errors import ConfigError, DataError
from focalnets.machine.process import ignore_ctrl_c_in_helpers, is_helper
from focalnets.models.config import Preprocessing
from focalnets.training import data as data_module
from focalnets.training.config import TrainingConfig
from focalnets.training.data import training_loader, validation_loader
from focalnets.training.launch import check_devices, is_first_process
from focalnets.training.recipes import miniature
from focalnets.training.sampling import EpochBatches, Rank
from focalnets.training.trainer import open_data, train

PREPROCESSING = Preprocessing(input_size_px=16, crop_fraction=1.0)
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "WORLD_SIZE", "TORCHELASTIC_RUN_ID")


@pytest.fixture(autouse=True)
def _no_scheduler(monkeypatch):
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("processes", [2, 3])
def test_parts_are_disjoint_and_together_the_batch(processes):
    whole = EpochBatches(20, 6, seed=1)
    parts = [list(EpochBatches(20, 6, seed=1, rank=Rank(rank, processes))) for rank in range(processes)]
    for batch, *taken in zip(whole, *parts, strict=True):
        assert {len(part) for part in taken} == {6 // processes}
        assert sorted(item for part in taken for item in part) == sorted(batch)


def test_validation_counts_each_image_once(coloured_images):
    config = TrainingConfig(batch_size=2, workers=0)
    data = open_data(coloured_images, config)
    expected = sorted(data.val[index][1] for index in range(len(data.val)))
    loaders = [validation_loader(config.build_task(), data, config, PREPROCESSING, Rank(rank, 5)) for rank in range(5)]
    assert len({len(loader) for loader in loaders}) == 1
    batches = [batch for loader in loaders for batch in loader]
    shown = [label for batch in batches for label in batch.targets[batch.counted].tolist()]
    assert sorted(shown) == expected
    assert sum(int((~batch.counted).sum()) for batch in batches) == -len(expected) % 5


def test_too_few_images_for_all_processes_are_refused(coloured_images):
    config = TrainingConfig(batch_size=30, workers=0)
    data = open_data(coloured_images, config)
    with pytest.raises(DataError, match=r"60 images at once.*only 48"):
        training_loader(config.build_task(), data, config, PREPROCESSING, Rank(0, 2))


def test_the_first_process_is_found(monkeypatch):
    alone, two = TrainingConfig(), TrainingConfig(devices=2, device="cpu")
    assert is_first_process(two)
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert is_first_process(alone)  # one of several independent runs
    assert not is_first_process(two)
    monkeypatch.setenv("RANK", "0")
    assert is_first_process(two)


def test_torchrun_must_fit_the_settings(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    check_devices(TrainingConfig(devices=2, nodes=2, device="cpu"))
    with pytest.raises(ConfigError, match=r"started 4 processes, .* is 1; give --devices"):
        check_devices(TrainingConfig(device="cpu"))


def test_devices_that_are_not_here_are_refused():
    with pytest.raises(ConfigError, match="all GPUs"):
        check_devices(TrainingConfig(device="cpu", devices=-1))
    with pytest.raises(ConfigError, match="devices must be"):
        TrainingConfig(devices=0)
    with pytest.raises(ConfigError, match="--strategy ddp"):
        TrainingConfig(strategy="fsdp", ema_decay=0.9)


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes_are_one_with_their_batches_together(coloured_images, tmp_path, strategy):
    settings = {"epochs": 2, "gradient_clip": 0.5, "device": "cpu"}
    if strategy == "ddp":
        settings["ema_decay"] = 0.5
    whole = miniature()
    # Branches are dropped at random in each process, and batch normalisation takes each process's own batch.
    overrides = {**whole.model_overrides, "drop_path": 0.0, "stem": "patch", "downsampling": "single"}
    config = whole.replace(batch_size=16, model_overrides=overrides, **settings)
    one = train(config, open_data(coloured_images, config), output=tmp_path / "one", quiet=True)
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [
            sys.executable, "-m", "focalnets", "train", str(coloured_images), "--recipe", "miniature", *options,
            "--batch_size", "8", "--model_overrides.drop_path", "0", "--model_overrides.stem", "patch",
            "--model_overrides.downsampling", "single", "--devices", "2", "--strategy", strategy,
            "--output", str(tmp_path / "two"),
        ],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best: top-1") == 1
    assert "2 processes, each on cpu, 1 thread," in done.stdout
    rows = list(csv.DictReader((tmp_path / "two" / "metrics.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["step"] for row in rows] == ["3", "6"]
    for expected, got in zip(one.history, rows, strict=True):
        for key in ("train_loss", "val_loss", "val_top1", "val_top5", "learning_rate"):
            assert float(got[key]) == pytest.approx(expected[key], rel=1e-4), key
    # AdamW turns gradients that are rounding noise into steps of the full rate, so single weights may differ.
    weights = [load_file(tmp_path / name / "last.safetensors") for name in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    for name, expected in weights[0].items():
        assert torch.mean((weights[1][name] - expected).abs()) < 1e-4, name
    assert not list((tmp_path / "two").rglob("*.tmp"))
    assert json.loads((tmp_path / "two" / "environment.json").read_text())["data"]["images_to_train"] == 48


def stop_after_the_first_epoch(images, run, options, number, whole_group, timeout_s):
    """Train until there is a checkpoint, send the signal to the first process or to all; exit status and errors."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "focalnets", "train", str(images), "--recipe", "miniature", "--epochs", "9999",
            "--batch_size", "4", "--device", "cpu", *options, "--output", str(run),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        while not (run / "checkpoints" / "last.ckpt").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        (os.killpg if whole_group else os.kill)(process.pid, number)
        _, errors = process.communicate(timeout=timeout_s)  # ends when every other process has closed it too
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, errors


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGTERM, False), pytest.param(signal.SIGINT, True, marks=pytest.mark.slow)],
    ids=["SIGTERM to the first", "Ctrl-C to all"],
)
def test_a_signal_stops_both_processes_after_saving(coloured_images, tmp_path, number, whole_group):
    run, options = tmp_path / "run", ["--devices", "2", "--workers", "0"]
    status, errors = stop_after_the_first_epoch(coloured_images, run, options, number, whole_group, 120)
    assert status == 130
    assert errors == f"error: Stopped; everything so far is saved. Go on with: focalnets train --resume {run}\n"
    assert not list(run.rglob("*.tmp"))
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    epochs = len((run / "metrics.csv").read_text(encoding="utf-8").splitlines()) - 1
    assert checkpoint["global_step"] >= epochs * 6


def test_a_signal_to_the_whole_job_leaves_the_readers_to_the_first_process(coloured_images, tmp_path):
    run = tmp_path / "run"
    # 50 s: before the readers would end by themselves.
    status, errors = stop_after_the_first_epoch(coloured_images, run, ["--workers", "1"], signal.SIGTERM, True, 50)
    assert status == 130
    assert errors == f"error: Stopped; everything so far is saved. Go on with: focalnets train --resume {run}\n"


def test_a_reader_told_alone_ends_by_itself(monkeypatch):
    monkeypatch.setattr(data_module, "_LAST_SECONDS", 0.2)
    reader = multiprocessing.get_context("fork").Process(target=lambda: (data_module._begin_worker(0), time.sleep(60)))
    reader.start()
    time.sleep(0.5)
    reader.terminate()
    reader.join(timeout=20)
    assert reader.exitcode == -signal.SIGALRM


def test_helpers_leave_ctrl_c_to_the_first_process(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    try:
        ignore_ctrl_c_in_helpers()
        assert signal.getsignal(signal.SIGINT) is before
        monkeypatch.setenv("LOCAL_RANK", "1")
        assert is_helper()
        ignore_ctrl_c_in_helpers()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        monkeypatch.setenv("RANK", "1")  # of torchrun, which passes signals on itself
        assert not is_helper()
    finally:
        signal.signal(signal.SIGINT, before)
