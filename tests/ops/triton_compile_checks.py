"""Compile the Triton kernels to machine code of GPUs that are not there; run as a script, in a process of its own.

The launching code runs on CPU tensors with every kernel replaced by a recorder, so what is compiled is exactly what
would be launched. Prints a line a kernel with its registers and stack bytes a thread; exits with 1 where a convolving
kernel exchanges values through shared memory on the way, which its tiles are chosen to avoid.

Usage: triton_compile_checks.py CAPABILITY DTYPE (masked|unmasked)
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from focalnets.ops import (
    triton_causal_gradient_kernels,
    triton_causal_kernels,
    triton_causal_launch,
    triton_gradient_kernels,
    triton_gradient_launch,
    triton_kernels,
    triton_launch,
)

OPTION_NAMES = {"num_warps", "num_stages", "enable_fp_fusion"}
TYPE_NAMES = {
    torch.float64: "*fp64", torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.uint8: "*u8",
    torch.int64: "*i64",
}  # fmt: skip
MODULES = (triton_kernels, triton_gradient_kernels, triton_causal_kernels, triton_causal_gradient_kernels)


class Recorder:
    """Stands for a kernel and notes what it is launched with."""

    def __init__(self, kernel: Any, launches: list[tuple[Any, dict[str, Any]]]) -> None:
        self.kernel, self.launches = kernel, launches

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def note(*positional: Any, **named: Any) -> None:
            positional_names = self.kernel.arg_names[: len(positional)]
            self.launches.append((self.kernel, {**dict(zip(positional_names, positional, strict=True)), **named}))

        return note


def record(dtype: torch.dtype, masked: bool) -> list[tuple[Any, dict[str, Any]]]:
    """All that both forward paths and the backward pass launch at a typical first stage, and without levels."""
    launches: list[tuple[Any, dict[str, Any]]] = []
    for module in MODULES:
        for name, kernel in list(vars(module).items()):
            if name.endswith("_kernel"):
                setattr(module, name, Recorder(kernel, launches))
    channels, sizes = 96, (3, 7)
    projection = torch.zeros(2, 56, 56, 2 * channels + len(sizes) + 1, dtype=dtype)
    context, gates = projection[..., channels : 2 * channels], projection[..., 2 * channels :]
    kernels = [torch.zeros(channels, size, size, dtype=dtype) for size in sizes]
    mask = torch.ones(context.shape[:3], dtype=torch.bool) if masked else None
    out_gradient = torch.zeros(context.shape, dtype=dtype)
    for whole_map in (True, False):
        triton_launch.forward(context, gates, kernels, mask, True, whole_map=whole_map)
    triton_gradient_launch.backward(out_gradient, context, gates, kernels, mask, True)
    triton_launch.forward(context, gates[..., :1], [], mask, True)
    triton_gradient_launch.backward(out_gradient, context, gates[..., :1], [], mask, True)
    record_causal(dtype, masked)
    return launches


def record_causal(dtype: torch.dtype, masked: bool) -> None:
    """What long sequences of a usual network launch, forward and backward; masked ones go on from a state and decay."""
    channels, sizes, scales = 384, (3, 5, 7), 2 if masked else 1
    kernels = [torch.zeros(channels, size, dtype=dtype) for size in sizes]
    for length in (50, 1000):
        projection = torch.zeros(1, length, 2 * channels + 8, dtype=dtype)
        context, gates = projection[..., channels : 2 * channels], projection[..., 2 * channels :]
        rest: list[Any] = [None] * 5  # decay, mask, windows, running, count
        if masked:
            rest = [
                torch.zeros(scales, channels, dtype=dtype), torch.ones(1, length, dtype=torch.bool),
                torch.zeros(1, 12, channels, dtype=dtype), torch.zeros(1, scales, channels),
                torch.zeros(1, dtype=torch.int64),
            ]  # fmt: skip
        arguments = (context, gates[..., : 3 + scales, None], kernels, [1, 1, 1], *rest)
        *_, starts = triton_causal_launch.forward(*arguments)
    triton_causal_launch.backward(torch.zeros(context.shape, dtype=dtype), *arguments, starts)


def compile_launch(kernel: Any, arguments: dict[str, Any], capability: int) -> Any:
    """Machine code of one recorded launch."""
    options = {name: value for name, value in arguments.items() if name in OPTION_NAMES}
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for index, parameter in enumerate(kernel.params):
        value = arguments[parameter.name]
        if parameter.is_constexpr:
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = TYPE_NAMES[value.dtype]
            attributes[(index,)] = [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "i32"
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack a thread."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        shown = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    registers, stack = re.findall(r"REG:(\d+) STACK:(\d+)", shown.stdout)[0]
    return int(registers), int(stack)


def main(capability: int, dtype: torch.dtype, masked: bool) -> int:
    failed = False
    for kernel, arguments in record(dtype, masked):
        compiled = compile_launch(kernel, arguments, capability)
        registers, stack = resources(compiled.asm["cubin"])
        exchanges = compiled.asm["ttgir"].count("convert_layout")
        below_last = "LEVEL" in arguments and arguments["LEVEL"] < arguments["LEVELS"]
        failed |= below_last and exchanges > 0
        size = f"{arguments['KH']}x{arguments['KW']}" if "KH" in arguments else ""
        print(f"{kernel.__name__} {size}: {registers} registers, {stack} bytes of stack, {exchanges} exchanges")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), getattr(torch, sys.argv[2]), sys.argv[3] == "masked"))
