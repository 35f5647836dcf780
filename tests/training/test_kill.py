"""A process killed with SIGKILL inside a write leaves whole files, and the run goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import torch
from safetensors.torch import load_file

from focalnets.training.recipes import miniature
from focalnets.training.trainer import open_data, resume, train

PROGRAM = """
import io, os, signal, sys
import torch
from focalnets.cli.main import main

original, saves = torch.save, []

def save(content, file):
    saves.append(content)
    if len(saves) < 2:
        return original(content, file)
    whole = io.BytesIO()
    original(content, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

torch.save = save
main(sys.argv[1:])
"""


def test_kill_inside_a_checkpoint_write(coloured_images, tmp_path):
    config = miniature().replace(batch_size=8, device="cpu")
    whole = train(config, open_data(coloured_images, config), output=tmp_path / "whole", quiet=True)
    run = tmp_path / "killed"
    command = ["train", str(coloured_images), "--recipe", "miniature", "--batch_size", "8", "--device", "cpu"]
    killed = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command, "--output", str(run)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list((run / "checkpoints").glob(".*.tmp"))) == 1  # it was in the middle of the second write
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 6
    assert load_file(run / "last.safetensors").keys() == load_file(whole.run / "last.safetensors").keys()
    continued = resume(run, quiet=True)
    assert not list(run.rglob("*.tmp"))
    for name in ("last.safetensors", "best.safetensors"):
        expected, got = load_file(whole.run / name), load_file(continued.run / name)
        assert all(torch.equal(expected[key], got[key]) for key in expected)
