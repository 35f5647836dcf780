"""A call in a process of its own is measured, and whatever ends the process is an answer."""

from __future__ import annotations

import sys

import pytest

from focalnets.compare.memory_process import MemoryProcess
from focalnets.machine.memory import available_bytes

JOB = {"model": "focalnet_pico", "task": "inference", "size_px": 32, "batch": 1, "device": "cpu"}

ROWS = """
import os, signal, time
from focalnets.compare.variations import Variation, add_variation

def killed(focal):
    os.kill(os.getpid(), signal.SIGKILL)

def crashing(focal):
    os._exit(3)

def endless(focal):
    time.sleep(1000)

for builder in (killed, crashing, endless):
    add_variation(Variation(name=f"row_{builder.__name__}", summary="for this test", mixer=builder))
"""


@pytest.fixture(scope="module")
def process():
    with MemoryProcess() as process:
        yield process


def test_measures(process):
    outcome = process.measure(JOB, timeout_s=300)
    assert outcome["status"] == "measured"
    assert outcome["seconds"] > 0
    assert outcome["peak_bytes"] >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of this kind are Linux's")
def test_refuses_more_memory_than_there_is(process):
    images = 2 * available_bytes() // (4 * 3 * 32 * 32)
    outcome = process.measure({**JOB, "batch": images}, timeout_s=300)
    assert outcome["status"] == "out of memory", outcome


def test_a_size_that_a_network_refuses(process):
    pytest.importorskip("timm")
    outcome = process.measure({**JOB, "model": "vit_tiny_patch16_224", "size_px": 8}, timeout_s=300)
    assert outcome["status"] == "unsupported"
    assert outcome["why"]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux")
@pytest.mark.parametrize(
    ("row", "status", "words"),
    [
        ("killed", "out of memory", "system"),
        ("crashing", "failed", "status 3"),
        ("endless", "over the time", "minutes"),
    ],
)
def test_processes_that_end(process, row, status, words, tmp_path, monkeypatch):
    rows = tmp_path / "rows.py"
    rows.write_text(ROWS)
    # Only the other process knows the rows.
    monkeypatch.setattr("focalnets.compare.memory_process.loaded_rows", lambda: [str(rows)])
    outcome = process.measure({**JOB, "model": f"row_{row}"}, timeout_s=3 if row == "endless" else 300)
    assert outcome["status"] == status
    assert words in outcome["why"]
    assert process.measure(JOB, timeout_s=300)["status"] == "measured"
