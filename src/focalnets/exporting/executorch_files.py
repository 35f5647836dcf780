"""Files of ExecuTorch for phones and small devices: products by XNNPACK, one size of images, metadata beside it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, ConfigError
from focalnets.exporting.plan import Plan, hushed
from focalnets.files import parse_json, write_json

__all__ = ["open_runner", "read_metadata", "write"]


def write(plan: Plan, path: Path) -> None:
    """Write the network of a plan for images of one size, and what it is as JSON of the same name."""
    if not plan.graph.on_small_devices:
        raise ConfigError(
            "Only classifiers of images and segmenters with the heads mlp and uper become .pte files; export this "
            "network to .onnx, .xml or .pt2."
        )
    exir = importlib.import_module("executorch.exir")
    partitioner = importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    program = plan.make_program(plan.graph, plan.draw(plan.fixed_shape))
    try:
        with torch.no_grad(), hushed():
            lowered = exir.to_edge_transform_and_lower(program, partitioner=[partitioner.XnnpackPartitioner()])
            content = lowered.to_executorch().buffer
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"ExecuTorch cannot take this network ({reason}); export it to .onnx or .xml.") from error
    path.write_bytes(content)
    write_json(path.with_suffix(".json"), plan.metadata())


def open_runner(path: Path) -> Callable[..., list[Tensor]]:
    """Load a file that was just written, to compare it."""
    runtime: Any = importlib.import_module("executorch.runtime")
    method = runtime.Runtime.get().load_program(str(path)).load_method("forward")

    def run(*tensors: Tensor) -> list[Tensor]:
        return [found.clone() for found in method.execute([tensor.contiguous() for tensor in tensors])]

    return run


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata beside a file.

    Raises:
        CheckpointError: If they are missing.
    """
    try:
        return dict(parse_json(path.with_suffix(".json").read_bytes()))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.with_suffix('.json')} cannot be read; it says what {path.name} is.") from error
