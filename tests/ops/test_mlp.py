"""The MLP that works by groups of rows equals the plain formula, in values and in every gradient."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from focalnets.models.layers import FocalBlock, FocalModulation, Mlp
from focalnets.models.mixers import NeighbourhoodPooling
from focalnets.models.rows import goes_by_rows
from focalnets.ops import mlp as mlp_module
from focalnets.ops.eager import ONEDNN_IS_AT_HAND
from focalnets.ops.mlp import hidden_rows, mlp

needs_onednn = pytest.mark.skipif(not ONEDNN_IS_AT_HAND, reason="oneDNN is used on x86 only")


@pytest.fixture
def small_caches(monkeypatch):
    """Make groups and what may be kept so small that a tiny map needs several groups."""
    monkeypatch.setattr(mlp_module, "_HIDDEN_BYTES_AT_ONCE", 4)
    monkeypatch.setattr(mlp_module, "_HIDDEN_BYTES_KEPT", 0)


def draw(tokens, dim, hidden, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, tokens, dim), (hidden, dim), (hidden,), (dim, hidden), (dim,)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("tokens", [1, 64, 65, 200])
def test_values_and_gradients(small_caches, tokens):
    assert hidden_rows(24) == 64
    inputs = draw(tokens, 6, 24)
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    expected = F.linear(F.gelu(F.linear(exact[0], *exact[1:3])), *exact[3:])
    got = mlp(*inputs)
    assert got.grad_fn.name() == "ViewBackward0"
    upstream = torch.linspace(-1, 1, got.numel()).view_as(got)
    torch.testing.assert_close(got, expected.float(), rtol=1e-5, atol=1e-4)
    expected.backward(upstream.double())
    got.backward(upstream)
    for tensor, reference in zip(inputs, exact, strict=True):
        scale = reference.grad.abs().max().item()
        torch.testing.assert_close(tensor.grad, reference.grad.float(), rtol=1e-5, atol=2e-6 * scale)


@pytest.mark.parametrize("kept_bytes", [0, 2**20])
def test_groups_add_up_whether_the_widened_map_is_kept_or_not(small_caches, monkeypatch, kept_bytes):
    monkeypatch.setattr(mlp_module, "_HIDDEN_BYTES_KEPT", kept_bytes)
    inputs = draw(150, 6, 24)
    saved = mlp(*inputs).grad_fn.next_functions[0][0].saved_tensors
    assert len(saved[-1]) == (150 if kept_bytes else 0)
    plain = F.linear(F.gelu(F.linear(inputs[0], *inputs[1:3])), *inputs[3:])
    expected = torch.autograd.grad(plain.square().sum(), inputs)
    got = torch.autograd.grad(mlp(*inputs).square().sum(), inputs)
    for gradient, other in zip(got, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())


def test_other_dtypes_take_the_plain_formula(small_caches):
    assert mlp(*draw(5, 6, 24, torch.float64)).dtype == torch.float64


def gradients_in(function, inputs, upstream):
    result = function(*inputs)
    return [result, *torch.autograd.grad(result, inputs, upstream.to(result.dtype))]


def plain_mlp(tokens, weight1, bias1, weight2, bias2):
    return F.linear(F.gelu(F.linear(tokens, weight1, bias1)), weight2, bias2)


@pytest.mark.parametrize("kept_bytes", [0, 2**20])
@pytest.mark.parametrize("mixed", [True, False])
def test_bfloat16_is_as_near_as_the_plain_formula_in_it(small_caches, monkeypatch, mixed, kept_bytes):
    monkeypatch.setattr(mlp_module, "_HIDDEN_BYTES_KEPT", kept_bytes)
    inputs = draw(150, 6, 24, torch.float32 if mixed else torch.bfloat16)
    upstream = torch.linspace(-1, 1, 150 * 6).view(1, 150, 6)
    exact = gradients_in(plain_mlp, [tensor.detach().double().requires_grad_() for tensor in inputs], upstream)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        got, plain = gradients_in(mlp, inputs, upstream), gradients_in(plain_mlp, inputs, upstream)
    assert got[0].dtype == torch.bfloat16
    for one, other, right in zip(got, plain, exact, strict=True):
        assert one.dtype == other.dtype
        budget = 2 * (other - right).abs().max() + 2**-8 * right.abs().max()
        assert (one - right).abs().max() <= budget


@pytest.mark.parametrize("layout", ["tokens last", "channels last", "every second token"])
@pytest.mark.parametrize("modulation_norm", [False, True])
@pytest.mark.parametrize("post_norm", [False, True])
def test_inference_by_rows_equals_training_mode_values(small_caches, post_norm, modulation_norm, layout):
    torch.manual_seed(0)
    modulation = FocalModulation(6, 2, modulation_norm=modulation_norm, normalize_modulator=True)
    block = FocalBlock(modulation, post_norm=post_norm, layer_scale=0.7).eval()
    tokens, mask = torch.randn(2, 11, 13, 6), torch.ones(2, 11, 13, dtype=torch.bool)
    mask[0, 7:] = False
    if layout == "tokens last":
        tokens = tokens.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    elif layout == "every second token":
        tokens = torch.randn(2, 11, 26, 6)[:, :, ::2]
    before = tokens.clone()
    with torch.no_grad():
        assert goes_by_rows(block, tokens, Mlp)
        by_rows, masked = block(tokens), block(tokens, mask)
    torch.testing.assert_close(by_rows, block(tokens))
    torch.testing.assert_close(masked, block(tokens, mask))
    assert by_rows.is_contiguous()
    assert torch.equal(tokens, before)


@pytest.mark.parametrize("layer_scale", [None, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inference_by_rows_in_mixed_precision_gives_the_dtype_of_training(small_caches, dtype, layer_scale):
    torch.manual_seed(0)
    block = FocalBlock(FocalModulation(6, 2), layer_scale=layer_scale).eval()
    tokens = torch.randn(1, 11, 13, 6).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = block(tokens)
        with torch.no_grad():
            assert goes_by_rows(block, tokens, Mlp)
            by_rows = block(tokens)
    assert by_rows.dtype == expected.dtype
    torch.testing.assert_close(by_rows, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("shape", [(2, 143), (1, 5, 6, 7)])
def test_sequences_and_volumes_by_rows(small_caches, shape):
    torch.manual_seed(0)
    block = FocalBlock(FocalModulation(6, 2, spatial_dims=len(shape) - 1)).eval()
    tokens = torch.randn(*shape, 6)
    with torch.no_grad():
        assert goes_by_rows(block, tokens, Mlp)
        by_rows = block(tokens)
    torch.testing.assert_close(by_rows, block(tokens))


class MeanOfAll(nn.LayerNorm):
    """A norm in which tokens meet, so that it must be given all of them."""

    def forward(self, tokens):
        return super().forward(tokens - tokens.mean((0, 1, 2), keepdim=True))


@pytest.mark.parametrize("how", ["replaced", "patched"])
@pytest.mark.parametrize(
    "name",
    ["norm1", "norm2", "mlp.fc1", "modulation.norm", "modulation.input_projection", "modulation.modulator_projection"],
)
def test_parts_that_were_replaced_are_given_whole_maps(small_caches, name, how):
    torch.manual_seed(0)
    block = FocalBlock(FocalModulation(6, 2, modulation_norm=True)).eval()
    tokens = torch.randn(2, 11, 13, 6)
    before = block(tokens)
    if how == "patched":
        part = block.get_submodule(name)
        inner = part.forward
        part.forward = lambda inputs: inner(inputs - inputs.mean((0, 1, 2), keepdim=True))
    elif "norm" in name:
        block.set_submodule(name, MeanOfAll(6))
    else:
        block.set_submodule(name, nn.Sequential(MeanOfAll(6), block.get_submodule(name)))
    expected = block(tokens)
    assert not torch.allclose(before, expected)
    with torch.no_grad():
        torch.testing.assert_close(block(tokens), expected)


def test_branches_are_dropped_from_whole_images(small_caches):
    block = FocalBlock(FocalModulation(6, 2), drop_path=0.5).eval()
    block.drop_path.train()
    tokens = torch.randn(16, 11, 13, 6)
    torch.manual_seed(0)
    expected = block(tokens)
    torch.manual_seed(0)
    with torch.no_grad():
        torch.testing.assert_close(block(tokens), expected)


def test_hooks_for_all_modules_see_whole_maps(small_caches):
    block, tokens, shapes = FocalBlock(FocalModulation(6, 2)).eval(), torch.randn(2, 11, 13, 6), {}

    def remember(module, inputs, output):
        shapes.setdefault(type(module), []).append(tuple(output.shape))

    handle = nn.modules.module.register_module_forward_hook(remember)
    try:
        with torch.no_grad():
            block(tokens)
    finally:
        handle.remove()
    assert shapes[FocalModulation] == shapes[FocalBlock] == [tuple(tokens.shape)]
    assert shapes[nn.LayerNorm] == 2 * [tuple(tokens.shape)]


def test_several_sets_of_weights_at_once(small_caches):
    torch.manual_seed(0)
    blocks = [FocalBlock(FocalModulation(6, 2, backend="reference")).eval() for _ in range(2)]
    tokens = torch.randn(1, 11, 13, 6)
    weights, _ = torch.func.stack_module_state(blocks)
    with torch.no_grad():
        together = torch.vmap(
            lambda weights_of_block: torch.func.functional_call(blocks[0], weights_of_block, (tokens,))
        )(weights)
        for block, result in zip(blocks, together, strict=True):
            torch.testing.assert_close(block(tokens), result)


def test_another_mixer_of_tokens_goes_by_rows_after_it(small_caches):
    torch.manual_seed(0)
    block = FocalBlock(FocalModulation(6, 2)).eval()
    block.modulation = NeighbourhoodPooling()
    tokens = torch.randn(2, 11, 13, 6)
    with torch.no_grad():
        assert goes_by_rows(block, tokens, Mlp)
        by_rows = block(tokens)
    torch.testing.assert_close(by_rows, block(tokens))


def test_inference_changes_neither_its_input_nor_what_hooks_saw(small_caches):
    block = FocalBlock(FocalModulation(6, 2)).eval()
    tokens, seen = torch.randn(1, 9, 9, 6), {}

    def remember(name):
        def hook(module, inputs, output):
            seen[name] = output, output.clone()

        return hook

    for name, module in block.named_modules():
        module.register_forward_hook(remember(name))
    before = tokens.clone()
    with torch.inference_mode():
        block(tokens)
    assert torch.equal(tokens, before)
    assert {"modulation.modulator_projection", "modulation.input_projection", "modulation"} <= set(seen)
    for name, (output, copied) in seen.items():
        assert torch.equal(output, copied), name


def test_hooks_and_adapters_on_the_linear_layers_are_respected(small_caches):
    torch.manual_seed(0)
    layer = Mlp(6, 24)
    hooked, calls = copy.deepcopy(layer), []
    hooked.fc1.register_forward_hook(lambda *_: calls.append(1))
    tokens = torch.randn(1, 100, 6)
    torch.testing.assert_close(hooked(tokens), layer(tokens))
    assert calls == [1]
    torch.nn.utils.parametrizations.weight_norm(hooked.fc2)
    assert hooked(tokens).shape == tokens.shape


def test_hooks_see_whole_maps(small_caches):
    block = FocalBlock(FocalModulation(6, 2)).eval()
    tokens, shapes = torch.randn(2, 11, 13, 6), []
    expected = block(tokens)
    block.mlp.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    with torch.no_grad():
        torch.testing.assert_close(block(tokens), expected)
    assert shapes == [(2, 11, 13, 6)]


def test_nothing_is_bypassed_that_was_put_around_a_layer():
    block = FocalBlock(FocalModulation(6, 2)).eval()
    tokens = torch.randn(1, 4, 4, 6)
    before = block(tokens)
    inner = block.mlp.fc2.forward
    block.mlp.fc2.forward = lambda inputs: 0 * inner(inputs)
    assert not torch.allclose(block(tokens), before)


def test_gradients_have_the_dtype_of_the_tokens_whatever_the_default():
    inputs = draw(70, 6, 24)
    result = mlp(*inputs).sum()
    torch.set_default_dtype(torch.float64)
    try:
        result.backward()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(tensor.grad.dtype == torch.float32 for tensor in inputs)


def test_what_needs_no_gradient_keeps_no_widened_map(monkeypatch):
    kept, original = [], mlp_module._by_rows
    monkeypatch.setattr(mlp_module, "_by_rows", lambda *arguments: kept.append(arguments[-1]) or original(*arguments))
    inputs = draw(70, 6, 24)
    mlp(*inputs)
    assert kept == [True]
    assert mlp(*[tensor.detach() for tensor in inputs]).grad_fn is None
    assert kept == [True]


def test_an_empty_batch_has_zero_gradients():
    inputs = draw(3, 6, 24)
    mlp(inputs[0][:, :0], *inputs[1:]).sum().backward()
    assert all(tensor.grad is None or not tensor.grad.any() for tensor in inputs)


@pytest.mark.parametrize("frozen", [0, 1, 2, 3, 4])
def test_frozen_or_missing_arguments(small_caches, frozen):
    inputs = draw(70, 6, 24)
    wanted = [tensor for index, tensor in enumerate(inputs) if index != frozen]
    inputs[frozen].requires_grad_(False)
    plain = F.linear(F.gelu(F.linear(inputs[0], *inputs[1:3])), *inputs[3:])
    for got, expected in zip(
        torch.autograd.grad(mlp(*inputs).sum(), wanted), torch.autograd.grad(plain.sum(), wanted), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    mlp(inputs[0], inputs[1], None, inputs[3], None).sum().backward()


@needs_onednn
@pytest.mark.parametrize("kept_bytes", [0, 2**20])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own doing
def test_the_operator_that_the_compiler_sees_checks_out(small_caches, monkeypatch, kept_bytes):
    monkeypatch.setattr(mlp_module, "_HIDDEN_BYTES_KEPT", kept_bytes)
    inputs = draw(150, 6, 24)
    compiled = torch.compile(mlp, fullgraph=True, backend="aot_eager")
    plain = F.linear(F.gelu(F.linear(inputs[0], *inputs[1:3])), *inputs[3:])
    expected = torch.autograd.grad(plain.square().sum(), inputs)
    got = torch.autograd.grad(compiled(*inputs).square().sum(), inputs)
    for gradient, other in zip(got, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())
    with torch.no_grad():
        torch.testing.assert_close(compiled(*inputs), plain)
    flat = (inputs[0][0].detach().requires_grad_(), *inputs[1:])
    torch.library.opcheck(torch.ops.focalnets.mlp_cpu, (*flat, bool(kept_bytes)))
    kept = F.linear(*flat[:3]) if kept_bytes else torch.empty(0, 24)
    plain_inputs = [tensor.detach() for tensor in (torch.ones(150, 6), *flat[:4], kept)]
    torch.library.opcheck(torch.ops.focalnets.mlp_cpu_backward, (*plain_inputs, [True, False, True, True, True]))


def test_gradients_can_be_differentiated():
    inputs = draw(5, 6, 24)
    plain = F.linear(F.gelu(F.linear(inputs[0], *inputs[1:3])), *inputs[3:])
    second = []
    for value in (mlp(*inputs), plain):
        (first,) = torch.autograd.grad(value.square().sum(), inputs[0], create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), inputs[1])[0])
    torch.testing.assert_close(*second, rtol=1e-4, atol=1e-4 * second[1].abs().max().item())
