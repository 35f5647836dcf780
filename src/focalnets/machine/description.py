"""What machine and software a figure was measured on: the one place that asks for it.

Whoever writes it to a file takes from here the fields that the file has.
"""

from __future__ import annotations

import dataclasses
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

__all__ = [
    "Commit",
    "Machine",
    "describe_environment",
    "describe_machine",
    "describe_versions",
    "memory_bytes",
    "processor_name",
    "read_commit",
    "utc_now",
]

_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "numpy", "pillow", "safetensors")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine as this process sees it.

    Attributes:
        processor: Its name as the system gives it.
        processor_model: Family and model by number, which the name may leave out; None where the system says neither.
        cores: All of them.
        usable_cores: Those that this process may run on.
        threads: Those of PyTorch.
        instruction_set: The one that PyTorch uses.
        memory_bytes: All memory; None where nobody says.
        system: Operating system and release.
        platform: The same with processor architecture and C library.
        gpus: Names of the GPUs that PyTorch can use.
        cuda: Version of CUDA that PyTorch was built with; None for none.
        load: Processes that want to run, mean of the last minute; None where nobody says.
    """

    processor: str
    processor_model: str | None
    cores: int | None
    usable_cores: int | None
    threads: int
    instruction_set: str
    memory_bytes: int | None
    system: str
    platform: str
    gpus: tuple[str, ...]
    cuda: str | None
    load: float | None


@dataclasses.dataclass(frozen=True)
class Commit:
    """A commit that is checked out, and whether files that it holds were changed since."""

    hash: str
    changed: bool

    def __str__(self) -> str:
        return f"{self.hash}-dirty" if self.changed else self.hash


def describe_machine() -> Machine:
    """Describe the machine that this process runs on."""
    import torch

    fields = _processor_fields()
    numbers = [f"{word} {fields[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in fields]
    return Machine(
        processor=processor_name(),
        processor_model=", ".join(numbers) or None,
        cores=os.cpu_count(),
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        threads=torch.get_num_threads(),
        instruction_set=torch.backends.cpu.get_cpu_capability(),
        memory_bytes=memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        platform=platform.platform(),
        gpus=tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())),
        cuda=torch.version.cuda,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def describe_versions(packages: Sequence[str]) -> dict[str, str]:
    """Read the versions of the packages that are installed, and of focalnets if it is among them."""
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "focalnets":  # a checkout that is not installed
                versions[name] = __version__
    return versions


def describe_environment(seed: int, data: Mapping[str, Any], command: Sequence[str] | None = None) -> dict[str, Any]:
    """Describe what besides the settings decides a result: software, machine, data, command; for ``environment.json``.

    Args:
        seed: Of the training.
        data: Plain values that say which images it sees.
        command: What the user typed; None takes what started this process.
    """
    machine = describe_machine()
    installed, here = read_commit(Path(__file__).resolve().parent), read_commit(Path.cwd())
    return {
        "focalnets": __version__,
        "git_commit": None if installed is None else str(installed),
        "working_folder_git_commit": None if here is None else str(here),
        "packages": describe_versions(_PACKAGES),
        "python": platform.python_version(),
        "platform": machine.platform,
        "processor": machine.processor,
        "cores": machine.cores,
        "torch_threads": machine.threads,
        "gpus": list(machine.gpus),
        "cuda": machine.cuda,
        "command": shlex.join(sys.argv if command is None else command),
        "working_folder": str(Path.cwd()),
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": seed,
        "data": dict(data),
    }


def read_commit(folder: Path, paths: Sequence[str] = ()) -> Commit | None:
    """Read which commit is checked out around a folder; None outside a checkout.

    Args:
        folder: A folder of the checkout.
        paths: Where changed files count, relative to the folder; everywhere if there are none.
    """
    try:
        commit = _run_git(folder, "rev-parse", "HEAD")
        changes = _run_git(folder, "status", "--porcelain", "--untracked-files=no", "--", *(paths or (":/",)))
    except (OSError, subprocess.SubprocessError):
        return None
    return Commit(commit, bool(changes))


def processor_name() -> str:
    """Read the processor's name as the system gives it."""
    return _processor_fields().get("model name") or platform.processor() or platform.machine()


def utc_now() -> str:
    """Read the clock: the moment in UTC, to the second, as ISO 8601 writes it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _run_git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def _processor_fields() -> dict[str, str]:
    """Read what Linux says of the first core; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def memory_bytes() -> int | None:
    """Read how much memory the machine has; None where nobody says."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
