"""RandAugment whose strength varies from one operation to the next."""

from __future__ import annotations

from typing import Any

import torch
from torchvision.transforms import InterpolationMode, v2

__all__ = ["STRONGEST", "noisy_randaugment"]

STRONGEST = 10.0
"""The magnitude at which every operation is at its strongest."""

_BINS_A_MAGNITUDE = 10


class _OneOperation(v2.RandAugment):
    """One random operation at a strength drawn anew each time.

    Args:
        mean: Strength from 0 to :data:`STRONGEST`.
        deviation: Its standard deviation; values beyond the ends become the ends.
        fill: Colour of what comes in from outside the picture, from 0 to 255.
    """

    def __init__(self, mean: float, deviation: float, fill: list[int]) -> None:
        bins = round(STRONGEST * _BINS_A_MAGNITUDE)
        super().__init__(num_ops=1, num_magnitude_bins=bins + 1, interpolation=InterpolationMode.BILINEAR, fill=fill)
        self.mean, self.deviation = mean, deviation

    def forward(self, *inputs: Any) -> Any:
        drawn = self.mean + self.deviation * float(torch.randn(()))
        self.magnitude = round(min(max(drawn, 0.0), STRONGEST) * _BINS_A_MAGNITUDE)
        return super().forward(*inputs)


def noisy_randaugment(magnitude: float, noise: float, fill: list[int]) -> v2.Compose:
    """Two random operations in a row, each applied with probability one half.

    Args:
        magnitude: Mean strength from 0 to :data:`STRONGEST`.
        noise: Standard deviation of the strength.
        fill: Colour of what comes in from outside the picture, from 0 to 255.

    Source: timm's ``rand-m9-mstd0.5-inc1`` with torchvision's operations, all of which get stronger with the magnitude.
    Deviation: torchvision's set of operations has the identity, and lacks inversion and partial solarisation.
    """
    return v2.Compose([v2.RandomApply([_OneOperation(magnitude, noise, fill)], p=0.5) for _ in range(2)])
