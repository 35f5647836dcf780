"""The C++ kernels against the reference: values and every gradient, on every instruction set this processor has."""

from __future__ import annotations

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from focalnets.errors import BackendUnavailableError
from focalnets.ops import cpu, cpu_library
from focalnets.ops.aggregation import focal_aggregation
from focalnets.ops.reference import focal_aggregation_reference

pytestmark = pytest.mark.skipif(cpu.why_unavailable() is not None, reason=str(cpu.why_unavailable()))


def draw(batch, size, channels, kernel_sizes, *, dtype=torch.float32, masked=False, seed=0):
    """Context, gates, kernels, mask and an upstream gradient."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    context, gates = normal(batch, *size, channels), normal(batch, *size, len(kernel_sizes) + 1)
    kernels = [normal(channels, *k) / torch.Size(k).numel() ** 0.5 for k in kernel_sizes]
    mask = torch.rand((batch, *size), generator=generator) < 0.7 if masked else None
    return context, gates, kernels, mask, normal(batch, *size, channels)


def results(function, context, gates, kernels, mask, upstream, *, normalize=False, dtype=None):
    """The value and the gradients of context, gates and each kernel."""
    leaves = [tensor.detach().to(dtype or tensor.dtype).requires_grad_() for tensor in (context, gates, *kernels)]
    value = function(leaves[0], leaves[1], leaves[2:], normalize=normalize, mask=mask)
    value.backward(upstream.to(value.dtype))
    return [value.detach(), *(leaf.grad for leaf in leaves)]


def assert_within_budget(case, *, normalize=False):
    """Errors against float64 stay within twice those of the float32 reference, plus rounding of the largest number."""
    exact = results(focal_aggregation_reference, *case, normalize=normalize, dtype=torch.float64)
    eager = results(focal_aggregation_reference, *case, normalize=normalize)
    ours = results(cpu.focal_aggregation_cpu, *case, normalize=normalize)
    for index, (right, other, got) in enumerate(zip(exact, eager, ours, strict=True)):
        assert got.shape == right.shape
        assert got.dtype == other.dtype
        rounding = torch.finfo(torch.float32).eps * max(right.abs().max().item(), 1e-3)
        for measure in (lambda error: error.abs().max(), lambda error: error.square().mean().sqrt()):
            budget = 2 * (measure(other - right).item() + rounding)
            assert measure(got - right).item() <= budget, f"result {index} of value, context, gates, kernels"


SQUARE = [(3, 3), (5, 5), (7, 7)]
CASES = {
    "one token": ((1, 1), 1, [(3, 3)]),
    "one token, many channels": ((1, 1), 96, SQUARE),
    "odd map": ((7, 13), 3, SQUARE),
    "last stage": ((7, 7), 96, SQUARE),
    "two levels": ((14, 14), 40, [(3, 3), (5, 5)]),
    "four levels": ((9, 12), 17, [(3, 3), (5, 5), (7, 7), (9, 9)]),
    "kernels larger than the map": ((2, 3), 17, [(7, 7), (15, 15)]),
    "wide kernels": ((16, 17), 5, [(11, 11), (13, 13), (15, 15)]),
    "rectangular kernels": ((12, 9), 17, [(1, 3), (5, 1), (3, 9), (13, 3)]),
    "single taps": ((5, 4), 3, [(1, 1), (1, 1)]),
    "no level": ((5, 6), 40, []),
    "a column": ((23, 1), 33, SQUARE),
    "a row": ((1, 61), 20, SQUARE),
    "tall map, cut into bands": ((200, 6), 17, SQUARE),
    "wide map": ((6, 150), 40, [(3, 3), (5, 5)]),
    "one axis": ((37,), 19, [(3,), (5,), (11,)]),
    "one axis, no level": ((4,), 2, []),
}


@pytest.fixture(params=["avx512", "avx2", "baseline"])
def instruction_set(request, monkeypatch):
    """Makes the kernels run with one of the instruction sets that this processor has."""
    monkeypatch.setenv("FOCALNETS_CPU_ISA", request.param)
    try:
        library = cpu_library.Library()
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(cpu_library, "load", lambda: library)
    assert cpu.instruction_set() == request.param


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, masked):
    size, channels, kernel_sizes = CASES[name]
    case = draw(2, size, channels, kernel_sizes, masked=masked)
    assert_within_budget(case, normalize=masked)


def test_many_images_and_channels():
    assert_within_budget(draw(40, (3, 5), 130, [(3, 3), (5, 5)]))


def test_unknown_instruction_set_is_named(monkeypatch):
    monkeypatch.setenv("FOCALNETS_CPU_ISA", "mmx")
    with pytest.raises(BackendUnavailableError, match="asks for 'mmx', which is none of avx512, avx2 and baseline"):
        cpu_library.Library()


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setenv("FOCALNETS_CPU_LIBRARY", "nowhere.so")
    with pytest.raises(BackendUnavailableError, match="FOCALNETS_CPU_LIBRARY names nowhere"):
        cpu_library.Library()


def test_library_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(cpu_library, "INTERFACE", 7)
    with pytest.raises(BackendUnavailableError, match="another version"):
        cpu_library.Library()


def test_without_library_the_backend_says_so(monkeypatch, tmp_path):
    context, gates, kernels, _, _ = draw(1, (5, 6), 4, [(3, 3)])
    monkeypatch.setattr(cpu_library, "__file__", str(tmp_path / "cpu.py"))
    monkeypatch.delenv("FOCALNETS_CPU_LIBRARY", raising=False)
    reason = cpu_library.load.__wrapped__()
    monkeypatch.setattr(cpu_library, "load", lambda: reason)
    assert "were not built" in cpu.why_unavailable()
    with pytest.raises(BackendUnavailableError, match="were not built"):
        cpu.focal_aggregation_cpu(context, gates, kernels)


@pytest.mark.parametrize("masked", [False, True])
def test_slices_of_one_projection_are_read_in_place(masked):
    channels, levels = 20, 3
    _, _, kernels, mask, upstream = draw(2, (6, 9), channels, SQUARE, masked=masked)
    projection = torch.randn(2, 6, 9, 2 * channels + levels + 1, generator=torch.Generator().manual_seed(1))
    _, context, gates = projection.split([channels, channels, levels + 1], dim=-1)
    assert_within_budget((context, gates, kernels, mask, upstream))


@pytest.mark.parametrize(
    "arrange",
    [
        lambda tensor: tensor.transpose(1, 2).contiguous().transpose(1, 2),
        lambda tensor: tensor.movedim(-1, 1).contiguous().movedim(1, -1),
        lambda tensor: torch.stack([tensor, tensor], dim=-1)[..., 0],
        lambda tensor: tensor[:1].expand_as(tensor),
        lambda tensor: torch.cat([tensor, tensor], dim=2)[:, :, ::2],
    ],
    ids=["rows and columns exchanged", "channels first", "every second channel", "expanded", "every second column"],
)
def test_any_strides(arrange):
    context, gates, kernels, mask, upstream = draw(3, (6, 8), 20, [(3, 3), (5, 5)], masked=True)
    assert_within_budget((arrange(context), arrange(gates), kernels, mask[:1].expand_as(mask), arrange(upstream)))


def test_wanted_gradients_only():
    context, gates, kernels, mask, upstream = draw(2, (9, 8), 20, [(3, 3), (5, 5)], masked=True)
    every = results(cpu.focal_aggregation_cpu, context, gates, kernels, mask, upstream)[1:]
    for wanted in ([0], [1], [2], [0, 1], [1, 3], [2, 3], [0, 2, 3]):
        leaves = [t.clone().requires_grad_(index in wanted) for index, t in enumerate((context, gates, *kernels))]
        cpu.focal_aggregation_cpu(leaves[0], leaves[1], leaves[2:], mask=mask).backward(upstream)
        for index, (leaf, expected) in enumerate(zip(leaves, every, strict=True)):
            assert (leaf.grad is not None) == (index in wanted)
            assert leaf.grad is None or torch.equal(leaf.grad, expected)


def test_empty_batch():
    context, gates, kernels, mask, upstream = draw(0, (4, 5), 8, [(3, 3)], masked=True)
    value, context_gradient, gates_gradient, kernel_gradient = results(
        cpu.focal_aggregation_cpu, context, gates, kernels, mask, upstream
    )
    assert value.shape == context_gradient.shape == (0, 4, 5, 8)
    assert gates_gradient.shape == (0, 4, 5, 2)
    assert torch.equal(kernel_gradient, torch.zeros(8, 3, 3))


def test_image_without_valid_tokens_is_zero():
    context, gates, kernels, mask, upstream = draw(2, (5, 6), 8, [(3, 3)], masked=True)
    mask[1] = False
    for result in results(cpu.focal_aggregation_cpu, context, gates, kernels, mask, upstream)[:3]:
        assert torch.isfinite(result).all()
        assert not result[1].any()


def test_padding_may_hold_anything():
    context, gates, kernels, mask, upstream = draw(2, (5, 6), 8, SQUARE, masked=True)
    clean = results(cpu.focal_aggregation_cpu, context, gates, kernels, mask, upstream)
    context[~mask], gates[~mask] = float("nan"), float("nan")
    dirty = results(cpu.focal_aggregation_cpu, context, gates, kernels, mask, upstream)
    for got, expected in zip(dirty, clean, strict=True):
        assert torch.equal(got, expected)


def test_nan_is_not_hidden():
    context, gates, kernels, _, _ = draw(1, (5, 6), 8, SQUARE)
    context[0, 2, 3, 4] = float("nan")
    value = cpu.focal_aggregation_cpu(context, gates, kernels)
    assert value[..., 4].isnan().all()
    assert not value[..., :4].isnan().any()


HALF_CASES = ["odd map", "last stage", "four levels", "no level", "a row", "tall map, cut into bands", "one axis"]


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", HALF_CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype, name, masked):
    size, channels, kernel_sizes = CASES[name]
    case = draw(2, size, channels, kernel_sizes, dtype=dtype, masked=masked)
    exact = results(focal_aggregation_reference, *case, normalize=masked, dtype=torch.float64)
    for right, got in zip(exact, results(cpu.focal_aggregation_cpu, *case, normalize=masked), strict=True):
        assert got.dtype == dtype
        assert (got - right).abs().max() <= torch.finfo(dtype).eps * right.abs().max()


def test_float32_kernels_beside_a_context_in_16_bits_keep_their_precision():
    context, gates, kernels, _, upstream = draw(2, (6, 7), 20, [(3, 3), (5, 5)], dtype=torch.bfloat16)
    kernels = [(kernel.float() * 1.001).requires_grad_() for kernel in kernels]
    focal_aggregation(context, gates, kernels).backward(upstream)
    exact = [kernel.detach().double().requires_grad_() for kernel in kernels]
    focal_aggregation_reference(context.double(), gates.double(), exact).backward(upstream.double())
    for kernel, right in zip(kernels, exact, strict=True):
        assert kernel.grad.dtype == torch.float32
        torch.testing.assert_close(kernel.grad.double(), right.grad, rtol=1e-4, atol=1e-4)
    plain = [kernel.detach().requires_grad_() for kernel in kernels]
    focal_aggregation(context, gates, plain, backend="reference").backward(upstream)
    assert all(kernel.grad.dtype == torch.float32 for kernel in plain)


def test_maps_in_bfloat16_are_read_where_they_are():
    projected = torch.randn(2, 6, 7, 53).bfloat16()
    gates, context, _ = projected.split([3, 40, 10], -1)
    kernels = [torch.randn(40, 3, 3), torch.randn(40, 5, 5)]
    upstream = torch.randn(2, 7, 6, 40).bfloat16().transpose(1, 2)
    got = results(cpu.focal_aggregation_cpu, context, gates, kernels, None, upstream)
    leaves = [tensor.contiguous() for tensor in (context, gates)]
    apart = results(cpu.focal_aggregation_cpu, *leaves, kernels, None, upstream.contiguous())
    assert all(torch.equal(one, other) for one, other in zip(got, apart, strict=True))


def with_threads(count, compute):

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return compute()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("size", [(14, 14), (150, 20)])
def test_results_do_not_depend_on_threads(size):
    case = draw(3, size, 40, SQUARE)
    with_one, with_two, with_five = (
        with_threads(n, lambda: results(cpu.focal_aggregation_cpu, *case)) for n in (1, 2, 5)
    )
    for a, b, c in zip(with_one, with_two, with_five, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_calls_from_several_threads():
    cases = [draw(2, size, 24, SQUARE, seed=seed) for seed, size in enumerate([(30, 31), (5, 70), (64, 9), (14, 14)])]
    alone = [results(cpu.focal_aggregation_cpu, *case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda case: results(cpu.focal_aggregation_cpu, *case), cases * 5))
    for expected, got in zip(alone * 5, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # raised by opcheck itself
@pytest.mark.parametrize("name", ["odd map", "no level", "one axis"])
@pytest.mark.parametrize("masked", [False, True])
def test_opcheck(name, masked):
    size, channels, kernel_sizes = CASES[name]
    context, gates, kernels, mask, _ = draw(2, size, channels, kernel_sizes, masked=masked)
    leaves = [tensor.requires_grad_() for tensor in (context, gates, *kernels)]
    torch.library.opcheck(torch.ops.focalnets.focal_aggregation_cpu, (leaves[0], leaves[1], leaves[2:], mask, True))


def test_opcheck_of_the_backward_operator():
    context, gates, kernels, mask, upstream = draw(2, (5, 6), 12, [(3, 3), (1, 5)], masked=True)
    means = torch.randn(2, 12)
    arguments = (upstream, context, gates, kernels, mask, False, means, [True, False, True])
    torch.library.opcheck(torch.ops.focalnets.focal_aggregation_cpu_backward, arguments)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_without_graph_breaks(dynamic):
    compiled = torch.compile(focal_aggregation, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for size in ((6, 7), (9, 4)):
        context, gates, kernels, _, upstream = draw(2, size, 12, [(3, 3), (5, 5)])

        def by_name(context, gates, kernels, *, normalize, mask, function=compiled):
            return function(context, gates, kernels, normalize=normalize, mask=mask, backend="cpu")

        expected = results(cpu.focal_aggregation_cpu, context, gates, kernels, None, upstream)
        for a, b in zip(results(by_name, context, gates, kernels, None, upstream), expected, strict=True):
            assert torch.equal(a, b)


def test_export():
    class Aggregation(torch.nn.Module):
        def __init__(self, kernels):
            super().__init__()
            self.kernels = torch.nn.ParameterList(kernels)

        def forward(self, context, gates):
            return focal_aggregation(context, gates, list(self.kernels), backend="cpu")

    context, gates, kernels, _, _ = draw(2, (6, 7), 12, [(3, 3), (5, 5)])
    module = Aggregation(kernels)
    program = torch.export.export(copy.deepcopy(module), (context, gates))
    assert torch.equal(program.module()(context, gates), module(context, gates))


def test_operations_are_counted_as_convolutions():
    context, gates, kernels, _, _ = draw(2, (6, 7), 12, [(3, 3), (5, 5)])
    leaves = [tensor.requires_grad_() for tensor in (context, gates, *kernels)]
    with FlopCounterMode(display=False) as ours:
        value = cpu.focal_aggregation_cpu(leaves[0], leaves[1], leaves[2:])
    with FlopCounterMode(display=False) as convolutions:
        maps = leaves[0].movedim(-1, 1)
        for kernel in leaves[2:]:
            maps = F.conv2d(maps, kernel.unsqueeze(1), padding=kernel.shape[-1] // 2, groups=12)
    assert ours.get_total_flops() == convolutions.get_total_flops() > 0
    with FlopCounterMode(display=False) as backward:  # PyTorch's own count for grouped convolutions is too high
        value.sum().backward()
    assert backward.get_total_flops() == 2 * ours.get_total_flops()


def test_training_saves_no_level():
    context, gates, kernels, _, _ = draw(2, (16, 16), 24, SQUARE)
    saved = []
    leaves = [tensor.requires_grad_() for tensor in (context, gates, *kernels)]
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        cpu.focal_aggregation_cpu(leaves[0], leaves[1], leaves[2:])
    extra = [tensor.numel() for tensor in saved if all(tensor.data_ptr() != leaf.data_ptr() for leaf in leaves)]
    assert sum(extra) <= 2 * 24


def test_unsupported_tensors_get_a_reason():
    context, gates, kernels, mask, _ = draw(1, (5, 6), 4, [(3, 3)])
    assert cpu.why_unsupported(context, gates, kernels, mask) is None
    assert "float64" in cpu.why_unsupported(context.double(), gates, kernels, mask)
    assert "meta" in cpu.why_unsupported(context.to("meta"), gates, kernels, mask)
    volume = torch.zeros(1, 2, 2, 2, 4)
    assert "got 3" in cpu.why_unsupported(volume, torch.zeros(1, 2, 2, 2, 1), [], None)
    assert "(65, 3)" in cpu.why_unsupported(context, gates, [torch.zeros(4, 65, 3)], mask)
    assert "got 17" in cpu.why_unsupported(context, gates, kernels * 17, mask)


def test_library_lies_beside_the_module():
    if "FOCALNETS_CPU_LIBRARY" not in os.environ:
        assert list(Path(cpu.__file__).parent.glob("_focal_cpu.*"))
