"""Stochastic depth: dropping the branches of blocks at random while training.

As ``torchvision.ops.StochasticDepth``, which cannot be had without importing all of torchvision and, with it, the
compiler of torch: that takes longer than importing torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["StochasticDepth"]


class StochasticDepth(nn.Module):
    """Set the branch of randomly chosen images to zero while training, and enlarge that of the others to match.

    Args:
        p: Probability of dropping the branch of an image, from 0 to 1.

    Source: Deep Networks with Stochastic Depth, arXiv 1603.09382. Random numbers are drawn as torchvision draws them.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, branch: Tensor) -> Tensor:
        """Drop rows of a branch (B, ...); return it as it is in evaluation."""
        if not self.training or self.p == 0.0:
            return branch
        kept = 1.0 - self.p
        noise = torch.empty([branch.shape[0]] + [1] * (branch.ndim - 1), dtype=branch.dtype, device=branch.device)
        noise = noise.bernoulli_(kept)
        if kept > 0.0:
            noise.div_(kept)
        return branch * noise

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"
