"""What a measurement was made on: processor, memory, versions, commit, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

__all__ = ["describe_machine", "describe_source", "describe_versions", "now"]

_PACKAGES = ("focalnets", "torch", "timm", "transformers", "openvino", "onnxruntime", "onnx", "numpy", "triton")


def now() -> str:
    """The present moment in UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, instruction set, memory and accelerator of this machine."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_average_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def describe_versions() -> dict[str, str]:
    """Version of Python and of every package that takes part, if installed."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "focalnets" not in versions:
        from focalnets import __version__

        versions["focalnets"] = __version__
    return versions


def describe_source() -> dict[str, Any]:
    """Commit of the checkout and whether files were changed since; both None outside a checkout."""
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "--", "../src", "."))
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed": None}
    return {"commit": commit, "changed": changed}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        fields = dict(_field(line) for line in information.read_text().split("\n\n")[0].splitlines() if ":" in line)
        if "model name" in fields:
            numbers = f"family {fields.get('cpu family')}, model {fields.get('model')}"
            return f"{fields['model name']} ({numbers})"
    return platform.processor() or platform.machine()


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
