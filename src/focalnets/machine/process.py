"""This process and those beside it: how threads wait, what becomes of freed memory, who listens to Ctrl-C.

Imports no torch: some of it must be called before torch is imported.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["ignore_ctrl_c_in_helpers", "is_helper", "keep_freed_memory", "wait_without_spinning"]

# Numbers of glibc's parameters, from malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_LARGEST_INT = 2**31 - 1


def wait_without_spinning() -> None:
    """Let idle OpenMP threads sleep instead of spinning, unless the user chose otherwise.

    Where other processes run on the same cores, e.g. those that read the images, a spinning thread takes the core from
    the one it waits for: a training step of 2.5 s took 15 to 22 s on two busy cores.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


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


def ignore_ctrl_c_in_helpers() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the one that the user started.

    To be called before anything slow: a helper that dies while it still starts would take the training with it.
    """
    if is_helper():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
