"""A feature pyramid: maps of several resolutions, all with the same channels, each told what the coarser ones saw.

Axes: B batch, C channels, h w height and width of a map [tokens].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.models.embedding import keep_valid

__all__ = ["FeaturePyramid", "MapNorm"]


class MapNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map (B, C, h, w).

    Unlike a group norm over the whole map it takes no notice of what batch padding holds.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, h, w) at each place."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FeaturePyramid(nn.Module):
    """Brings maps to one number of channels and adds each coarser map to the next finer one.

    Args:
        in_channels: Channels of the maps that are given, finest first; each map has half the resolution of the one
            before.
        channels: Channels of the maps that are returned.
        coarser: How many coarser maps to add, each with every second position of the one before.
        normalised: Put a LayerNorm behind every convolution, which helps where few images are to be learnt from.

    Source: Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017, in the form of mmdetection's ``FPN``.
    Deviation: places that a mask excludes stay zero, as if the map ended there.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int, *, coarser: int = 0, normalised: bool = False
    ) -> None:
        super().__init__()
        self.channels, self.coarser = channels, coarser
        self.laterals = nn.ModuleList(nn.Conv2d(before, channels, 1) for before in in_channels)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        for convolution in (*self.laterals, *self.outputs):
            assert isinstance(convolution, nn.Conv2d)
            nn.init.xavier_uniform_(convolution.weight)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
        self.lateral_norms = nn.ModuleList(MapNorm(channels) for _ in in_channels if normalised)
        self.output_norms = nn.ModuleList(MapNorm(channels) for _ in in_channels if normalised)

    def forward(self, maps: Sequence[Tensor], masks: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Merge maps.

        Args:
            maps: (B, C_i, h_i, w_i), finest first.
            masks: Booleans (B, h_i, w_i), True for places inside the images; None where nothing was padded.

        Returns:
            Maps (B, channels, h_i, w_i), finest first, the added coarser ones last.
        """
        merged = [self._normalise(self.lateral_norms, index, self.laterals[index](maps[index]))
                  for index in range(len(maps))]  # fmt: skip
        for index in range(len(maps) - 2, -1, -1):
            size = merged[index].shape[-2:]
            merged[index] = merged[index] + F.interpolate(merged[index + 1], size=size, mode="nearest")
        results = []
        for index, features in enumerate(merged):
            mask = None if masks is None else masks[index]
            features = self.outputs[index](keep_valid(features, mask))
            results.append(keep_valid(self._normalise(self.output_norms, index, features), mask))
        for _ in range(self.coarser):
            results.append(F.max_pool2d(results[-1], 1, 2))
        return results

    @staticmethod
    def _normalise(norms: nn.ModuleList, index: int, features: Tensor) -> Tensor:
        return norms[index](features) if len(norms) else features
