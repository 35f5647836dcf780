"""Memory that was freed once is at hand for the next tensor."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

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
