"""This process and those beside it: how threads wait, what becomes of freed memory, who listens to Ctrl-C.

Imports no torch: some of it must be called before torch is imported.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

__all__ = [
    "end_with_parent",
    "how_idle_threads_wait",
    "ignore_ctrl_c_in_helpers",
    "is_helper",
    "keep_freed_memory",
    "wait_without_spinning",
]

# Numbers of glibc's parameters, from malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_LARGEST_INT = 2**31 - 1


_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""How the user tells OpenMP what idle threads do; the last two are of GCC's library and of LLVM's and Intel's."""


def wait_without_spinning() -> bool:
    """Let idle OpenMP threads sleep instead of spinning, unless the user chose otherwise.

    Where other processes run on the same cores, e.g. those that read the images, a spinning thread takes the core from
    the one it waits for: a training step of 2.5 s took 15 to 22 s on two busy cores.

    OpenMP reads the environment once, when torch is loaded, and GCC's library, which torch for Linux uses, has no call
    that changes it later. Where torch is there already, nothing is set: it would only mislead child processes.

    Returns:
        Whether this call, or one before it, set it in time.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in _WAITING):
        os.environ["OMP_WAIT_POLICY"] = "passive"
        _set_here.append("OMP_WAIT_POLICY")
    return bool(_set_here)


_set_here: list[str] = []


def how_idle_threads_wait() -> str:
    """Say in one sentence what idle threads do in this process and who chose it."""
    if _set_here:
        return (
            "sleep, as focalnets asked for (OMP_WAIT_POLICY=passive); a program that imports torch before focalnets "
            "must set it itself, before it starts"
        )
    chosen = [f"{name}={os.environ[name]}" for name in _WAITING if name in os.environ]
    if chosen:
        return f"as the environment says ({', '.join(chosen)})"
    return (
        "spin, which slows everything down where other processes want the same cores: torch was imported before "
        "focalnets; import focalnets first, or set OMP_WAIT_POLICY=passive before the program starts"
    )


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next tensors; True if the C library can do so, which glibc can.

    By default glibc returns large pieces to the system at once, and every step of a training asks for the same again,
    page by page, each filled with zeros first: 4 to 19 % of the time of a step of focalnet_pico on two cores. What is
    kept is what was in use at the peak, which did not grow. A choice made by the environment (``GLIBC_TUNABLES``,
    ``MALLOC_...``) is left alone.
    """
    chosen = any(name.startswith(("GLIBC_TUNABLES", "MALLOC_")) for name in os.environ)
    if sys.platform != "linux" or chosen:
        return False
    set_parameter = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_parameter is None:  # musl has none
        return False
    return bool(set_parameter(_MMAP_MAX, 0) and set_parameter(_TRIM_THRESHOLD, _LARGEST_INT))


def is_helper() -> bool:
    """Tell whether another process of the training started this one; torchrun's and SLURM's stand for themselves."""
    return "RANK" not in os.environ and int(os.environ.get("LOCAL_RANK", 0)) > 0


def end_with_parent(*, grace_s: float = 60.0) -> None:
    """Watch, in a process of several that train together, the one that started it, and do not outlive it for long.

    A helper of a training that was killed, or a process whose torchrun was, would go on without end, or wait for others
    without end. When the starting process ends, this one is asked to stop as by SIGTERM, and stops at once ``grace_s``
    seconds later. To be called before anything slow; calls after the first do nothing.
    """
    if _watched or not (is_helper() or "TORCHELASTIC_RUN_ID" in os.environ):
        return
    parent = os.getppid()
    _watched.append(parent)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(1)

    threading.Thread(target=watch, name="watch of the starting process", daemon=True).start()


_watched: list[int] = []
_SECONDS_BETWEEN_LOOKS = 1.0


def ignore_ctrl_c_in_helpers() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the one that the user started.

    To be called before anything slow: a helper that dies while it still starts would take the training with it.
    """
    if is_helper():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
