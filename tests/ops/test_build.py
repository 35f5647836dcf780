"""Installing without a working compiler: the package still installs, only its C++ kernels are missing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.skipif(importlib.util.find_spec("scikit_build_core") is None, reason="scikit-build-core is not installed")
@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is not installed")
def test_broken_compiler_leaves_a_package_without_kernels(tmp_path):
    environment = {**os.environ, "CC": "/nonexistent/cc", "CXX": "/nonexistent/c++"}
    options = ["--no-deps", "--no-build-isolation", "-C", f"build-dir={tmp_path / 'build'}", "-w", str(tmp_path)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(CHECKOUT)]
    built = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "focalnets/ops/cpu.py" in names
    assert {
        "focalnets/report/templates/page.html", "focalnets/visualize/templates/blocks.js",
        "focalnets/visualize/templates/tokens.js", "focalnets/demo/language/plays.txt.xz",
    } <= set(names)  # fmt: skip
    assert not [name for name in names if "_focal_cpu" in name or "csrc" in name]
