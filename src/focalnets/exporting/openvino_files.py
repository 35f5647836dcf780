"""Files of OpenVINO: made from ONNX, with float32 or float16 weights, or of 8 bits by NNCF."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError
from focalnets.exporting import onnx_files
from focalnets.exporting.graphs import full_sizes
from focalnets.exporting.plan import Plan, hushed
from focalnets.weights.description import PREFIX

__all__ = ["open_runner", "read_metadata", "write"]

_ENTRY = "focalnets"
"""Where metadata stand in the model's rt_info."""

_HEAD_BYTES = 4096
"""Before these a file of OpenVINO has opened its first element."""


def write(plan: Plan, path: Path) -> None:
    """Write the network of a plan, and its weights beside it."""
    import openvino

    onnx = path.with_suffix(".onnx")
    onnx_files.write(plan, onnx)
    try:
        model = openvino.convert_model(str(onnx))
    finally:
        onnx.unlink(missing_ok=True)
    if plan.options.int8:
        model = _quantize(plan, model)
    with contextlib.suppress(RuntimeError, KeyError):
        del model.rt_info["framework"]  # the metadata of the ONNX file once more
    for name, text in plan.metadata().items():
        model.set_rt_info(text, [_ENTRY, name.removeprefix(PREFIX)])
    openvino.save_model(model, str(path), compress_to_fp16=plan.options.half)


def _quantize(plan: Plan, model: Any) -> Any:
    """Turn products into such of 8 bits, with ranges that the calibration images show."""
    with hushed():
        import nncf

        nncf.set_log_level(40)
        feeds = [
            [tensor.numpy() for tensor in plan.graph.feed(image[None], full_sizes(image[None]))]
            for image in plan.calibration
        ]
        return nncf.quantize(model, nncf.Dataset(feeds), subset_size=len(feeds))


def open_runner(path: Path) -> Callable[..., list[Tensor]]:
    """Open a file with OpenVINO, on the CPU, computing in float32 what is not quantised.

    Raises:
        CheckpointError: If it cannot.
    """
    import openvino

    try:
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = openvino.Core().compile_model(_read(path), "CPU", settings)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} cannot be compiled by OpenVINO ({_reason(error)}); export it again.") from error
    count = len(compiled.inputs)

    def run(*tensors: Tensor) -> list[Tensor]:
        if count != len(tensors):
            raise CheckpointError(f"{path} takes {count} inputs, and {len(tensors)} are expected; export it again.")
        try:
            found = compiled([tensor.contiguous().numpy() for tensor in tensors])
            return [torch.tensor(found[output]) for output in compiled.outputs]
        except Exception as error:
            raise CheckpointError(f"{path} cannot be run by OpenVINO ({_reason(error)}).") from error

    return run


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a file.

    Raises:
        CheckpointError: If it is missing or no file of OpenVINO.
    """
    model = _read(path)
    try:
        if not model.has_rt_info([_ENTRY]):
            return {}
        names = model.get_rt_info([_ENTRY]).value
        return {f"{PREFIX}{name}": str(model.get_rt_info([_ENTRY, name]).value) for name in names}
    except (RuntimeError, UnicodeError) as error:
        raise CheckpointError(f"{path} is damaged: its metadata cannot be read ({_reason(error)}).") from error


def _read(path: Path) -> Any:
    import openvino

    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    if not path.with_suffix(".bin").is_file():
        raise CheckpointError(f"{path} lacks its weights, {path.with_suffix('.bin').name}; keep the two together.")
    with path.open("rb") as file:
        if b"<net" not in file.read(_HEAD_BYTES):  # Anything else would be offered to the readers of other frameworks.
            raise CheckpointError(f"{path} is no file of OpenVINO; expected one that focalnets export wrote.")
    try:
        return openvino.Core().read_model(str(path))
    except Exception as error:
        raise CheckpointError(f"{path} is damaged or no file of OpenVINO ({_reason(error)}).") from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
