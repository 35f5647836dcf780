"""Mixers that focal modulation of sequences is measured against: each beside a slow form of itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from focalnets.models.sequence import FocalLanguageModel, begin_steps
from focalnets.models.sequence_config import LanguageConfig
from focalnets.models.sequence_peers import LongConvolution, ShortConvolution, linear_recurrence
from focalnets.models.sequence_step import FusedStep
from focalnets.ops import cpu

CONFIG = LanguageConfig(vocabulary_size=11, dim=12, depth=2, mixer="long_convolution", short_convolution=3)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 33])
@pytest.mark.parametrize("begins", [False, True])
def test_recurrence_is_its_loop(length, begins):
    torch.manual_seed(0)
    decay, inflow = torch.rand(2, length, 3, dtype=torch.float64), torch.randn(2, length, 3, dtype=torch.float64)
    initial = torch.randn(2, 3, dtype=torch.float64) if begins else None
    state, expected = torch.zeros(2, 3, dtype=torch.float64) if initial is None else initial, []
    for position in range(length):
        state = decay[:, position] * state + inflow[:, position]
        expected.append(state)
    torch.testing.assert_close(linear_recurrence(decay, inflow, initial), torch.stack(expected, 1))


def test_derivatives_of_the_recurrence():
    torch.manual_seed(0)
    inputs = [torch.rand(1, 5, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(linear_recurrence, [*inputs, torch.rand(1, 2, dtype=torch.float64)])


def test_short_convolution_is_that_of_torch():
    torch.manual_seed(0)
    layer, tokens = ShortConvolution(5, 4), torch.randn(2, 9, 5)
    expected = F.conv1d(F.pad(tokens.mT, (3, 0)), layer.kernel[:, None], groups=5).mT
    torch.testing.assert_close(layer(tokens)[0], expected)


@torch.no_grad()
def test_long_convolution_is_the_sum_over_its_filter():
    torch.manual_seed(0)
    layer, tokens = LongConvolution(CONFIG.replace(short_convolution=0)), torch.randn(1, 20, 12)
    query, key, value = layer.input_projection(tokens).chunk(3, -1)
    rate = layer.rate.exp().view(-1, 12)
    ages = torch.arange(20).view(-1, 1, 1)
    oscillations = torch.exp(-rate * ages) * torch.stack(
        [torch.cos(rate * layer.angle.view(-1, 12) * ages), -torch.sin(rate * layer.angle.view(-1, 12) * ages)]
    )
    weights = torch.stack([layer.real.view(-1, 12), layer.imaginary.view(-1, 12)]).unsqueeze(1) * (2 * rate).sqrt()
    filters = (weights * oscillations).sum((0, 2))
    entering = key * value
    mixed = (
        torch.stack([(filters[: place + 1].flip(0) * entering[0, : place + 1]).sum(0) for place in range(20)])
        + layer.skip * entering[0]
    )
    expected = layer.output_projection(query * mixed)
    torch.testing.assert_close(layer(tokens)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixer", ["recurrence", "long_convolution"])
@torch.no_grad()
def test_the_state_does_not_grow(mixer):
    network = FocalLanguageModel(CONFIG.replace(mixer=mixer)).eval()
    sizes = []
    for length in (10, 200):
        _, state = network(torch.randint(11, (1, length)))
        for _ in range(2):
            _, state = network(torch.randint(11, (1, 1)), state)
        sizes.append([part.numel() for entry in state for part in entry])
    assert sizes[0] == sizes[1]


@pytest.mark.skipif(cpu.why_unavailable() is not None, reason=str(cpu.why_unavailable()))
@pytest.mark.parametrize(
    ("fields", "fuses"),
    [
        ({"mixer": "attention", "short_convolution": 0}, True),
        ({"mixer": "attention"}, False),
        ({"mixer": "recurrence"}, False),
        ({"mixer": "long_convolution"}, False),
    ],
)
@torch.inference_mode()
def test_only_plain_attention_has_a_fused_step(fields, fuses):
    network = FocalLanguageModel(CONFIG.replace(attention_heads=2, **fields)).eval()
    tokens = torch.randint(11, (1, 8))
    _, state = network(tokens[:, :7])
    step = begin_steps(network, state)
    assert isinstance(step, FusedStep) == fuses
    torch.testing.assert_close(step(tokens[:, 7]), network(tokens)[0][:, -1], rtol=1e-4, atol=1e-5)


def test_learns_in_bfloat16():
    for mixer in ("attention", "recurrence", "long_convolution"):
        torch.manual_seed(0)
        network, tokens = FocalLanguageModel(CONFIG.replace(mixer=mixer, attention_heads=2)), torch.randint(11, (2, 33))
        losses = []
        for dtype in (torch.float32, torch.bfloat16):
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
                logits, _ = network(tokens[:, :-1])
                losses.append(F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten()))
        losses[1].backward()
        assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.02)
        assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
