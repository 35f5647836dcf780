"""The C++ kernels of causal aggregation against the reference: values, states and every gradient."""

from __future__ import annotations

import math

import pytest
import torch

from focalnets.errors import BackendUnavailableError
from focalnets.ops import cpu, cpu_library
from focalnets.ops.causal import causal_focal_aggregation

# PyTorch scripts its own decompositions when forward mode is first used, and warns of it.
pytestmark = [
    pytest.mark.skipif(cpu.why_unavailable() is not None, reason=str(cpu.why_unavailable())),
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),
]

CASES = {
    "one position": (2, 1, 5, [(3, 1)], 1),
    "odd sizes": (3, 37, 33, [(3, 1), (5, 1), (7, 1)], 1),
    "far taps": (2, 200, 64, [(4, 1), (4, 4), (4, 40)], 2),
    "one even kernel": (1, 131, 96, [(2, 3)], 2),
    "no level": (2, 70, 16, [], 1),
    "groups of one cache line": (2, 150, 48, [(1, 2), (6, 1)], 3),
    "whole tiles": (1, 128, 17, [(3, 1), (2, 5)], 1),
}
"""Sequences, positions, channels, (kernel size, dilation) of each level, groups."""

SCALES = {"mean": 0, "one scale": 1, "three scales": 3, "by position": -1}


def draw(name, scales, *, masked=False, seed=0):
    """Arguments in float64, an upstream gradient, and a state that other positions left behind."""
    batch, length, channels, levels, groups = CASES[name]
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def arguments(length):
        decay = None if scales == 0 else normal(scales, channels) if scales > 0 else normal(batch, length, channels)
        return {
            "context": normal(batch, length, channels),
            "gates": normal(batch, length, len(levels) + max(1, scales), groups),
            "kernels": kernels,
            "dilations": [dilation for _, dilation in levels],
            "decay": None if decay is None else torch.sigmoid(2 * decay),
        }

    kernels = [normal(channels, size) / math.sqrt(size) for size, _ in levels]
    case = arguments(length)
    case["mask"] = torch.rand(batch, length, generator=generator) < 0.7 if masked else None
    _, state = causal_focal_aggregation(**arguments(9), backend="reference")
    return case, normal(batch, length, channels), state


def results(case, upstream, state, backend, dtype):
    """The value, the gradients of context, gates, kernels and decay, and the state after it."""
    context, gates, *kernels = (
        tensor.to(dtype).requires_grad_() for tensor in (case["context"], case["gates"], *case["kernels"])
    )
    decay = None if case["decay"] is None else case["decay"].to(dtype).requires_grad_()
    if state is not None:
        running = state.running if decay is None else state.running.to(torch.promote_types(dtype, torch.float32))
        state = state._replace(windows=tuple(window.to(dtype) for window in state.windows), running=running)
    value, after = causal_focal_aggregation(
        context, gates, kernels, dilations=case["dilations"], decay=decay, mask=case["mask"], state=state,
        backend=backend,
    )  # fmt: skip
    leaves = [context, gates, *kernels, *([] if decay is None else [decay])]
    gradients = torch.autograd.grad(value, leaves, upstream.to(dtype))
    return [value.detach(), *gradients, *after.windows, after.running, after.count]


def assert_within_budget(case, upstream, state, dtype=torch.float32):
    """Errors against float64 stay within twice those of the reference, plus rounding of the largest number.

    The rounding band is two units wide: recurrences go position by position here and by doubling in the reference.
    """
    exact = results(case, upstream, state, "reference", torch.float64)
    eager = results(case, upstream, state, "reference", dtype)
    ours = results(case, upstream, state, "cpu", dtype)
    assert len(exact) == len(eager) == len(ours)
    for index, (right, other, got) in enumerate(zip(exact, eager, ours, strict=True)):
        assert got.shape == right.shape
        assert got.dtype == other.dtype
        if right.numel() == 0:
            continue
        rounding = 2 * torch.finfo(dtype).eps * max(right.abs().max().item(), 1e-3)
        budget = 2 * ((other - right).abs().max().item() + rounding)
        assert (got - right).abs().max() <= budget, f"result {index} of value, gradients and state"


@pytest.fixture(params=["avx512", "avx2", "baseline"])
def instruction_set(request, monkeypatch):
    """Makes the kernels run with one of the instruction sets that this processor has."""
    monkeypatch.setenv("FOCALNETS_CPU_ISA", request.param)
    try:
        library = cpu_library.Library()
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(cpu_library, "load", lambda: library)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("scales", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("name", CASES)
def test_values_gradients_and_states(name, scales, masked):
    case, upstream, state = draw(name, scales, masked=masked)
    assert_within_budget(case, upstream, state if masked else None)


def test_state_without_mask():
    assert_within_budget(*draw("far taps", 0))


@pytest.mark.parametrize("scales", SCALES.values(), ids=SCALES)
@torch.no_grad()
def test_chunks_give_the_whole(scales):
    case, _, _ = draw("far taps", scales)
    case = {key: value.float() if isinstance(value, torch.Tensor) else value for key, value in case.items()}
    case["kernels"] = [kernel.float() for kernel in case["kernels"]]
    whole, last = causal_focal_aggregation(**case, backend="cpu")
    state, parts, first = None, [], 0
    for length in (1, 63, 1, 1, 70, 64):
        part = dict(case)
        for key in ("context", "gates", *(["decay"] if scales < 0 else [])):
            part[key] = case[key][:, first : first + length]
        result, state = causal_focal_aggregation(**part, state=state, backend="cpu")
        parts.append(result)
        first += length
    assert (torch.cat(parts, 1) - whole).abs().max() <= 1e-5
    for got, expected in zip((*state.windows, state.running), (*last.windows, last.running), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    assert_within_budget(*draw("odd sizes", -1), dtype=dtype)


def test_results_do_not_depend_on_threads(monkeypatch):
    case, upstream, state = draw("far taps", 3)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(results(case, upstream, state, "cpu", torch.float32))
    assert all(map(torch.equal, *found))


def test_padding_may_hold_anything():
    case, upstream, _ = draw("odd sizes", -1, masked=True)
    clean = results(case, upstream, None, "cpu", torch.float32)
    padding = ~case["mask"][..., None]
    spoilt = {**case, "context": case["context"].masked_fill(padding, float("nan"))}
    for got, expected in zip(results(spoilt, upstream, None, "cpu", torch.float32), clean, strict=True):
        assert torch.equal(got, expected)


def test_long_sequences_keep_their_mean():
    context = torch.ones(1, 300_000, 16) + 1e-3 * torch.randn(1, 300_000, 16)
    _, state = causal_focal_aggregation(context, torch.ones(1, 300_000, 1), [], backend="cpu")
    torch.testing.assert_close(state.running[0, 0], context[0].double().sum(0), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("change", "words"), [
    ({"context": torch.zeros(1, 4, 6, dtype=torch.float64)}, "float32"),
    ({"groups": 3}, "multiple of 16 channels"),
    ({"kernels": [torch.zeros(6, 2)] * 17}, "up to 16 focal"),
    ({"dilations": [5000]}, "reach back up to 4,096"),
])  # fmt: skip
def test_what_it_cannot_take_goes_to_the_reference(change, words):
    context = change.get("context", torch.zeros(1, 4, 6))
    kernels = [kernel.to(context.dtype) for kernel in change.get("kernels", [torch.zeros(6, 2)])]
    gates = torch.zeros(1, 4, len(kernels) + 1, change.get("groups", 1), dtype=context.dtype)
    arguments = {"dilations": change.get("dilations")}
    assert causal_focal_aggregation(context, gates, kernels, **arguments)[0].shape == context.shape
    with pytest.raises(BackendUnavailableError, match=words):
        causal_focal_aggregation(context, gates, kernels, **arguments, backend="cpu")


def forward(context, gates, kernel, decay, backend=None):
    return causal_focal_aggregation(context, gates, [kernel], decay=decay, backend=backend)[0]


def small():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(shape, generator=generator) for shape in ((2, 5, 4), (2, 5, 2, 1), (4, 3), (2, 5, 4))]


def test_transforms_take_the_reference():
    inputs = small()
    stacked = [torch.stack([tensor, tensor]) for tensor in inputs]
    torch.testing.assert_close(torch.func.vmap(forward)(*stacked)[1], forward(*inputs))
    _, tangent = torch.func.jvp(forward, tuple(inputs), tuple(inputs))
    assert tangent.abs().min() > 0
    with pytest.raises(BackendUnavailableError, match=r"torch\.func"):
        torch.func.vmap(lambda *arguments: forward(*arguments, backend="cpu"))(*stacked)


def test_second_derivatives_are_those_of_the_formula():
    found = []
    for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in small()]
        gradients = torch.autograd.grad(forward(*leaves, backend=backend).sin().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), leaves))
    for got, exact in zip(*found, strict=True):
        assert (got - exact).abs().max() <= 2e-5 * max(1, exact.abs().max())


def test_operators_are_what_their_declarations_say():
    context, gates, kernel, decay = small()
    state = causal_focal_aggregation(context, gates, [kernel], decay=decay)[1]
    operator = torch.ops.focalnets.causal_aggregation_cpu.default
    for decay_of, keep, before in ((decay, True, state), (None, False, None)):
        windows, running, count = ([], None, None) if before is None else (list(before.windows), *before[1:])
        leaves = [tensor.clone().requires_grad_(keep) for tensor in (context, gates, kernel)]
        arguments = (*leaves[:2], [leaves[2]], [1], decay_of, None, windows, running, count, keep)
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


def test_a_compiled_call_is_the_eager_one():
    inputs = [tensor.requires_grad_() for tensor in small()]
    compiled = torch.compile(forward, backend="aot_eager", fullgraph=True)
    got, expected = compiled(*inputs), forward(*inputs)
    torch.testing.assert_close(got, expected)
    for one, other in zip(
        torch.autograd.grad(got.sum(), inputs), torch.autograd.grad(expected.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(one, other)
