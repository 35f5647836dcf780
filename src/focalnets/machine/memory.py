"""What a call adds to the memory of this process, which should do nothing else."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

try:
    import resource
except ImportError:  # Windows has no limits and no peaks of this kind
    resource = None  # type: ignore[assignment]

__all__ = [
    "available_bytes",
    "is_out_of_memory",
    "limit_data",
    "measure_added",
    "peak_bytes",
    "read_status",
    "release_freed_memory",
    "reset_peak",
]

_WARM_UP_PX = 64
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def available_bytes() -> int | None:
    """Read how much memory processes can get without others being swapped out or ended; None where nobody says."""
    file = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", file.read_text(), re.MULTILINE) if file.is_file() else None
    if found is None:
        return None
    return min([int(found[1]) * 1024, *_left_in_group()])


def _left_in_group() -> list[int]:
    """Read what the limits of a container leave; empty where there are none."""
    group = Path("/sys/fs/cgroup")
    try:
        return [int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())]
    except (OSError, ValueError):
        return []


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory did not suffice."""
    message = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in message for text in _OUT_OF_MEMORY)


def limit_data(more_bytes: int) -> None:
    """Let this process ask for so much more memory and be refused beyond, which ends no process but fails a call."""
    now = read_status("VmData")
    if now is None or resource is None:
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = now + more_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def read_status(field: str) -> int | None:
    """Read a field of this process's status [bytes]; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def reset_peak() -> bool:
    """Make the kernel forget the peak so far; False where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Read the largest resident size since the process began, or since the peak was reset."""
    peak = read_status("VmHWM")
    if peak is not None:
        return peak
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def release_freed_memory() -> int:
    """Return freed memory to the system; returns the resident size then [bytes]."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    resident = read_status("VmRSS")
    return peak_bytes() if resident is None else resident


def measure_added(
    prepare: Callable[[Any], Callable[[], Any]],
    images: Any,
    rest: Callable[[], None],
    *,
    warm_up: Any = None,
) -> tuple[Any, dict[str, Any]]:
    """Measure what a call on ``images`` adds to memory, after one on a small image and a rest.

    What a runtime sets aside when it is made ready for the larger images counts, what it needs meanwhile does not.

    Args:
        prepare: Makes the call for a batch of images (B, 3, H, W).
        images: The batch; anything that ``prepare`` takes, where ``warm_up`` is given.
        rest: Frees what the first call left.
        warm_up: What the first call gets; None takes the upper left 64 px of ``images``.
    """
    if warm_up is None:
        memory_format = torch.contiguous_format if images.is_contiguous() else torch.channels_last
        warm_up = images[:, :, :_WARM_UP_PX, :_WARM_UP_PX].contiguous(memory_format=memory_format)
    call = prepare(warm_up)
    call()
    rest()
    idle = release_freed_memory()
    del call
    call = prepare(images)
    release_freed_memory()
    was_reset = reset_peak()
    output = call()
    peak = peak_bytes()
    return output, {"added_bytes": peak - idle, "idle_bytes": idle, "peak_bytes": peak, "peak_was_reset": was_reset}
