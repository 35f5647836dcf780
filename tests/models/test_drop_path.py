"""Stochastic depth draws and computes what torchvision's does."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import StochasticDepth as Peer

from focalnets.models.drop_path import StochasticDepth


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_those_of_torchvision_bit_for_bit(p, dtype):
    branch = torch.randn(16, 3, 2, 4).to(dtype)
    results = []
    for layer in (StochasticDepth(p), Peer(p, "row")):
        torch.manual_seed(3)
        results.append(layer.train()(branch))
        assert layer.eval()(branch) is branch
    assert torch.equal(*results)
    assert results[0].dtype == dtype
