"""Finds, loads and checks the C++ library of the CPU backend.

Environment: ``FOCALNETS_CPU_ISA`` forces an instruction set (avx512, avx2 or baseline), ``FOCALNETS_CPU_LIBRARY`` names
another library file.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from focalnets.errors import BackendUnavailableError

__all__ = ["MAX_LEVELS", "Engine", "Library", "load", "required"]

MAX_LEVELS = 16
"""Most focal levels that the library takes."""

INTERFACE = 5_000_000 + 1000 * 8 * (9 + 3 * 4 + 3 * MAX_LEVELS) + 8 * (8 + MAX_LEVELS)
"""Version of the interface and sizes of its structures; the library must name the same number."""


ENGINE_SETS = ("amx", "bfloat16", "int8")
"""Instruction sets of the engine that come beside AVX-512."""

ENGINE_INTERFACE = 2_000_000 + 8 * 15
"""The same of the engine's structures."""


CAUSAL_INTERFACE = 1_000_000 + 8 * (1000 * (21 + 4 * MAX_LEVELS) + (3 + MAX_LEVELS) + (8 + MAX_LEVELS))
"""The same of the structures of causal aggregation."""


STEP_INTERFACE = 1_000_000 + 8 * (1000 * (23 + 2 * MAX_LEVELS) + 27 + 2 * MAX_LEVELS)
"""The same of the structures that describe one token's way through a causal network."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """What multiplies rows with packed weights.

    Attributes:
        index: How the library knows it.
        precision: ``float32``, ``bfloat16`` or ``int8``.
        instruction_set: What it needs of the processor.
        panel: Outputs of a packed layer are padded to a multiple.
        group: So are its inputs.
        element_bytes: Bytes of a packed number.
        missing: Why it cannot run here, or None if it can.
    """

    index: int
    precision: str
    instruction_set: str
    panel: int
    group: int
    element_bytes: int
    missing: str | None

    @property
    def name(self) -> str:
        """What it is called where weights are packed for it."""
        return f"{self.precision} by {self.instruction_set}"


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
            self.forward.argtypes = [ctypes.c_char_p, ctypes.c_int64, *[ctypes.c_void_p] * 4]
            self.backward.argtypes = [ctypes.c_char_p, ctypes.c_int64, *[ctypes.c_void_p] * 2]
            causal_interface = library.focal_causal_interface
            causal_interface.restype = ctypes.c_int64
            self.causal_forward, self.causal_backward = library.focal_causal_forward, library.focal_causal_backward
            self.causal_forward.argtypes = self.causal_backward.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 2]
            step_interface = library.focal_step_interface
            step_interface.restype = ctypes.c_int64
            self.step = library.focal_step
            self.step.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
            self.gelu = library.focal_gelu
            self.gelu.argtypes = [ctypes.c_char_p, *[ctypes.c_int64] * 3, *[ctypes.c_void_p] * 3]
            self._engine, engine_interface = library.focal_engine, library.focal_engine_interface
            engine_interface.restype = ctypes.c_int64
            self.engine_pack = library.focal_engine_pack
            self.engine_pack.argtypes = [ctypes.c_int64, ctypes.c_void_p, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 3]
            self.engine_stage = library.focal_engine_stage
            self.engine_stage.argtypes = [ctypes.c_int64, ctypes.c_char_p, ctypes.c_void_p]
        except (OSError, AttributeError) as error:
            raise BackendUnavailableError(f"The kernels in {path} cannot be loaded ({error}); install again.") from None
        found = (interface(), engine_interface(), causal_interface(), step_interface())
        if found != (INTERFACE, ENGINE_INTERFACE, CAUSAL_INTERFACE, STEP_INTERFACE):
            raise BackendUnavailableError(f"{path} was built from another version of focalnets; build it again.")
        forced = os.environ.get("FOCALNETS_CPU_ISA") or None
        status = ctypes.c_int32()
        name = self._name(None if forced is None else forced.encode(), ctypes.byref(status))
        if status.value != 0:
            reason = "this processor does not have" if name else "is none of avx512, avx2 and baseline"
            raise BackendUnavailableError(f"FOCALNETS_CPU_ISA asks for {forced!r}, which {reason}; unset it.")
        self.instruction_set: bytes = name
        self.engines: tuple[Engine, ...] = tuple(self._list_engines())

    def _list_engines(self) -> Iterator[Engine]:
        """List the engines that were built, best first; a forced instruction set leaves out those that need more."""
        forced = os.environ.get("FOCALNETS_CPU_ISA")
        texts, numbers = (ctypes.c_char_p * 3)(), (ctypes.c_int64 * 3)()
        for index in itertools.count():
            if not self._engine(ctypes.c_int64(index), texts, numbers):
                return
            precision, name, missing = (None if text is None else text.decode() for text in texts)
            instruction_set = str(name).removeprefix("engine_")
            allowed = not forced or instruction_set == forced or (forced == "avx512" and instruction_set in ENGINE_SETS)
            if not allowed:
                missing = f"FOCALNETS_CPU_ISA asks for {forced}"
            panel, group, element_bytes = numbers
            yield Engine(index, str(precision), instruction_set, panel, group, element_bytes, missing)


@functools.cache
def load() -> Library | str:
    """Load the library; returns it, or why there is none."""
    try:
        return Library()
    except BackendUnavailableError as error:
        return str(error)


def required() -> Library:
    """Load the library.

    Raises:
        BackendUnavailableError: If it cannot run here, and why.
    """
    library = load()
    if isinstance(library, str):
        raise BackendUnavailableError(library)
    return library
