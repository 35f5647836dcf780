"""Freed memory is at hand for the next tensor, and no process of a training outlives the one that started it."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
import torch
from focalnets.machine.process import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
for step in range(40):
    if step == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(2**24).fill_(1.0)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    """In the last 20 of 40 steps."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GLIBC_", "MALLOC_", "LD_PRELOAD"))
    }
    command = [sys.executable, "-c", SCRIPT, how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")


@on_glibc
def test_freed_memory_is_taken_again_without_new_pages():
    assert page_faults("keep") < page_faults("plain") / 10


@on_glibc
def test_a_choice_of_the_user_is_left_alone(monkeypatch):
    from focalnets.machine.process import keep_freed_memory

    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not keep_freed_memory()


PARENT = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]]); time.sleep(60)"
)
CHILD = """
import os, pathlib, signal, sys, time
from focalnets.machine import process

process._SECONDS_BETWEEN_LOOKS = 0.1
file = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: file.with_suffix(".asked").touch())
process.end_with_parent(grace_s=0.5)
process.end_with_parent(grace_s=0.5)
file.write_text(str(os.getpid()))
end = time.monotonic() + 60
while time.monotonic() < end:
    time.sleep(0.1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux shows them")
@pytest.mark.parametrize("kind", ["helper", "torchrun"])
def test_a_process_of_a_training_does_not_outlive_what_started_it(tmp_path, kind):
    file = tmp_path / "pid"
    told = {"LOCAL_RANK": "1"} if kind == "helper" else {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0"}
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK")}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, str(file)], env=environment | told)
    try:
        wait_until(lambda: file.exists() and file.read_text())
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not is_running(int(file.read_text())))
    assert file.with_suffix(".asked").exists()


def test_other_processes_are_not_watched(monkeypatch):
    from focalnets.machine import process

    for name in ("RANK", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    process.end_with_parent()
    assert not process._watched


def wait_until(done):
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
