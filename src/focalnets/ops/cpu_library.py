"""Finds, loads and checks the C++ library of the CPU backend.

Environment: ``FOCALNETS_CPU_ISA`` forces an instruction set (avx512, avx2 or baseline), ``FOCALNETS_CPU_LIBRARY`` names
another library file.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from focalnets.errors import BackendUnavailableError

__all__ = ["MAX_LEVELS", "Library", "load"]

MAX_LEVELS = 16
"""Most focal levels that the library takes."""

INTERFACE = 4_000_000 + 1000 * 8 * (9 + 3 * 4 + 3 * MAX_LEVELS) + 8 * (8 + MAX_LEVELS)
"""Version of the interface and sizes of its structures; the library must name the same number."""


class Library:
    """The loaded library, for one instruction set.

    Raises:
        BackendUnavailableError: If it cannot be loaded or run here.
    """

    def __init__(self) -> None:
        named = os.environ.get("FOCALNETS_CPU_LIBRARY")
        folder = Path(__file__).parent
        candidates = [Path(named)] if named else [folder / f"_focal_cpu.{suffix}" for suffix in ("so", "dylib", "dll")]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            raise BackendUnavailableError(
                f"FOCALNETS_CPU_LIBRARY names {named}, which is no file; correct or unset it."
                if named
                else "The C++ kernels were not built: no working CMake and C++ compiler (GCC or Clang) was found when "
                "focalnets was installed, or this is a checkout; install both and install focalnets again, or run "
                "`make native` in the checkout."
            )
        try:
            library = ctypes.CDLL(str(path))
            interface = library.focal_interface
            interface.restype = ctypes.c_int64
            self._name = library.focal_instruction_set
            self._name.restype = ctypes.c_char_p
            self.forward, self.backward = library.focal_forward, library.focal_backward
            self.forward.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 4]
            self.backward.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 2]
            self.gelu = library.focal_gelu
            self.gelu.argtypes = [ctypes.c_char_p, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 3]
        except (OSError, AttributeError) as error:
            raise BackendUnavailableError(f"The kernels in {path} cannot be loaded ({error}); install again.") from None
        if interface() != INTERFACE:
            raise BackendUnavailableError(f"{path} was built from another version of focalnets; build it again.")
        forced = os.environ.get("FOCALNETS_CPU_ISA") or None
        status = ctypes.c_int32()
        name = self._name(None if forced is None else forced.encode(), ctypes.byref(status))
        if status.value != 0:
            reason = "this processor does not have" if name else "is none of avx512, avx2 and baseline"
            raise BackendUnavailableError(f"FOCALNETS_CPU_ISA asks for {forced!r}, which {reason}; unset it.")
        self.instruction_set: bytes = name


@functools.cache
def load() -> Library | str:
    """Load the library; returns it, or why there is none."""
    try:
        return Library()
    except BackendUnavailableError as error:
        return str(error)
