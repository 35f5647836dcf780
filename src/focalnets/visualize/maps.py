"""From what was recorded inside a network to arrays at the size of the image.

Axes: B batch, H W height and width [px], h w [tokens], C channels, L focal levels, k kernel size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from focalnets.errors import ConfigError
from focalnets.models.focalnet import FocalNet
from focalnets.visualize.recording import BlockId, Inside, TokenGrid, require

__all__ = [
    "default_focus",
    "evidence_map",
    "focus_map",
    "gate_maps",
    "has_evidence",
    "level_evidence_map",
    "mean_kernels",
    "modulator_map",
    "parse_block",
    "to_image_size",
]

Measure = Literal["norm", "contrast"]


def modulator_map(inside: Inside, block: BlockId, *, measure: Measure = "norm", upsample: bool = True) -> np.ndarray:
    """Draw how strongly a block modulates each place of the image.

    Args:
        inside: What ``capture`` recorded.
        block: Stage and block, from 0.
        measure: ``norm`` = L2 norm of the modulator over channels, as the paper draws it; ``contrast`` = the same after
            subtracting the modulator's mean over all positions, which shows where a place is treated unlike the rest.
        upsample: Interpolate to the size of the image, each token where it lies; False keeps one value a token.

    Returns:
        (B, H, W) or (B, h, w), float32, from 0 up.
    """
    record = inside[block]
    values = require(record.modulator_norm if measure == "norm" else record.modulator_contrast)
    return (_upsample(values, inside, block) if upsample else values).numpy()


def default_focus(model: FocalNet) -> BlockId:
    """Return the block whose modulator lies on the object best: the last one of the last stage but one.

    Measured on generated scenes with one small object to name (see docs/looking_inside.md): earlier blocks respond to
    edges everywhere, and behind the last stage only the mean over all places counts, so that its modulators need not
    lie where the object is.
    """
    stage = max(0, len(model.config.depths) - 2)
    return stage, model.config.depths[stage] - 1


def focus_map(inside: Inside, block: BlockId) -> np.ndarray:
    """Draw where the network looks: where a block's modulator is long and the answer rests on the first stage.

    The length of the modulator, from its smallest value up, tells coarsely which place the network lets context change;
    the evidence of the first stage tells finely what there decided. Their product lies on small objects better than
    either alone, see docs/looking_inside.md. Where no evidence was recorded, as of networks that answer for each place,
    the length stands alone.

    Args:
        inside: What ``look_inside`` or ``capture`` recorded.
        block: The block of the first factor.

    Returns:
        (B, H, W) float32, from 0 up; only proportions within one image mean something.
    """
    length = modulator_map(inside, block)
    above = length - length.min((1, 2), keepdims=True)
    return above * evidence_map(inside, 0) if has_evidence(inside) else above


def has_evidence(inside: Inside) -> bool:
    """Whether it was recorded what the answer rests on."""
    return all(inside[block].evidence is not None for block in inside if block[0] == 0) and (0, 0) in inside


def evidence_map(inside: Inside, stage: int) -> np.ndarray:
    """Draw how much the answer rests on the modulators of each place, all recorded blocks of a stage together.

    See :func:`focalnets.visualize.look_inside`. Each block counts relative to its mean; the sum is smoothed over
    neighbouring tokens.

    Returns:
        (B, H, W), float32, from 0 up.
    """
    blocks = [block for block in inside if block[0] == stage]
    together = _smooth(_sum_of_blocks([require(inside[block].evidence) for block in blocks]))
    return _upsample(together, inside, blocks[0]).numpy()


def level_evidence_map(inside: Inside) -> np.ndarray:
    """Draw where the answer rests on every local focal level of the first stage at once.

    Of each level the evidence of all blocks together, as in :func:`evidence_map`; then the product over the levels:
    edges that only one level sees count little, what all of them see counts much. The global level says the same of
    every place and is left out, unless there is no other.

    Returns:
        (B, H, W), float32, from 0 up.
    """
    blocks = [block for block in inside if block[0] == 0]
    evidence = [require(inside[block].level_evidence) for block in blocks]
    levels = max(1, evidence[0].shape[-1] - 1)
    product = torch.ones(())
    for level in range(levels):
        product = product * _smooth(_sum_of_blocks([values[..., level] for values in evidence]))
    return _upsample(product, inside, blocks[0]).numpy()


def gate_maps(inside: Inside, block: BlockId, *, upsample: bool = True) -> np.ndarray:
    """Draw the gate of every focal level of a block, the global level last.

    Args:
        inside: What ``capture`` recorded.
        block: Stage and block, from 0.
        upsample: As in :func:`modulator_map`.

    Returns:
        (B, L + 1, H, W) or (B, L + 1, h, w), float32, signed: gates pass through no sigmoid.
    """
    values = require(inside[block].gates).movedim(-1, 1)
    return (_upsample(values, inside, block) if upsample else values).numpy()


def mean_kernels(model: FocalNet) -> dict[BlockId, list[np.ndarray]]:
    """Average the depthwise kernels of every block and level over channels.

    Returns:
        For each (stage, block) one array (k, k) float32 a level.
    """
    return {
        (index, number): [kernel.detach().float().mean(0).cpu().numpy() for kernel in block.modulation.kernels]  # type: ignore[union-attr]
        for index, stage in enumerate(model.stages)
        for number, block in enumerate(stage.blocks)  # type: ignore[arg-type]
    }


def parse_block(text: str, model: FocalNet) -> BlockId:
    """Read ``stage.block``, both counted from 0; a negative number counts from the end, so ``-1.-1`` is the last block.

    Raises:
        ConfigError: If it is written otherwise or the network has no such block.
    """
    depths = model.config.depths
    try:
        stage, block = (int(part) for part in text.split("."))
        stage = range(len(depths))[stage]
        return stage, range(depths[stage])[block]
    except (ValueError, IndexError):
        described = ", ".join(f"{index}.0 to {index}.{depth - 1}" for index, depth in enumerate(depths))
        raise ConfigError(f"expected a block written stage.block, here {described}, got {text!r}.") from None


def to_image_size(values: Tensor, grid: TokenGrid, height: int, width: int) -> Tensor:
    """Interpolate a map (..., h, w) bilinearly to (..., H, W), each token centred where it lies in the image.

    Beyond the centres of the outermost tokens their values continue.
    """
    return _stretch(_stretch(values, grid, height).transpose(-1, -2), grid, width).transpose(-1, -2)


def _sum_of_blocks(evidence: Sequence[Tensor]) -> Tensor:
    """Add the evidence (B, h, w) of several blocks, each relative to its mean."""
    return torch.stack([values / values.mean((1, 2), keepdim=True).clamp(min=1e-30) for values in evidence]).sum(0)


def _smooth(values: Tensor) -> Tensor:
    """Smooth (B, h, w) over neighbouring tokens."""
    edge = torch.nn.functional.pad(values.unsqueeze(1), (1, 1, 1, 1), mode="replicate")
    binomial = torch.tensor([1.0, 2.0, 1.0]) / 4
    return torch.nn.functional.conv2d(edge, (binomial[:, None] * binomial)[None, None]).squeeze(1)


def _upsample(values: Tensor, inside: Inside, block: BlockId) -> Tensor:
    assert inside.image_size_px is not None, "values were recorded without an image"
    return to_image_size(values, inside[block].grid, *inside.image_size_px)


def _stretch(values: Tensor, grid: TokenGrid, size: int) -> Tensor:
    tokens = values.shape[-2]
    position = ((torch.arange(size) - grid.offset_px) / grid.stride_px).clamp(0, tokens - 1)
    lower = position.floor().long()
    upper = (lower + 1).clamp(max=tokens - 1)
    fraction = (position - lower).to(values.dtype).unsqueeze(-1)
    return values[..., lower, :] * (1 - fraction) + values[..., upper, :] * fraction
