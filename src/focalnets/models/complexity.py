"""Parameters and multiply-accumulates of a network, from its config alone.

Counted as in the official repository, so that figures can be compared with the published ones: every product of the
linear layers, of the convolutions, of the gates with the levels and of the modulator with the query, and one for each
normalised or scaled number. That count takes an overlapped embedding for one without overlap; the products that it
leaves out are given beside it. Imports no torch.

Axes: h w [tokens], C channels, L focal levels.
"""

from __future__ import annotations

import dataclasses
import math

from focalnets.models.config import FocalNetConfig

__all__ = ["Complexity", "complexity"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Complexity:
    """What a network costs for one image.

    Attributes:
        parameters: Learnt numbers.
        macs: Multiply-accumulates as the official repository counts them.
        overlap_macs: Multiply-accumulates of overlapped embeddings beyond that count; 0 for plain patches.
    """

    parameters: int
    macs: int
    overlap_macs: int


def complexity(config: FocalNetConfig, height_px: int = 224, width_px: int | None = None) -> Complexity:
    """Count the parameters and multiply-accumulates of one image of ``height_px`` x ``width_px``."""
    width_px = height_px if width_px is None else width_px
    parameters = macs = overlap_macs = 0

    def convolution(inputs: int, outputs: int, kernel: int, positions: int, *, bias: bool = True) -> None:
        nonlocal parameters, macs
        parameters += inputs * outputs * kernel**2 + outputs * bias
        macs += inputs * outputs * kernel**2 * positions

    def embedding(inputs: int, outputs: int, kernel: int, stride: int, positions: int) -> None:
        nonlocal macs, overlap_macs
        convolution(inputs, outputs, kernel, positions)
        overlap = inputs * outputs * (kernel**2 - stride**2) * positions
        macs -= overlap
        overlap_macs += overlap

    def norm(dim: int, positions: int) -> None:
        nonlocal parameters, macs
        parameters += 2 * dim
        macs += dim * positions

    def linear(inputs: int, outputs: int, positions: int) -> None:
        convolution(inputs, outputs, 1, positions)

    dims = config.dims
    for stage, dim in enumerate(dims):
        height, width = (math.ceil(size / config.strides[stage]) for size in (height_px, width_px))
        positions = height * width
        if stage > 0 and config.downsampling == "double":
            for inputs in (dims[stage - 1], dim):
                convolution(inputs, dim, 3, positions, bias=False)
                norm(dim, positions)
        elif stage > 0:
            embedding(dims[stage - 1], dim, 2 if config.stem == "patch" else 3, 2, positions)
        elif config.stem == "convolutional":
            half = math.ceil(height_px / 2) * math.ceil(width_px / 2)
            middle = max(1, dim // 2)
            layers = ((config.in_chans, middle, half), (middle, middle, half), (middle, dim, positions))
            for inputs, outputs, at in layers:
                convolution(inputs, outputs, 3, at, bias=False)
                norm(outputs, at)
        else:
            kernel = 7 if config.stem == "overlapped" else config.patch_size
            embedding(config.in_chans, dim, kernel, config.patch_size, positions)
        if stage == 0 or config.downsampling == "single":
            norm(dim, positions)

        hidden, levels = int(dim * config.mlp_ratio), config.focal_levels[stage]
        for _ in range(config.depths[stage]):
            linear(dim, 2 * dim + levels + 1, positions)
            for kernel in config.kernel_sizes(stage):
                convolution(1, dim, kernel, positions, bias=False)
                macs += dim * positions  # gate times level
            macs += dim * positions  # gate times global level
            linear(dim, dim, positions)
            macs += dim * positions  # query times modulator
            linear(dim, dim, positions)
            if config.modulation_norm:
                norm(dim, positions)
            linear(dim, hidden, positions)
            linear(hidden, dim, positions)
            norm(dim, positions)
            norm(dim, positions)
            if config.layer_scale is not None:
                parameters += 2 * dim
                macs += 2 * dim * positions
        if config.pyramid_norms:
            norm(dim, positions)
    if not config.pyramid_norms:
        norm(dims[-1], positions)
        if config.num_classes:
            linear(dims[-1], config.num_classes, 1)
    return Complexity(parameters=parameters, macs=macs, overlap_macs=overlap_macs)
