"""Of two processes that train together any may be killed: the other ends, and the run goes on as if nothing was."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

STEPS = 6  # an epoch, of 48 images in batches of 4 in each of two processes

PROGRAM = """
import os, pathlib, signal, sys, time
from focalnets.cli.main import main
from focalnets.training.callbacks import Guard

folder, number, target = pathlib.Path(os.environ["SHARED"]), int(os.environ["SIGNAL"]), os.environ["TARGET"]
(folder / os.environ.get("LOCAL_RANK", "0")).write_text(str(os.getpid()))
original = Guard.on_train_batch_end


def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
    if (folder / "sent").exists():
        time.sleep(1.5)  # Few steps are left; whoever was told to end must not be done before.
    original(self, trainer, module, outputs, batch, batch_idx)
    if trainer.is_global_zero and trainer.current_epoch == 1 and batch_idx == 3 and not (folder / "sent").exists():
        (folder / "sent").touch()
        pids = {"first": os.getpid(), "second": int((folder / "1").read_text()), "launcher": os.getppid()}
        if target == "group":
            os.killpg(os.getpgid(0), number)
        else:
            os.kill(pids[target], number)


Guard.on_train_batch_end = on_train_batch_end
sys.exit(main(sys.argv[1:]))
"""


def environment():
    """Without what a scheduler says of ranks, and with one thread a process."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "SLURM_PROCID", "TORCHELASTIC_RUN_ID")
    return {**{key: value for key, value in os.environ.items() if key not in ranks}, "OMP_NUM_THREADS": "1"}


def begin(images, run, *options):
    return [
        "train", str(images), "--recipe", "miniature", "--epochs", "2", "--batch_size", "4", "--device", "cpu",
        "--devices", "2", "--output", str(run), *options,
    ]  # fmt: skip


def launched(through_torchrun):
    python = [sys.executable]
    return (
        [*python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        if through_torchrun
        else python
    )


def finish(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def figures(run):
    """All of metrics.csv but the times."""
    rows = csv.DictReader((run / "metrics.csv").read_text(encoding="utf-8").splitlines())
    return [{key: value for key, value in row.items() if "second" not in key and key != "images_per_s"} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(coloured_images, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    finish([sys.executable, "-m", "focalnets", *begin(coloured_images, run, "--workers", "0")])
    return run


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux shows them")
@pytest.mark.parametrize(
    ("number", "target", "workers", "through_torchrun", "status"),
    [
        (signal.SIGKILL, "first", 1, False, -signal.SIGKILL),
        (signal.SIGKILL, "second", 0, False, None),
        (signal.SIGKILL, "group", 1, False, -signal.SIGKILL),
        (signal.SIGTERM, "first", 0, False, 130),
        (signal.SIGTERM, "second", 0, False, 130),
        (signal.SIGINT, "group", 1, False, 130),
        (signal.SIGKILL, "first", 0, True, 1),
        (signal.SIGKILL, "second", 0, True, 1),
        (signal.SIGKILL, "launcher", 1, True, -signal.SIGKILL),
        (signal.SIGTERM, "launcher", 0, True, 1),
        (signal.SIGINT, "launcher", 0, True, 1),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else None,
)
def test_the_others_end_and_the_run_goes_on_bitwise(
    coloured_images, undisturbed, tmp_path, number, target, workers, through_torchrun, status
):
    run, program = tmp_path / "run", tmp_path / "program.py"
    program.write_text(PROGRAM)
    # A checkpoint after nearly every step.
    options = ["--workers", str(workers), "--checkpoint_minutes", "0.00001"]
    told = {"SHARED": str(tmp_path), "SIGNAL": str(int(number)), "TARGET": target}
    process = subprocess.Popen(
        [*launched(through_torchrun), str(program), *begin(coloured_images, run, *options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**environment(), **told},
    )  # fmt: skip
    try:
        _, errors = process.communicate(timeout=600)  # until every process has closed them
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (tmp_path / "sent").exists(), errors
    if status is not None:
        assert process.returncode == status, errors
    ranks = [int((tmp_path / name).read_text()) for name in ("0", "1")]
    end = time.monotonic() + 90
    while any(map(is_running, ranks)):
        assert time.monotonic() < end, "an orphan is left"
        time.sleep(0.2)
    if not through_torchrun:  # which shows where it was itself when it was stopped
        assert "Traceback" not in errors
    if number != signal.SIGKILL:
        assert errors.count("Stopped; everything so far is saved.") == 1
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert STEPS < checkpoint["global_step"] < 2 * STEPS
    assert len(checkpoint["processes"]) == 2
    # At once: processes that read images may still hold the lock.
    resumed = finish([*launched(through_torchrun), "-m", "focalnets", "train", "--resume", str(run)])
    assert resumed.count("continuing") == 1
    for name in ("last.safetensors", "best.safetensors"):
        expected, got = load_file(undisturbed / name), load_file(run / name)
        assert expected.keys() == got.keys()
        assert all(torch.equal(expected[key], got[key]) for key in expected), name
    assert figures(run) == figures(undisturbed)
    assert not list(run.rglob("*.tmp"))
    assert not list(run.glob(".training*"))
