"""The operator without its global level, by rows: both backends against the whole operator."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from focalnets.errors import ShapeError
from focalnets.ops import cpu
from focalnets.ops.aggregation import focal_aggregation, local_aggregation
from focalnets.ops.reference import local_aggregation_reference

needs_library = pytest.mark.skipif(cpu.why_unavailable() is not None, reason="the C++ kernels are not built")
BACKENDS = [
    pytest.param((local_aggregation_reference, torch.float64), id="reference"),
    pytest.param((cpu.local_aggregation_cpu, torch.float32), id="cpu", marks=needs_library),
]
CASES = [
    ((9, 7), 5, [(3, 3), (5, 5)]),
    ((40, 6), 33, [(3, 3), (5, 5), (7, 7)]),
    ((300, 5), 17, [(3, 3)]),
    ((13, 4), 3, []),
    ((6, 5), 4, [(1, 3), (5, 1)]),
    ((31,), 6, [(3,), (5,)]),
]


def draw(size, channels, kernel_sizes, dtype):
    generator = torch.Generator().manual_seed(7)
    kernels = [torch.randn(channels, *k, generator=generator).to(dtype) / math.prod(k) ** 0.5 for k in kernel_sizes]
    context = torch.randn(2, *size, channels, generator=generator).to(dtype)
    return context, torch.randn(2, *size, len(kernels) + 1, generator=generator).to(dtype), kernels


@pytest.mark.parametrize(("size", "channels", "kernel_sizes"), CASES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("band", [1, 3, 1000])
def test_bands_and_the_global_level_make_the_whole(size, channels, kernel_sizes, backend, band):
    function, dtype = backend
    context, gates, kernels = draw(size, channels, kernel_sizes, dtype)
    halo = sum(k[0] // 2 for k in kernel_sizes)
    parts, total = [], 0
    for first in range(0, size[0], band):
        last = min(size[0], first + band)
        top, bottom = max(0, first - halo), min(size[0], last + halo)
        part, sums = function(context[:, top:bottom], gates[:, top:bottom], kernels, rows=(first - top, last - top))
        assert sums.dtype == torch.float64
        assert part.is_contiguous()
        parts.append(part)
        total = total + sums
    mean = F.gelu(total / math.prod(size)).to(dtype)
    found = torch.cat(parts, 1) + gates[..., -1:] * mean.view(2, *[1] * len(size), channels)
    wanted = focal_aggregation(context.double(), gates.double(), [k.double() for k in kernels], backend="reference")
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=tolerance)


@needs_library
@pytest.mark.parametrize("threads", [1, 2])
def test_sums_of_many_tokens_stay_exact(threads):
    """Beside the reference in float64, where sums in float32 would be off by more."""
    context = torch.rand(1, 700, 600, 16, generator=torch.Generator().manual_seed(0))
    gates = torch.zeros(1, 700, 600, 2)
    kernels = [torch.zeros(16, 3, 3)]
    kernels[0][:, 1, 1] = 1.0
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        _, sums = cpu.local_aggregation_cpu(context, gates, kernels, rows=(0, 700))
    finally:
        torch.set_num_threads(before)
    wanted = F.gelu(context.double()).sum((1, 2))
    assert ((sums - wanted).abs() / wanted).max() < 2e-7


@needs_library
def test_the_public_function_takes_the_fast_way_and_strided_halves():
    context, gates, kernels = draw((12, 9), 8, [(3, 3)], torch.float32)
    both = torch.cat([context, gates], -1)
    context, gates = both.split((8, 2), -1)
    found, sums = local_aggregation(context, gates, kernels, rows=(2, 9))
    wanted, wanted_sums = local_aggregation_reference(context, gates, kernels, rows=(2, 9))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sums, wanted_sums, rtol=1e-6, atol=1e-5)
    whole, _ = local_aggregation(context, gates, kernels)
    assert whole.shape == context.shape


def test_half_precision_comes_back_as_it_came():
    context, gates, kernels = draw((5, 4), 3, [(3, 3)], torch.bfloat16)
    found, sums = local_aggregation(context, gates, kernels)
    assert (found.dtype, sums.dtype) == (torch.bfloat16, torch.float64)


@pytest.mark.parametrize("rows", [(0, 0), (-1, 3), (2, 6), (4, 3)])
def test_rows_that_are_not_there_are_refused(rows):
    context, gates, kernels = draw((5, 4), 3, [(3, 3)], torch.float32)
    with pytest.raises(ShapeError, match="rows must be some of the 5 rows"):
        local_aggregation(context, gates, kernels, rows=rows)


@needs_library
def test_the_whole_call_agrees_with_it():
    for size, normalize in itertools.product([(70, 5), (200, 33)], [False, True]):
        context, gates, kernels = draw(size, 24, [(3, 3), (5, 5)], torch.float32)
        local, sums = cpu.local_aggregation_cpu(context, gates, kernels, rows=(0, size[0]))
        mean = F.gelu((sums / math.prod(size)).float())[:, None, None]
        whole = cpu.focal_aggregation_cpu(context, gates, kernels, normalize=normalize)
        mixed = (local + gates[..., -1:] * mean) / (3 if normalize else 1)
        torch.testing.assert_close(whole, mixed, rtol=2e-6, atol=2e-6)
