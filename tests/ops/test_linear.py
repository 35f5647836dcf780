"""Linear layers through oneDNN, and the GELU with its gradient, against plain PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from focalnets.ops import cpu_library, eager, gelu, linear
from focalnets.ops.eager import ONEDNN_IS_AT_HAND

needs_onednn = pytest.mark.skipif(not ONEDNN_IS_AT_HAND, reason="oneDNN is used on x86 only")


def draw(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def assert_near(got, exact):
    torch.testing.assert_close(got.double(), exact, rtol=1e-5, atol=1e-5 * max(1.0, exact.abs().max().item()))


@pytest.mark.parametrize("shape", [(1, 5), (7, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_values(shape, with_bias):
    tokens, weight, bias = draw(shape, (9, 5), (9,))
    bias = bias if with_bias else None
    with torch.no_grad():
        got = linear.linear(tokens, weight, bias)
    assert_near(got, F.linear(tokens.double(), weight.double(), None if bias is None else bias.double()))


@pytest.mark.parametrize("frozen", [(), (0,), (1,), (2,), (0, 1)])
def test_gradients(frozen):
    inputs = draw((2, 6, 5), (9, 5), (9,))
    wanted = [index for index in range(3) if index not in frozen]
    results = []
    for cast in (torch.Tensor.float, torch.Tensor.double):
        leaves = [cast(tensor).requires_grad_(index in wanted) for index, tensor in enumerate(inputs)]
        out = linear.linear(*leaves)
        results.append(torch.autograd.grad(out.square().sum(), [leaves[index] for index in wanted]))
    for got, exact in zip(*results, strict=True):
        assert_near(got, exact)


@needs_onednn
def test_who_watches_operators_sees_those_of_pytorch():
    tokens, weight = draw((4, 5), (9, 5))
    with FlopCounterMode(display=False) as counter:
        linear.linear(tokens, weight)
    assert counter.get_total_flops() == 2 * 4 * 5 * 9


@needs_onednn
def test_switching_onednn_off_is_respected():
    tokens, weight = draw((4, 5), (9, 5))
    assert eager.onednn_takes(tokens, weight)
    torch._C._set_mkldnn_enabled(False)
    try:
        assert not eager.onednn_takes(tokens, weight)
        torch.testing.assert_close(linear.linear(tokens, weight), tokens @ weight.t())
    finally:
        torch._C._set_mkldnn_enabled(True)


def test_vectorised_map_and_autocast():
    tokens, weight = draw((3, 4, 5), (9, 5))
    torch.testing.assert_close(torch.vmap(lambda tokens: linear.linear(tokens, weight))(tokens), tokens @ weight.t())
    with torch.autocast("cpu", torch.bfloat16):
        assert linear.linear(tokens, weight).dtype == torch.bfloat16


@pytest.mark.parametrize("library", ["as installed", "none"])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 40_000])
def test_gelu_and_its_gradient(monkeypatch, library, count):
    if library == "none":
        monkeypatch.setattr(cpu_library, "load", lambda: "absent")
    inputs = torch.linspace(-9, 9, count)
    exact = inputs.double().requires_grad_()
    expected = F.gelu(exact)
    upstream = torch.linspace(1, 2, count)
    (slope,) = torch.autograd.grad(expected, exact, upstream.double())
    gradient = upstream.clone()
    assert_near(gelu.gelu(inputs), expected.detach())
    assert_near(gelu.gelu_with_gradient(inputs, gradient), expected.detach())
    assert_near(gradient, slope)
    assert_near(gelu.gelu(inputs, in_place=True), expected.detach())


@pytest.mark.parametrize("count", [1, 15, 33, 40_000])
def test_gelu_and_its_gradient_in_bfloat16(count):
    inputs, upstream = torch.linspace(-9, 9, count).bfloat16(), torch.linspace(1, 2, count).bfloat16()
    exact = inputs.double().requires_grad_()
    expected = F.gelu(exact)
    (slope,) = torch.autograd.grad(expected, exact, upstream.double())
    gradient = upstream.clone()
    for got, right in (
        (gelu.gelu(inputs), expected.detach()),
        (gelu.gelu_with_gradient(inputs, gradient), expected.detach()),
        (gradient, slope),
    ):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.double(), right, rtol=2**-8, atol=3e-5)


@needs_onednn
def test_mixed_precision_is_as_near_as_that_of_pytorch():
    tokens, weight, bias = (tensor.requires_grad_() for tensor in draw((2, 30, 20), (9, 20), (9,)))
    results = []
    for function in (linear.linear, F.linear):
        with torch.autocast("cpu", torch.bfloat16):
            out = function(tokens, weight, bias)
        results.append([out, *torch.autograd.grad(out.float().square().sum(), (tokens, weight, bias))])
    exact = [tensor.detach().double().requires_grad_() for tensor in (tokens, weight, bias)]
    out = F.linear(*exact)
    right = [out, *torch.autograd.grad(out.square().sum(), exact)]
    for got, other, value in zip(*results, right, strict=True):
        assert got.dtype == other.dtype
        budget = 2 * (other - value).abs().max() + 2**-8 * value.abs().max()
        assert (got - value).abs().max() <= budget


def test_gelu_of_what_is_no_number():

    inputs = torch.tensor([float("nan"), float("inf"), -float("inf")])
    torch.testing.assert_close(gelu.gelu(inputs), torch.tensor([float("nan"), float("inf"), 0.0]), equal_nan=True)


@needs_onednn
@pytest.mark.parametrize("gradients", [True, False])
def test_the_compiler_is_told_to_take_onednn(gradients):
    tokens, weight, bias = draw((2, 3, 4, 5), (9, 5), (9,))
    leaves = [tensor.requires_grad_(gradients) for tensor in (tokens, weight, bias)]
    graphs = []

    def remember(graph, inputs):
        graphs.append(graph)
        return graph.forward

    got = torch.compile(linear.linear, fullgraph=True, backend=remember)(*leaves)
    called = [getattr(node.target, "__name__", str(node.target)) for node in graphs[0].graph.nodes]
    assert called.count("linear_cpu.default" if gradients else "conv2d") == 1
    torch.testing.assert_close(got, F.linear(*leaves))
    if gradients:
        expected = torch.autograd.grad(F.linear(*leaves).square().sum(), leaves)
        for gradient, other in zip(torch.autograd.grad(got.square().sum(), leaves), expected, strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4)


@needs_onednn
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own doing
def test_operators_check_out():
    tokens, weight, bias = draw((2, 3, 5), (9, 5), (9,))
    leaves = [tensor.requires_grad_() for tensor in (tokens, weight, bias)]
    torch.library.opcheck(torch.ops.focalnets.linear_cpu, tuple(leaves))
    tokens, weight, bias = (leaf.detach() for leaf in leaves)
    torch.library.opcheck(torch.ops.focalnets.linear_cpu, (tokens, weight, None))
