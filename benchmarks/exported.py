"""Networks as others run them: exported to ONNX, computed by ONNX Runtime and by OpenVINO.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from focalnets.exporting.plan import hushed

__all__ = [
    "EXPORTS_VARIABLE",
    "Prepare",
    "export_onnx",
    "exports_folder",
    "onnxruntime_session",
    "openvino_lacks_bfloat16",
    "openvino_model",
]

Prepare = Callable[[Tensor], Callable[[], Tensor]]
"""Gets a network ready for images (B, 3, H, W) and returns the call that classifies them."""

EXPORTS_VARIABLE = "FOCALNETS_BENCHMARKS_EXPORTS"
"""Environment variable by which processes share the folder of exported networks."""


@functools.cache
def _own_exports() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="focalnets-benchmarks-")


def exports_folder() -> Path:
    """Choose where exported networks lie; unless another process named its own, removed at the end."""
    return Path(os.environ.get(EXPORTS_VARIABLE) or _own_exports().name)


def export_onnx(build: Callable[[], nn.Module], example: Tensor, name: str) -> Path:
    """Export a module of one NCHW tensor as ONNX with free batch, height and width; a temporary file.

    A second export under the same name returns the first. No size of the example may be 1, which would fix it.
    """
    path = exports_folder() / f"{name}.onnx"
    if not path.is_file():
        free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
        with torch.no_grad(), hushed():
            program = torch.onnx.export(build(), (example,), dynamo=True, dynamic_shapes=(free,), verbose=False)
            assert program is not None
            program.save(str(path))
    return path


def onnxruntime_session(path: Path) -> Prepare:
    """Prepare ONNX Runtime on the CPU, float32, with as many threads as PyTorch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Its threads would otherwise keep spinning into the turn of the next contender.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def prepare(images: Tensor) -> Callable[[], Tensor]:
        feed = {name: images.contiguous().numpy()}
        return lambda: torch.from_numpy(session.run(None, feed)[0])

    return prepare


def openvino_model(path: Path, precision: Literal["f32", "bf16"] = "f32") -> Prepare:
    """Prepare OpenVINO on the CPU, compiled for each shape, with as many threads as PyTorch uses."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    core = openvino.Core()

    def prepare(images: Tensor) -> Callable[[], Tensor]:
        model = core.read_model(str(path))
        model.reshape(list(images.shape))
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        feed = [images.contiguous().numpy()]

        def call() -> Tensor:
            request.infer(feed, share_inputs=True)
            return torch.from_numpy(request.get_output_tensor(0).data)

        return call

    return prepare


def openvino_lacks_bfloat16() -> str | None:
    """Say why OpenVINO would compute in float32 where bfloat16 is asked for; None if it computes in bfloat16."""
    import openvino

    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    return "OpenVINO finds no instructions for bfloat16 on this processor."
