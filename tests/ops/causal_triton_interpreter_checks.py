"""Checks of the causal Triton kernels in Triton's interpreter; run as a script, in a process of its own.

``values`` compares results, states and every gradient with the reference, ``chunks`` sequences in pieces with the
whole, ``operator`` what PyTorch asks of a custom operator, and derivatives of derivatives. Prints one line a failed
check and exits with 1 if there is one.

B sequences, T positions, C channels, L levels, R running levels, H groups of channels with gates of their own.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from focalnets.ops import causal_chunks, triton_causal_launch
from focalnets.ops.causal import causal_focal_aggregation


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem; ``levels`` are kernel sizes and dilations, ``scales`` fixed decays, -1 for one of each position."""

    length: int
    channels: int
    levels: tuple[tuple[int, int], ...]
    batch: int = 1
    groups: int = 1
    scales: int = 0
    masked: bool = False
    state: bool = False
    chunk: int = 16
    projected: bool = False
    dtype: torch.dtype = torch.float32


USUAL = ((3, 1), (5, 1))
CASES = [
    Case(1, 5, ((3, 1), (5, 1), (7, 1)), batch=2, state=True),
    Case(11, 3, USUAL, projected=True),
    Case(37, 3, USUAL, batch=2, projected=True),
    Case(32, 5, ((3, 1), (2, 5)), masked=True, state=True),
    Case(20, 40, ((3, 1),), groups=2, state=True),
    Case(21, 6, ((2, 3), (1, 1)), batch=2, groups=3, scales=1, masked=True),
    Case(35, 4, ((4, 1), (3, 2)), scales=3, state=True),
    Case(34, 4, USUAL, batch=2, scales=-1, masked=True, state=True),
    Case(19, 3, ((3, 1),), scales=-1, chunk=64),
    Case(24, 3, (), batch=2),
    Case(25, 4, (), scales=2, masked=True, state=True),
    Case(9, 3, (), state=True),
    Case(21, 3, ((3, 1),), dtype=torch.bfloat16),
    Case(20, 3, ((3, 1),), scales=-1, dtype=torch.float16),
]


def draw(case: Case) -> tuple[dict, Tensor, dict]:
    """Arguments in float64 but exact in the case's dtype, the gradient of the result, and those of positions before."""
    generator = torch.Generator().manual_seed(case.length)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(shape, generator=generator)).to(case.dtype).double()

    kernels = [normal(case.channels, size, scale=1 / math.sqrt(size)) for size, _ in case.levels]

    def arguments(length: int) -> dict:
        shape = (case.batch, length, case.channels)
        decay = None
        if case.scales:
            decay = torch.sigmoid(normal(*((case.scales, case.channels) if case.scales > 0 else shape), scale=2.0))
            decay = decay.to(case.dtype).double()
        return {
            "context": normal(*shape),
            "gates": normal(case.batch, length, len(case.levels) + max(1, case.scales), case.groups),
            "kernels": kernels,
            "dilations": [dilation for _, dilation in case.levels],
            "decay": decay,
        }

    case_arguments, before = arguments(case.length), arguments(6)
    case_arguments["mask"] = torch.rand(case.batch, case.length, generator=generator) < 0.7 if case.masked else None
    return case_arguments, normal(case.batch, case.length, case.channels), before


def evaluate(case: Case, backend: str, dtype: torch.dtype) -> list[Tensor]:
    """The result, the gradients of context, gates, kernels and decay, and the state after it."""
    arguments, upstream, before = draw(case)

    def converted(arguments: dict) -> dict:
        named = {name: arguments[name] if arguments[name] is None else arguments[name].to(dtype)
                 for name in ("context", "gates", "decay")}  # fmt: skip
        return {**arguments, **named, "kernels": [kernel.to(dtype) for kernel in arguments["kernels"]]}

    state = None
    if case.state:
        _, state = causal_focal_aggregation(**converted(before), backend="reference")
    arguments = converted(arguments)
    leaves = [arguments["context"], arguments["gates"], *arguments["kernels"]]
    leaves += [] if arguments["decay"] is None else [arguments["decay"]]
    for leaf in leaves:
        leaf.requires_grad_()
    if case.projected:  # both are slices of one tensor, as in a network
        beside = torch.cat([arguments["context"], arguments["gates"].flatten(2)], -1)
        arguments["context"], gates = beside.split([case.channels, beside.shape[2] - case.channels], -1)
        arguments["gates"] = gates.unflatten(-1, (-1, case.groups))
    result, after = causal_focal_aggregation(**arguments, state=state, backend=backend)
    gradients = torch.autograd.grad(result, leaves, upstream.to(dtype))
    return [result.detach(), *gradients, *after.windows, after.running, after.count]


def check_values() -> list[str]:
    """Errors against float64 stay within twice those of the reference, plus rounding of the largest number."""
    failures = []
    for case in CASES:
        causal_chunks.SHORTEST, causal_chunks.LONGEST = 8, case.chunk
        ours, plain = (evaluate(case, backend, case.dtype) for backend in ("triton", "reference"))
        exact = evaluate(case, "reference", torch.float64)
        for index, (our, usual, true) in enumerate(zip(ours, plain, exact, strict=True)):
            band = 2 * torch.finfo(case.dtype).eps * max(true.abs().max().item(), 1e-3) if true.numel() else 0.0
            budget = 2 * ((usual.double() - true).abs().max().item() + band) if true.numel() else 0.0
            error = (our.double() - true).abs().max().item() if true.numel() else 0.0
            if our.dtype != usual.dtype or our.shape != true.shape or not error <= budget:
                failures.append(f"{case}: result {index} is off by {error:.3g}, allowed {budget:.3g}")
    return failures


def check_chunks() -> list[str]:
    """Pieces with the state carried on give the whole, and padding may hold anything."""
    failures = []
    causal_chunks.SHORTEST, causal_chunks.LONGEST = 8, 16
    for scales in (0, 2, -1):
        arguments, _, _ = draw(Case(41, 4, ((3, 1), (2, 4)), scales=scales, masked=True))
        arguments = {name: value.float() if isinstance(value, Tensor) and value.dtype == torch.float64 else value
                     for name, value in arguments.items()}  # fmt: skip
        arguments["kernels"] = [kernel.float() for kernel in arguments["kernels"]]
        arguments["context"][~arguments["mask"]] = float("nan")
        whole, last = causal_focal_aggregation(**arguments, backend="triton")
        state, results, first = None, [], 0
        for length in (1, 3, 1, 20, 16):
            part = dict(arguments)
            for name in ("context", "gates", "mask", *(["decay"] if scales < 0 else [])):
                part[name] = arguments[name][:, first : first + length]
            result, state = causal_focal_aggregation(**part, state=state, backend="triton")
            results.append(result)
            first += length
        expected = causal_focal_aggregation(**arguments, backend="reference")[0]
        for name, error in (
            ("pieces and the whole", (torch.cat(results, 1) - whole).abs().max()),
            ("the whole and the reference", (whole - expected).abs().max()),
            ("the states", (state.running - last.running).abs().max()),
        ):
            if not error <= 1e-5:
                failures.append(f"{scales} scales: {name} differ by {error:.1e}")
        if not torch.equal(state.count, last.count):
            failures.append(f"{scales} scales: counts {state.count} and {last.count}")
    return failures


def forward(context: Tensor, gates: Tensor, kernel: Tensor, decay: Tensor | None, backend: str | None = None) -> Tensor:
    return causal_focal_aggregation(context, gates, [kernel], decay=decay, backend=backend)[0]


def check_operator() -> list[str]:
    failures = []
    causal_chunks.SHORTEST = causal_chunks.LONGEST = 4
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.rand(shape, generator=generator) for shape in ((2, 9, 4), (2, 9, 2, 1), (4, 3), (2, 9, 4))]
    context, gates, kernel, decay = (tensor.clone().requires_grad_() for tensor in drawn)
    state = causal_focal_aggregation(*drawn[:2], [drawn[2]], decay=drawn[3])[1]
    mask = torch.rand(2, 9, generator=generator) > 0.3
    operator = torch.ops.focalnets.causal_aggregation_triton.default
    for arguments in (
        (context, gates, [kernel], [1], decay, mask, state.windows[0], state.running, state.count),
        (context[:, :3], gates[:, :3, 1:], [], [], None, None, None, None, None),
    ):
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))
    inputs = [context, gates, kernel, decay]
    compiled = torch.compile(forward, backend="aot_eager", fullgraph=True)
    got = torch.autograd.grad(compiled(*inputs).sum(), inputs)
    expected = torch.autograd.grad(forward(*inputs, backend="triton").sum(), inputs)
    if not all(map(torch.equal, got, expected)):
        failures.append("compiled and eager gradients differ")
    found = []
    for backend, dtype in (("triton", torch.float32), ("reference", torch.float64)):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in drawn]
        gradients = torch.autograd.grad(forward(*leaves, backend=backend).sin().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), leaves))
    for got_one, exact in zip(*found, strict=True):
        if not (got_one - exact).abs().max() <= 2e-5 * max(1, exact.abs().max()):
            failures.append("second derivatives differ")
    counted = []
    for backend in ("triton", "reference"):
        with FlopCounterMode(display=False) as counter:
            forward(*drawn, backend=backend)
        counted.append(counter.get_total_flops())
    if counted[0] == 0 or counted[0] > counted[1]:
        failures.append(f"{counted} operations counted")
    if causal_focal_aggregation(context[:0], gates[:0], [kernel], decay=decay[:0], backend="triton")[0].shape[0] != 0:
        failures.append("an empty batch gives something")
    several = triton_causal_launch.Problem(*drawn[:2], [drawn[2]], [1], None, None, None, None, None)
    if several.chunks != 3:
        failures.append(f"9 positions make {several.chunks} chunks of {several.chunk}")
    return failures


if __name__ == "__main__":
    torch.manual_seed(0)
    names = {"values": check_values, "chunks": check_chunks, "operator": check_operator}
    found = names[sys.argv[1]]()
    print("\n".join(found))
    sys.exit(bool(found))
