"""What must hold for any focal modulation network, whatever its weights."""

from __future__ import annotations

import pytest
import torch

import focalnets
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import FocalModulation


@pytest.fixture
def network():
    torch.manual_seed(0)
    config = FocalNetConfig(
        depths=(1, 1, 1, 1), embed_dim=8, num_classes=4, initialization="fan_in", focal_levels=(3, 3, 3, 3)
    )
    return FocalNet(config).eval()


def test_the_order_of_a_batch_does_not_matter(network):
    images, order = torch.randn(5, 3, 45, 39), torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(network(images)[order], network(images[order]))


def test_an_image_does_not_see_the_rest_of_its_batch(network):
    images = torch.randn(3, 3, 40, 40)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]))


def test_away_from_borders_aggregation_moves_with_its_input():
    generator = torch.Generator().manual_seed(0)
    kernels = [torch.randn(4, k, k, generator=generator) / k for k in (3, 5)]
    context, gates = torch.zeros(1, 24, 24, 4), torch.zeros(1, 24, 24, 3)
    context[:, 9:14, 9:14] = torch.randn(1, 5, 5, 4, generator=generator)
    gates[:, 6:17, 6:17] = torch.randn(1, 11, 11, 3, generator=generator)
    still = focalnets.focal_aggregation(context, gates, kernels)
    moved = focalnets.focal_aggregation(context.roll((3, -2), (1, 2)), gates.roll((3, -2), (1, 2)), kernels)
    torch.testing.assert_close(still.roll((3, -2), (1, 2)), moved)


def test_zero_gates_leave_only_biases():
    layer = FocalModulation(6, 2, 3)
    with torch.no_grad():
        layer.input_projection.weight[12:] = 0
        layer.input_projection.bias[12:] = 0
    tokens = torch.randn(1, 5, 5, 6)
    query = layer.input_projection(tokens)[..., :6]
    expected = layer.output_projection(query * layer.modulator_projection.bias)
    torch.testing.assert_close(layer(tokens), expected)


def test_without_levels_only_the_global_mean_is_gathered():
    layer = FocalModulation(6, 0)
    tokens = torch.randn(2, 4, 4, 6)
    context, gate = layer.input_projection(tokens)[..., 6:12], layer.input_projection(tokens)[..., 12:]
    aggregated = gate * torch.nn.functional.gelu(context.mean((1, 2), keepdim=True))
    expected = layer.output_projection(layer.input_projection(tokens)[..., :6] * layer.modulator_projection(aggregated))
    torch.testing.assert_close(layer(tokens), expected)


def test_the_receptive_field_of_a_level_is_as_published():
    """Level l sees 1 + sum(k_i - 1) positions."""
    kernels = [torch.ones(1, k, k) for k in (3, 5)]
    context = torch.zeros(1, 21, 21, 1, requires_grad=True)
    gates = torch.zeros(1, 21, 21, 3)
    gates[0, 10, 10, 1] = 1
    (focalnets.focal_aggregation(context + 1, gates, kernels)).sum().backward()
    rows = context.grad[0, ..., 0].any(1).nonzero().flatten()
    assert (rows.min().item(), rows.max().item()) == (10 - 3, 10 + 3)
