"""What a measurement was made on, with the fields that result files have."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from focalnets.machine.description import describe_machine, describe_versions, read_commit
from focalnets.ops import cpu_library

__all__ = ["machine_fields", "missing_for", "source_fields", "version_fields"]

_PACKAGES = (
    "focalnets",
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "openvino",
    "onnxruntime",
    "onnx",
    "numpy",
    "triton",
)


def machine_fields() -> dict[str, Any]:
    """Describe processor, cores, instruction set, memory and accelerator of this machine."""
    machine = describe_machine()
    numbers = "" if machine.processor_model is None else f" ({machine.processor_model})"
    return {
        "processor": f"{machine.processor}{numbers}",
        "cores": machine.usable_cores,
        "threads": machine.threads,
        "instruction_set": machine.instruction_set,
        "engines": _engines(),
        "memory_gib": None if machine.memory_bytes is None else round(machine.memory_bytes / 2**30, 1),
        "system": machine.system,
        "accelerator": machine.gpus[0] if machine.gpus else None,
        "load_average_at_start": None if machine.load is None else round(machine.load, 2),
    }


def version_fields() -> dict[str, str]:
    """Read the version of Python and of every package that takes part, if installed."""
    return {"python": platform.python_version(), **describe_versions(_PACKAGES)}


def source_fields() -> dict[str, Any]:
    """Read the commit of the checkout and whether files were changed since; both None outside a checkout."""
    commit = read_commit(Path(__file__).parent, ("../src", "."))
    if commit is None:
        return {"commit": None, "changed": None}
    return {"commit": commit.hash, "changed": commit.changed}


def missing_for(*instruction_sets: str) -> str | None:
    """Say what this processor lacks for the engine; None if it can use one of these instruction sets.

    Args:
        *instruction_sets: ``amx``, ``bfloat16`` (AVX-512 BF16), ``int8`` (AVX-512 VNNI), ``avx512`` or ``avx2``.
    """
    library = cpu_library.load()
    if isinstance(library, str):
        return library
    engines = [engine for engine in library.engines if engine.instruction_set in instruction_sets]
    if any(engine.missing is None for engine in engines):
        return None
    return "; ".join(str(engine.missing) for engine in engines) or "the engine was built without it"


def _engines() -> list[str]:
    """List the engines that run here, best first."""
    library = cpu_library.load()
    return [] if isinstance(library, str) else [each.name for each in library.engines if each.missing is None]
