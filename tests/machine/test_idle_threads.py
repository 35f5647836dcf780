"""What idle threads do is settled before torch is loaded, and never against the user's choice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CHOICES = {"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "10"}


def run(code, **chosen):
    """What a fresh process prints, with nothing chosen but what is given."""
    environment = {name: value for name, value in os.environ.items() if name not in CHOICES}
    finished = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **chosen}, capture_output=True, text=True, check=True
    )
    return finished.stdout.strip(), finished.stderr


SHOW = "import os; print([os.environ.get(name) for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')])"
SAY = "from focalnets.machine.process import how_idle_threads_wait as say; print(say())"


def test_importing_the_package_lets_idle_threads_sleep():
    shown, _ = run(f"import focalnets; {SHOW}")
    assert shown == "['passive', None, None]"
    said, _ = run(f"import focalnets, torch; {SAY}")
    assert said.startswith("sleep, as focalnets asked for")


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_of_the_user_stays(name):
    expected = [CHOICES[name] if other == name else None for other in CHOICES]
    shown, _ = run(f"import focalnets; {SHOW}", **{name: CHOICES[name]})
    assert shown == str(expected)
    said, _ = run(SAY, **{name: CHOICES[name]})
    assert said == f"as the environment says ({name}={CHOICES[name]})"


def test_nothing_is_set_once_torch_is_there():
    shown, _ = run(f"import torch, focalnets; {SHOW}")
    assert shown == "[None, None, None]"
    said, _ = run(f"import torch; {SAY}")
    assert said.startswith("spin, which slows everything down")
    assert "import focalnets first, or set OMP_WAIT_POLICY=passive" in said


@pytest.mark.skipif(sys.platform != "linux", reason="torch for Linux comes with GCC's OpenMP library")
def test_openmp_takes_it_over():
    code = "import focalnets, torch"
    _, told = run(code, OMP_DISPLAY_ENV="true")
    if "OMP_WAIT_POLICY" not in told:
        pytest.skip("this OpenMP library does not say how it waits")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in told
    _, told = run(code, OMP_DISPLAY_ENV="true", OMP_WAIT_POLICY="active")
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in told
