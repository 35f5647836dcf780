"""Checks of the Triton kernels in Triton's interpreter; run as a script, in a process of its own.

``values`` compares results and every gradient with the reference, ``operator`` what PyTorch asks of a custom operator,
``derivatives`` second order and gradients in batches with the reference in float64.
Prints one line a failed check and exits with 1 if there is one, with 77 if the interpreter itself does not work here.

B images, *S spatial sizes, C channels, L levels.
"""

from __future__ import annotations

import dataclasses
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from focalnets.ops import triton_backend, triton_launch, triton_tiles
from focalnets.ops.reference import focal_aggregation_reference


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem; ``mask`` names which tokens count, ``layout`` how context and gates lie in memory."""

    space: tuple[int, ...]
    channels: int
    kernel_sizes: tuple[tuple[int, ...], ...]
    batch: int = 1
    mask: str | None = None
    normalize: bool = False
    layout: str = "one projection"
    dtype: torch.dtype = torch.float32
    tile: triton_tiles.Tile | None = None
    whole_map: bool | None = None


SMALL_TILE = triton_tiles.Tile(rows=2, columns=4, channels=2, warps=1)
CASES = [
    Case((1, 1), 1, ((3, 3),), batch=2),
    Case((1, 1), 3, ((7, 7),), whole_map=True, normalize=True),
    Case((5, 9), 3, (), batch=2),
    Case((5, 9), 3, (), batch=2, mask="one image empty", normalize=True),
    Case((5, 7), 3, ((3, 3),), tile=SMALL_TILE, layout="channels first"),
    Case((3, 5), 3, ((3, 3), (1, 5)), tile=SMALL_TILE, batch=2, mask="one image empty", normalize=True),
    Case((3, 5), 3, ((3, 3), (5, 5)), tile=SMALL_TILE, batch=2, mask="one image empty", normalize=True, whole_map=True),
    Case((5, 9), 40, ((3, 3), (5, 5)), normalize=True),
    Case((4, 9), 40, ((3, 3), (5, 5), (7, 7)), mask="some"),
    Case((4, 9), 40, ((3, 3), (5, 5), (7, 7)), mask="some", whole_map=True),
    Case((5, 18), 40, ((3, 3), (3, 5)), whole_map=True),
    Case((3, 2), 3, ((7, 7), (5, 3)), batch=2, mask="some"),
    Case((7, 3), 3, ((1, 1), (3, 5))),
    Case((11,), 3, ((3,), (5,), (7,)), batch=2, mask="some", normalize=True),
    Case((40,), 5, ((3,), (9,)), whole_map=True),
    Case((5, 9), 3, ((3, 3), (5, 5)), mask="some", dtype=torch.float16),
    Case((5, 9), 3, ((3, 3), (5, 5)), normalize=True, dtype=torch.bfloat16),
    Case((5, 9), 3, ((3, 3), (5, 5)), dtype=torch.bfloat16, whole_map=True),
]


def problem(case: Case, generator: torch.Generator) -> tuple[Tensor, list[Tensor], Tensor | None, Tensor]:
    """Projection (B, *S, 2 C + L + 1), kernels, mask, gradient of the result; float64 but exact in the case's dtype."""

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(shape, generator=generator)).to(case.dtype).double()

    projection = draw(case.batch, *case.space, 2 * case.channels + len(case.kernel_sizes) + 1)
    kernels = [draw(case.channels, *size, scale=float(torch.Size(size).numel()) ** -0.5) for size in case.kernel_sizes]
    mask = None
    if case.mask is not None:
        mask = torch.rand((case.batch, *case.space), generator=generator) > 0.3
        if case.mask == "one image empty":
            mask[0] = False
    return projection, kernels, mask, draw(case.batch, *case.space, case.channels)


def evaluate(case: Case, dtype: torch.dtype, reference: bool, inputs: tuple) -> list[Tensor]:
    """The result and the gradients of projection (query part: zero) and kernels."""
    projection, kernels, mask, out_gradient = inputs
    projection = projection.to(dtype).requires_grad_()
    kernels = [kernel.to(dtype).requires_grad_() for kernel in kernels]
    context = projection[..., case.channels : 2 * case.channels]
    gates = projection[..., 2 * case.channels :]
    if case.layout == "channels first":
        context = context.movedim(-1, 1).contiguous().movedim(1, -1)
        gates = gates.movedim(-1, 1).contiguous().movedim(1, -1)
    if case.whole_map is not None and not reference:
        # Forced on the forward pass alone: the backward pass does not depend on it.
        with torch.no_grad():
            return [triton_launch.forward(context, gates, kernels, mask, case.normalize, whole_map=case.whole_map)]
    function = focal_aggregation_reference if reference else triton_backend.focal_aggregation_triton
    out = function(context, gates, kernels, normalize=case.normalize, mask=mask)
    return [out.detach(), *torch.autograd.grad(out, [projection, *kernels], out_gradient.to(dtype))]


def check_values() -> list[str]:
    failures = []
    generator = torch.Generator().manual_seed(0)
    usual_tiles = triton_tiles.candidate_tiles
    for case in CASES:
        inputs = problem(case, generator)
        triton_tiles.candidate_tiles = usual_tiles if case.tile is None else lambda *_, tile=case.tile: [tile]
        ours = evaluate(case, case.dtype, False, inputs)
        exact = evaluate(case, torch.float64, True, inputs)[: len(ours)]
        plain = evaluate(case, case.dtype, True, inputs)[: len(ours)]
        names = ["result", "projection gradient", *(f"kernel {level} gradient" for level in range(1, len(ours)))]
        for name, our, true, usual in zip(names, ours, exact, plain, strict=False):
            band = torch.finfo(case.dtype).eps * true.abs().max()
            budget = 2 * ((usual.double() - true).abs().max() + band)
            error = (our.double() - true).abs().max()
            if our.dtype != case.dtype or not our.is_contiguous() or not error <= budget:
                failures.append(f"{case}: {name} is off by {error:.3g}, allowed {budget:.3g}")
    triton_tiles.candidate_tiles = usual_tiles
    return failures


def check_operator() -> list[str]:
    failures = []
    projection = torch.randn(1, 2, 3, 6, requires_grad=True)
    context, gates = projection[..., 2:4], projection[..., 4:]
    kernels = [torch.randn(2, 3, 3, requires_grad=True)]
    mask = torch.rand(1, 2, 3) > 0.3
    for arguments in ((context, gates, kernels, mask, True), (context, gates[..., :1], [], None, False)):
        torch.library.opcheck(torch.ops.focalnets.focal_aggregation_triton.default, arguments)

    def compiled(projection: Tensor, kernel: Tensor) -> Tensor:
        assert triton_backend.why_unavailable() is None
        return triton_backend.focal_aggregation_triton(projection[..., 2:4], projection[..., 4:], [kernel]).square()

    graph = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    got = torch.autograd.grad(graph(projection, kernels[0]).sum(), [projection, kernels[0]])
    expected = torch.autograd.grad(compiled(projection, kernels[0]).sum(), [projection, kernels[0]])
    if not all(torch.equal(gradient, other) for gradient, other in zip(got, expected, strict=True)):
        failures.append("compiled and eager gradients differ")

    with FlopCounterMode(display=False) as ours:
        triton_backend.focal_aggregation_triton(context, gates, kernels)
    with FlopCounterMode(display=False) as reference:
        focal_aggregation_reference(context, gates, kernels)
    if ours.get_total_flops() != reference.get_total_flops():
        failures.append(f"{ours.get_total_flops()} operations counted, the reference {reference.get_total_flops()}")
    if triton_backend.why_unavailable() is not None:
        failures.append(f"unavailable in the interpreter: {triton_backend.why_unavailable()}")
    empty = triton_backend.focal_aggregation_triton(context[:0], gates[:0], kernels)
    if empty.shape != (0, 2, 3, 2):
        failures.append(f"an empty batch gives {tuple(empty.shape)}")
    return failures


def check_derivatives() -> list[str]:
    """Differentiate the backward pass again, for losses linear in the result and not, and in batches."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 4, 5), (2, 3, 4, 2), (5, 3, 3)]
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    mask = torch.rand(2, 3, 4, generator=generator) < 0.7
    results = []
    for function, dtype in (
        (triton_backend.focal_aggregation_triton, torch.float32),
        (focal_aggregation_reference, torch.float64),
    ):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in drawn]
        found = []
        for bend in (torch.ravel, torch.sin):
            result = function(*leaves[:2], leaves[2:], normalize=True, mask=mask)
            first = torch.autograd.grad(bend(result).sum(), leaves, create_graph=True)
            found += torch.autograd.grad(sum(gradient.square().sum() for gradient in first), leaves)
        result = function(*leaves[:2], leaves[2:], normalize=True, mask=mask)
        several = torch.stack([torch.ones_like(result), result.detach()])
        found += torch.autograd.grad(result, leaves, several, is_grads_batched=True)
        results.append(found)
    return [
        f"derivative {index} differs by {(got - right).abs().max().item():.1e}"
        for index, (got, right) in enumerate(zip(*results, strict=True))
        if got.shape != right.shape or (got - right).abs().max() > 1e-5 * max(1.0, right.abs().max().item())
    ]


@triton.jit
def count_kernel(out, count):
    for _ in range(count):
        tl.store(out, tl.load(out) + 1)


def interpreter_works() -> bool:
    """Older versions of the interpreter cannot count up to an argument with newer versions of numpy."""
    out = torch.zeros(1)
    try:
        count_kernel[(1,)](out, 3)
    except triton.runtime.errors.InterpreterError:
        return False
    return out.item() == 3


if __name__ == "__main__":
    if not interpreter_works():
        sys.exit(77)
    found = {"values": check_values, "operator": check_operator, "derivatives": check_derivatives}[sys.argv[1]]()
    print("\n".join(found))
    sys.exit(bool(found))
