"""What becomes of memory that a long computation frees."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["keep_freed_memory"]

# Numbers of glibc's parameters, from malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_LARGEST_INT = 2**31 - 1


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
