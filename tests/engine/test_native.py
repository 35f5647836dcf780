"""The engine without Python: against plain loops, for AMX on ordinary memory, with sanitizers, and on ARM64."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[1] / "native" / "check.sh"


def has_avx512() -> bool:
    try:
        return "avx512vl" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def run(kind: str, folder: Path) -> str:
    done = subprocess.run(["sh", str(CHECK), str(folder), kind], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


needs_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("g++") is None or not has_avx512(),
    reason="needs g++ and an x86-64 processor with AVX-512",
)


@needs_x86
@pytest.mark.slow
def test_tiles_of_amx_on_ordinary_memory(tmp_path: Path) -> None:
    lines = run("emulated", tmp_path)
    assert lines.count("bfloat16 by engine_amx, ") == lines.count("float32 by engine_baseline, ") == 3


@needs_x86
@pytest.mark.slow
def test_no_sanitizer_complains(tmp_path: Path) -> None:
    assert run("sanitized", tmp_path).count("error") >= 9


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-g++") is None or shutil.which("qemu-aarch64") is None,
    reason="needs aarch64-linux-gnu-g++ and qemu-aarch64",
)
def test_arm64_under_an_emulator(tmp_path: Path) -> None:
    assert run("arm64", tmp_path).count("float32 by engine_baseline, ") == 3
