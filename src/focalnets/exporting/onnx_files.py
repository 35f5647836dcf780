"""ONNX files: written by PyTorch's exporters, run by ONNX Runtime.

What the file says of itself is read from its outermost fields before anything else in it is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, ConfigError
from focalnets.exporting.plan import Plan, hushed
from focalnets.weights.description import MAX_METADATA_CHARACTERS

__all__ = ["open_runner", "read_metadata", "write"]

_OPSET = 20
_LEGACY_OPSET = 17

_MOST_BYTES = 2**31 - 2**24
"""Of weights; the rest of the 2 GiB that a protocol buffer can have is for the graph."""

_METADATA_FIELD = 14
_BYTES = 2


def write(plan: Plan, path: Path) -> None:
    """Write the network of a plan.

    Raises:
        ConfigError: If it is larger than such a file can be.
    """
    size = sum(weight.numel() * weight.element_size() for weight in plan.network.state_dict().values())
    if size > _MOST_BYTES:
        raise ConfigError(
            f"ONNX files hold up to 2 GB, also on the way to OpenVINO, and this network has {size / 1e9:.1f} GB; "
            "export it to .pt2."
        )
    (_write_legacy if plan.options.legacy else _write)(plan, path)


def _write(plan: Plan, path: Path) -> None:
    import onnx

    inputs, outputs = list(plan.graph.inputs), list(plan.graph.outputs)
    program = plan.program
    with torch.no_grad(), hushed():
        exported = torch.onnx.export(
            program, dynamo=True, input_names=inputs, output_names=outputs, opset_version=_OPSET, verbose=False,
            external_data=False,
        )  # fmt: skip
    assert exported is not None
    model = exported.model_proto
    _tidy(model, plan.named_axes())
    onnx.helper.set_model_props(model, plan.metadata())
    onnx.save(model, str(path))


def _write_legacy(plan: Plan, path: Path) -> None:
    import onnx

    if not plan.graph.by_older_exporter:
        raise ConfigError("The older exporter cannot follow this network; leave legacy (--legacy) out.")
    with torch.no_grad(), hushed():
        torch.onnx.export(
            plan.graph, plan.example, str(path), dynamo=False, opset_version=_LEGACY_OPSET,
            input_names=list(plan.graph.inputs), output_names=list(plan.graph.outputs),
            dynamic_axes=plan.named_axes(),
        )  # fmt: skip
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, plan.metadata())
    onnx.save(model, str(path))


def _tidy(model: Any, axes: dict[str, dict[int, str]]) -> None:
    """Give free axes names that can be read, and leave out where on this machine the code lies that was exported."""
    names: dict[str, str] = {}
    for value in model.graph.input:
        for number, name in axes[value.name].items():
            names[value.type.tensor_type.shape.dim[number].dim_param] = name
    names.pop("", None)
    symbols = re.compile("|".join(rf"\b{re.escape(symbol)}\b" for symbol in names) or r"(?!)")
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    for value in values:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = symbols.sub(lambda found: names[found[0]], size.dim_param)
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        node.doc_string = ""
        del node.metadata_props[:]
    for each in (*values, *model.graph.initializer):
        del each.metadata_props[:]
    del model.graph.metadata_props[:]


def open_runner(path: Path) -> Callable[..., list[Tensor]]:
    """Open a file with ONNX Runtime, on the CPU.

    Raises:
        CheckpointError: If it cannot.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read by ONNX Runtime ({_reason(error)}); export it again.") from error
    names = [each.name for each in session.get_inputs()]

    def run(*tensors: Tensor) -> list[Tensor]:
        if len(names) != len(tensors):
            raise CheckpointError(
                f"{path} takes {len(names)} inputs, and {len(tensors)} are expected; export it again."
            )
        feed = {name: tensor.contiguous().numpy() for name, tensor in zip(names, tensors, strict=True)}
        try:
            found = session.run(None, feed)
            return [torch.from_numpy(each) for each in found]
        except Exception as error:
            raise CheckpointError(f"{path} cannot be run by ONNX Runtime ({_reason(error)}).") from error

    return run


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a file without reading its graph.

    Raises:
        CheckpointError: If it is missing or no ONNX file.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    metadata: dict[str, str] = {}
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for number, kind, length in _fields(file, size):
                if number != _METADATA_FIELD or kind != _BYTES:
                    file.seek(length, 1)
                    continue
                entry = _entry(file.read(length))
                metadata[entry[0]] = entry[1]
                if sum(map(len, metadata.values())) > 2 * MAX_METADATA_CHARACTERS:
                    raise ValueError("its metadata are too long")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged or no ONNX file ({error}).") from error
    return metadata


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, kind and length of each outermost field of a protocol buffer; the reader stands at its content."""
    if not end:
        raise ValueError("it is empty")
    while file.tell() < end:
        tag = _number(file)
        number, kind = tag >> 3, tag & 7
        if number == 0 or kind not in (0, 1, 2, 5):
            raise ValueError("it is no protocol buffer")
        if kind == 0:
            _number(file)
        length = {0: 0, 1: 8, 5: 4}.get(kind)
        if length is None:
            length = _number(file)
        if file.tell() + length > end:
            raise ValueError("its end is missing")
        yield number, kind, length


def _number(file: BinaryIO) -> int:
    """Read a whole number of 7 bits a byte, the lowest first."""
    value = 0
    for place in range(10):
        byte = file.read(1)
        if not byte:
            raise ValueError("its end is missing")
        value |= (byte[0] & 127) << (7 * place)
        if byte[0] < 128:
            return value
    raise ValueError("it is no protocol buffer")


def _entry(content: bytes) -> tuple[str, str]:
    """Read a pair of texts."""
    import io

    texts = {1: "", 2: ""}
    file = io.BytesIO(content)
    for number, kind, length in _fields(file, len(content)) if content else ():
        text = file.read(length)
        if kind == _BYTES and number in texts:
            texts[number] = text.decode("utf-8")
    return texts[1], texts[2]
