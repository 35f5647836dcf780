"""Whether the kernels compute the same as the reference in float64, on the device itself.

Axes: B batch, *S one or two spatial axes, C channels, L focal levels.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.device import DEVICE, HAS_GPU, free
from benchmarks.gpu.record import Record
from focalnets.ops import triton_launch
from focalnets.ops.reference import focal_aggregation_reference
from focalnets.ops.triton_backend import focal_aggregation_triton

__all__ = ["judge", "measure"]

_SHAPES: list[tuple[tuple[int, ...], list[int]]] = [
    ((4, 56, 56, 96), [3, 5, 7]),
    ((8, 14, 14, 384), [3, 5, 7]),
    ((3, 7, 7, 768), [3, 5, 7]),
    ((2, 37, 61, 40), [3, 5]),
    ((1, 100, 152, 96), [9, 11, 13]),
    ((1, 1, 1, 5), [3]),
    ((2, 5, 9, 40), []),
    ((4, 1000, 64), [3, 7]),
]
_TINY: list[tuple[tuple[int, ...], list[int]]] = [((1, 4, 5, 8), [3])]


def measure(record: Record, tiny: bool) -> None:
    """Compare every kind of problem, most usual first."""
    dtypes = (torch.bfloat16,) if tiny else (torch.bfloat16, torch.float32, torch.float16)
    for (shape, sizes), dtype in itertools.product(_TINY if tiny else _SHAPES, dtypes):
        for masked, layout in ((False, "projection"), (True, "projection"), (False, "transposed")):
            if layout == "transposed" and len(shape) != 4:
                continue
            name = f"{'x'.join(map(str, shape))} kernels {sizes} {str(dtype)[6:]} {layout}{' masked' * masked}"
            record.measure(name, lambda *case, s=shape, k=sizes, d=dtype, m=masked, y=layout: _compare(s, k, d, m, y))
    for whole_map in (False, True):
        record.measure(f"whole map {whole_map}", lambda w=whole_map: _compare_ways(w, tiny))
    if HAS_GPU and not tiny:
        record.measure("more than 2^31 elements", _compare_huge)


def _draw(shape: tuple[int, ...], sizes: list[int], dtype: torch.dtype, layout: str) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator(DEVICE).manual_seed(len(shape) + sum(shape))

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device=DEVICE).to(dtype)

    *positions, channels = shape
    kernels = [normal(channels, *[size] * (len(shape) - 2)) / size for size in sizes]
    projection = normal(*positions, 2 * channels + len(sizes) + 1)
    if layout == "transposed":
        projection = projection.transpose(1, 2).contiguous().transpose(1, 2)
    return projection, kernels


def _compare(shape: tuple[int, ...], sizes: list[int], dtype: torch.dtype, masked: bool, layout: str) -> dict[str, Any]:
    projection, kernels = _draw(shape, sizes, dtype, layout)
    channels = shape[-1]
    mask = torch.rand(shape[:-1], device=DEVICE) > 0.3 if masked else None
    upstream = torch.randn(shape, device=DEVICE)

    def run(function: Any, dtype: torch.dtype) -> list[Tensor]:
        leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in (projection, *kernels)]
        context, gates = leaves[0][..., channels : 2 * channels], leaves[0][..., 2 * channels :]
        result = function(context, gates, leaves[1:], normalize=True, mask=mask)
        return [result.detach(), *torch.autograd.grad(result, leaves, upstream.to(dtype), materialize_grads=True)]

    exact = run(focal_aggregation_reference, torch.float64)
    return judge(
        run(focal_aggregation_triton, dtype), run(focal_aggregation_reference, dtype), exact, torch.finfo(dtype).eps
    )


def judge(ours: list[Tensor], plain: list[Tensor], exact: list[Tensor], epsilon: float) -> dict[str, Any]:
    """Our error may be twice that of plain PyTorch in the same dtype, and a rounding step."""
    worst, shares = 0.0, []
    for own, usual, true in zip(ours, plain, exact, strict=True):
        allowed = 2 * (float((usual.double() - true).abs().max()) + epsilon * float(true.abs().max()))
        error = float((own.double() - true).abs().max())
        shares.append(round(error / max(allowed, 1e-300), 4))
        worst = max(worst, error / max(float(true.abs().max()), 1e-300))
    return {"passed": all(share <= 1 for share in shares), "error_of_allowed": shares, "relative_error": worst}


def _compare_ways(whole_map: bool, tiny: bool) -> dict[str, Any]:
    channels = 8 if tiny else 96
    projection, kernels = _draw(
        (1, 3, 4, 8) if tiny else (6, 28, 28, 96), [3] if tiny else [3, 5, 7], torch.float32, "projection"
    )

    def parts(dtype: torch.dtype) -> tuple[Tensor, Tensor, list[Tensor]]:
        whole = projection.to(dtype)
        return whole[..., channels : 2 * channels], whole[..., 2 * channels :], [k.to(dtype) for k in kernels]

    ours = triton_launch.forward(*parts(torch.float32), None, False, whole_map=whole_map)
    plain = focal_aggregation_reference(*parts(torch.float32))
    return judge([ours], [plain], [focal_aggregation_reference(*parts(torch.float64))], torch.finfo(torch.float32).eps)


def _compare_huge() -> dict[str, Any]:
    """A map whose projection has more than 2^31 elements; channels are independent but for the gates."""
    side, channels, some = 4096, 96, 4
    generator = torch.Generator(DEVICE).manual_seed(0)
    projection = torch.randn(1, side, side, 2 * channels + 4, generator=generator, device=DEVICE, dtype=torch.bfloat16)
    kernels = [torch.randn(channels, k, k, generator=generator, device=DEVICE).bfloat16() / k for k in (3, 5, 7)]
    outcomes: dict[str, Any] = {"elements": projection.numel(), "passed": True}
    for layout in ("rows", "columns"):
        tokens = projection if layout == "rows" else projection.transpose(1, 2)
        context, gates = tokens[..., channels : 2 * channels], tokens[..., 2 * channels :]
        with torch.no_grad():
            ours = focal_aggregation_triton(context, gates, kernels)[..., -some:].clone()
            free()
            few = [kernel[-some:].float() for kernel in kernels]
            plain = focal_aggregation_reference(context[..., -some:].float(), gates.float(), few)
        error = float((ours.float() - plain).abs().max() / plain.abs().max())
        outcomes[f"relative error, {layout}"] = error
        outcomes["passed"] = outcomes["passed"] and error < 0.02
        del ours, plain
        free()
    return outcomes
