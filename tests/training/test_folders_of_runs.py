"""Nobody's files are replaced, and no two trainings write into one folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from focalnets.cli.main import main
from focalnets.errors import TrainingError
from focalnets.training.callbacks import Guard
from focalnets.training.recipes import miniature
from focalnets.training.run_folder import RunFolder
from focalnets.training.runs import read_run
from focalnets.training.trainer import open_data, resume, train

SLOW = """
import sys, time
from focalnets.cli.main import main
from focalnets.training.callbacks import Guard

original = Guard.on_train_batch_end

def wait(self, *arguments):
    original(self, *arguments)
    time.sleep(0.3)

Guard.on_train_batch_end = wait
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def config():
    return miniature().replace(batch_size=8, device="cpu")


@pytest.fixture
def data(config, coloured_images):
    return open_data(coloured_images, config)


@pytest.fixture
def running(coloured_images, tmp_path):
    """A training in another process that takes long."""
    command = ["train", str(coloured_images), "--recipe", "miniature", "--batch_size", "8", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *command, "--epochs", "50", "--output", str(tmp_path / "run")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while not (tmp_path / "run" / "config.yaml").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.mark.parametrize("options", [["--overwrite"], []])
def test_a_folder_that_is_trained_into_is_left_alone(running, coloured_images, tmp_path, options, capsys):
    assert (
        main(["train", str(coloured_images), "--recipe", "miniature", "--output", str(tmp_path / "run"), *options]) == 2
    )
    message = capsys.readouterr().err
    assert f"Another training writes to '{tmp_path / 'run'}' now (process {running.pid} on " in message
    assert running.poll() is None


def test_a_running_training_is_not_continued(running, tmp_path, capsys):
    while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        assert running.poll() is None
        time.sleep(0.05)
    assert main(["train", "--resume", str(tmp_path / "run")]) == 2
    assert "Another training writes to" in capsys.readouterr().err


HOLDING = """
import json, platform, subprocess, sys, time
from filelock import FileLock
from focalnets.training.run_folder import RunFolder

folder = RunFolder(sys.argv[1])
folder.root.mkdir()
with FileLock(folder.lock):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder.holder.write_text(json.dumps({"process": ended.pid, "computer": platform.node(), "command": []}))
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("waits_s", [60.0, 0.2])
def test_readers_of_a_killed_training_are_waited_for(tmp_path, monkeypatch, waits_s):
    monkeypatch.setattr("focalnets.training.run_folder._READERS_END_S", waits_s)
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "run"), "2" if waits_s > 1 else "60"]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE)
    folder = RunFolder(tmp_path / "run")
    try:
        assert reader.stdout.readline() == b"held\n"
        if waits_s > 1:
            with folder.locked():
                assert json.loads(folder.holder.read_text())["process"] == os.getpid()
        else:
            with pytest.raises(TrainingError, match="Another training writes to"), folder.locked():
                pass
    finally:
        reader.kill()
        reader.communicate()


def test_a_killed_training_leaves_no_lock(running, tmp_path, config, data):
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    result = train(config, data, output=tmp_path / "run", overwrite=True, quiet=True)
    assert not {".training.lock", ".training.json"} & {file.name for file in result.run.iterdir()}


@pytest.mark.parametrize(
    "name", ["README.md", "metrics.csv", "curves.png", "split.json", "log.txt", "last.safetensors"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_not_replaced(config, data, tmp_path, name, overwrite):
    (tmp_path / name).write_text("mine")
    with pytest.raises(TrainingError, match=f"holds no run but '{name}'"):
        train(config, data, output=tmp_path, overwrite=overwrite, quiet=True)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_notes_beside_a_run_stay(config, data, tmp_path):
    first = train(config, data, output=tmp_path / "run", quiet=True)
    first_card = (first.run / "README.md").read_text()
    (first.run / "README.md").write_text("my notes")
    (first.run / "mine.txt").write_text("mine")
    assert read_run(first.run).complete
    with pytest.raises(TrainingError, match="is complete"):
        resume(first.run, quiet=True)
    train(config, data, output=first.run, overwrite=True, quiet=True)
    assert (first.run / "README.md").read_text() == "my notes"
    assert (first.run / "mine.txt").read_text() == "mine"
    assert "library_name: focalnets" in first_card


def test_a_run_is_complete_when_its_weights_say_so(config, data, tmp_path):
    result = train(config, data, output=tmp_path / "run", quiet=True)
    folder = RunFolder(result.run)
    before = load_file(folder.last)
    folder.card.unlink()
    assert folder.is_complete()
    folder.mark_complete()
    after = load_file(folder.last)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    folder.last.write_bytes(b"\x00" * 4)
    assert not folder.is_complete()


def test_minutes_pass_and_an_epoch_in_the_middle_is_saved(config, data, tmp_path, monkeypatch):
    whole = train(config, data, output=tmp_path / "whole", quiet=True)
    original, seen = Guard.on_train_batch_end, []

    def die(self, trainer, module, outputs, batch, batch_idx):
        original(self, trainer, module, outputs, batch, batch_idx)
        seen.append(batch_idx)
        if len(seen) == 9:
            raise RuntimeError("killed")

    settings = config.replace(checkpoint_minutes=1e-6)
    with monkeypatch.context() as patch:
        patch.setattr(Guard, "on_train_batch_end", die)
        with pytest.raises(RuntimeError, match="killed"):
            train(settings, data, output=tmp_path / "killed", quiet=True)
    saved = torch.load(tmp_path / "killed" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 9
    continued = resume(tmp_path / "killed", quiet=True)
    for name in ("last.safetensors", "best.safetensors"):
        expected, got = load_file(whole.run / name), load_file(continued.run / name)
        assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert json.loads(json.dumps(whole.history[-1]["val_loss"])) == continued.history[-1]["val_loss"]
