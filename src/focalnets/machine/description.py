"""What machine and software a figure was measured on."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from focalnets.version import __version__

__all__ = ["describe_environment", "processor_name"]


def describe_environment(seed: int, data: Mapping[str, Any], command: Sequence[str] | None = None) -> dict[str, Any]:
    """What besides the settings decides a result: software, machine, data, command."""
    import torch

    packages = ("torch", "torchvision", "lightning", "torchmetrics", "numpy", "pillow", "safetensors")
    return {
        "focalnets": __version__,
        "git_commit": _git_commit(Path(__file__).resolve().parent),
        "working_folder_git_commit": _git_commit(Path.cwd()),
        "packages": {name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
        "command": shlex.join(sys.argv if command is None else command),
        "working_folder": str(Path.cwd()),
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": seed,
        "data": dict(data),
    }


def _git_commit(folder: Path) -> str | None:
    """The commit that is checked out around ``folder``, marked if files were changed since; None outside a checkout."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def processor_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
