"""Programs of torch.export, which PyTorch runs without this package, and such compiled ahead of time.

A program holds operators of PyTorch alone; that of a detector also torchvision's RoIAlign. Compiled by AOTInductor it
holds the operator of this package, is bound to machines like this one, and needs ``import focalnets`` before it is
loaded.
"""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, ConfigError
from focalnets.exporting.plan import Plan, hushed
from focalnets.files import json_text, parse_json
from focalnets.models.layers import FocalModulation
from focalnets.ops.backends import BACKENDS

__all__ = ["METADATA_FILE", "open_runner", "read_metadata", "write"]

METADATA_FILE = "focalnets.json"
"""Name of the extra file in a program that says what it is."""

_COMPILED = "focalnets_compiled"


def write(plan: Plan, path: Path) -> None:
    """Write the network of a plan."""
    if plan.options.aoti:
        _compile(plan, path)
        return
    content = io.BytesIO()  # PyTorch's own writer ends the process where a disk is full
    with hushed():
        torch.export.save(plan.program, content, extra_files={METADATA_FILE: json_text(plan.metadata())})
    path.write_bytes(content.getbuffer())


def _compile(plan: Plan, path: Path) -> None:
    """Compile for this machine; the metadata become a further file in the archive."""
    reason = BACKENDS["cpu"].why_unavailable()
    if reason is not None:
        raise ConfigError(f"--aoti compiles networks with the C++ kernels, which cannot run here: {reason}")
    graph = copy.deepcopy(plan.graph)
    for module in graph.modules():
        if isinstance(module, FocalModulation):
            module.backend = "cpu"
    program = plan.make_program(graph, plan.example, plan.dynamic_shapes())
    with torch.no_grad(), hushed():
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        metadata = {**plan.metadata(), _COMPILED: "aoti"}
        archive.writestr(f"{root}/extra/{METADATA_FILE}", json_text(metadata))


def open_runner(path: Path) -> Callable[..., list[Tensor]]:
    """Load a program that was just written, to compare it; compiled ones execute what lies in the file."""
    if _COMPILED in read_metadata(path):
        compiled: Any = torch._inductor.aoti_load_package(str(path))
    else:
        with hushed():
            compiled = torch.export.load(path).module()

    def run(*tensors: Tensor) -> list[Tensor]:
        with torch.no_grad():
            found = compiled(*tensors)
        return [found] if isinstance(found, Tensor) else list(found)

    return run


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a program.

    Raises:
        CheckpointError: If it is none, or says nothing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(f"extra/{METADATA_FILE}"))
            return dict(parse_json(archive.read(name)))
    except (OSError, StopIteration, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is no program that `focalnets export` wrote.") from error
