"""Networks larger than the machine are refused before anything of them is built."""

from __future__ import annotations

import time

import pytest
import torch

from focalnets import FocalNet, FocalNetConfig
from focalnets.errors import ConfigError
from focalnets.models.size import count_block_weights


@pytest.mark.parametrize(
    "changes",
    [
        {"depths": (10**4, 10**4, 1, 1)},
        {"embed_dim": 10**6},
        {"mlp_ratio": 1e300},
        {"focal_windows": (10_001, 3, 3, 3), "embed_dim": 10_000},
    ],
)
def test_absurd_networks_are_refused_at_once(changes):
    began = time.process_time()
    with pytest.raises(ConfigError, match="a network of"):
        FocalNet(FocalNetConfig(**changes))
    assert time.process_time() - began < 5


def test_the_count_is_a_little_less_than_the_network_has():
    for name in (
        {},
        {"focal_levels": (3, 3, 3, 3)},
        {"depths": (1, 2), "focal_levels": (4, 0), "focal_windows": (5, 1)},
    ):
        config = FocalNetConfig(**name)
        with torch.device("meta"):
            weights = sum(parameter.numel() for parameter in FocalNet(config).parameters())
        assert 0.6 * weights < count_block_weights(config) < weights
