"""Every variation is a working network; mixers compute what their names say."""

from __future__ import annotations

import pytest
import torch

from focalnets.compare.entrants import find_entrants, multiply_accumulates
from focalnets.compare.variations import VARIATIONS, add_variation, build_variation
from focalnets.errors import ConfigError, ShapeError, UnknownNameError
from focalnets.models.complexity import complexity
from focalnets.models.layers import FocalModulation
from focalnets.models.mixers import AlteredModulation, GlobalAttention, SlidingAttention, WindowedAttention

TINY = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_classes": 3}


@pytest.mark.parametrize("name", VARIATIONS)
def test_classifies_and_learns(name):
    network = build_variation(VARIATIONS[name], **TINY)
    logits = network(torch.randn(2, 3, 40, 72))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


def test_the_change_of_nothing_is_focal_modulation():
    torch.manual_seed(0)
    plain, altered = FocalModulation(8, 2, 3), AlteredModulation(8, 2, 3)
    altered.load_state_dict(plain.state_dict())
    tokens = torch.randn(2, 9, 7, 8)
    torch.testing.assert_close(altered(tokens), plain(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixer", [WindowedAttention, SlidingAttention])
def test_attention_in_a_window_that_holds_everything_is_global(mixer):
    torch.manual_seed(0)
    everything, windowed = GlobalAttention(32), mixer(32, window=9)
    windowed.load_state_dict(everything.state_dict())
    tokens = torch.randn(2, 4, 5, 32)
    torch.testing.assert_close(windowed(tokens), everything(tokens), rtol=1e-4, atol=1e-5)


def test_counts_as_published_up_to_elementwise_products():
    network = build_variation(VARIATIONS["levels_2"], **TINY)
    counted, published = multiply_accumulates(network, 64), complexity(network.config, 64).macs
    assert 0.9 * published < counted < published


def test_refuses_what_does_not_fit():
    with pytest.raises(UnknownNameError, match="focalnet_tiny_lrf"):
        find_entrants(["focalnet_tiny_lfr"])
    with pytest.raises(ConfigError, match="already"):
        add_variation(VARIATIONS["full"])
    with pytest.raises(ShapeError, match="no mask"):
        GlobalAttention(8)(torch.zeros(1, 2, 2, 8), torch.ones(1, 2, 2, dtype=torch.bool))
