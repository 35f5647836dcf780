"""What a pyramid holds in boxes: the same number of values for a box of any size (RoIAlign).

On CPUs the values are gathered as rows of a table, from maps that are channels-last anyway; there this takes a fifth of
the time of torchvision's kernel forwards and a tenth with the gradient, and gives the same up to rounding.

Axes: B batch, C channels, h w height and width of a map [tokens], N boxes, S bins along a side, K tokens that a bin
touches along an axis. A box is left, top, right, bottom [px of the input].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

__all__ = ["align_regions", "levels_of"]

_TOKENS_ACROSS = 14
"""From a box of so many tokens on, of each map, up to twice as many, that map is looked at."""


def levels_of(boxes: Tensor, first_stride: int, maps: int) -> Tensor:
    """Choose for each box (N, 4) the map that shows it 14 to 28 tokens large, (N,) int64.

    Source: Lin et al., Feature Pyramid Networks, CVPR 2017, equation 1, as in mmdetection.
    """
    size = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    return (size / (_TOKENS_ACROSS * first_stride) + 1e-6).log2().floor().clamp(0, maps - 1).long()


def align_regions(
    maps: Sequence[Tensor],
    boxes: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]] | None,
    *,
    bins: int,
    first_stride: int,
) -> Tensor:
    """Average each map over the bins of the boxes that belong to it.

    Args:
        maps: (B, C, h, w), finest first, each of half the resolution of the one before.
        boxes: (N_i, 4) for each image.
        sizes: Height and width of each image [px], beyond which nothing is looked at; None for whole maps.
        bins: Bins S along each side.
        first_stride: Pixels between the places of the finest map.

    Returns:
        (N, S, S, C) for the boxes of all images, one image after the other.

    Source: He et al., Mask R-CNN, ICCV 2017, in the aligned form of mmdetection: shifted by half a token, with as many
    samples a bin as it has tokens.
    """
    joined = torch.cat(list(boxes))
    counts = torch.tensor([len(each) for each in boxes], device=joined.device)
    image = torch.arange(len(boxes), device=joined.device).repeat_interleave(counts)
    levels = levels_of(joined, first_stride, len(maps))
    parts, places = [], []
    for level, features in enumerate(maps):
        chosen = (levels == level).nonzero()[:, 0]
        if not len(chosen):
            continue
        stride = first_stride * 2**level
        limits = [features.shape[-2:]] * len(boxes)
        if sizes is not None:
            limits = [torch.Size((math.ceil(height / stride), math.ceil(width / stride))) for height, width in sizes]
        by_rows = features.device.type == "cpu" and features.dtype in (torch.float32, torch.bfloat16)
        align = _align_by_rows if by_rows else _align_by_kernel
        parts.append(align(features, joined[chosen], image[chosen], limits, bins, 1 / stride))
        places.append(chosen)
    if not parts:
        return maps[0].new_zeros(0, bins, bins, maps[0].shape[1])
    return torch.cat(parts)[torch.cat(places).argsort()] if len(parts) > 1 else parts[0]


def _align_by_kernel(
    features: Tensor, boxes: Tensor, image: Tensor, limits: Sequence[torch.Size], bins: int, scale: float
) -> Tensor:
    """Let torchvision do it; images that end before their map does go one by one."""
    if all(limit == features.shape[-2:] for limit in limits):
        regions = torch.cat([image[:, None].to(boxes), boxes], 1)
        return roi_align(features, regions, bins, scale, 0, True).permute(0, 2, 3, 1)
    parts, places = [], []
    for number, (height, width) in enumerate(limits):
        chosen = (image == number).nonzero()[:, 0]
        own = features[number : number + 1, :, :height, :width]
        parts.append(roi_align(own, [boxes[chosen]], bins, scale, 0, True))
        places.append(chosen)
    return torch.cat(parts)[torch.cat(places).argsort()].permute(0, 2, 3, 1)


def _align_by_rows(
    features: Tensor, boxes: Tensor, image: Tensor, limits: Sequence[torch.Size], bins: int, scale: float
) -> Tensor:
    """Gather weighted rows of the map as a table (B h w, C), in float32, as torchvision's kernel does."""
    _, channels, height, width = features.shape
    table = features.permute(0, 2, 3, 1).reshape(-1, channels).float()
    ends = torch.tensor([list(limit) for limit in limits])[image]
    scaled = boxes.detach().float() * scale - 0.5
    lengths = (scaled[:, 2:] - scaled[:, :2]) / bins
    samples = lengths.ceil().clamp(min=1).long()
    rows, weights, counts, places = [], [], [], []
    # Boxes whose bins have equally many samples need equally many rows for each bin.
    for across, down in torch.unique(samples, dim=0).tolist():
        chosen = ((samples[:, 0] == across) & (samples[:, 1] == down)).nonzero()[:, 0]
        start, length, end = scaled[chosen], lengths[chosen], ends[chosen]
        column, by_column = _tokens_of_bins(start[:, 0], length[:, 0], end[:, 1], across, bins)
        row, by_row = _tokens_of_bins(start[:, 1], length[:, 1], end[:, 0], down, bins)
        row = (row + height * image[chosen, None, None]) * width
        rows.append((row[:, :, None, :, None] + column[:, None, :, None, :]).flatten().int())
        weights.append((by_row[:, :, None, :, None] * by_column[:, None, :, None, :]).flatten())
        each = row.shape[-1] * column.shape[-1]
        counts.append(torch.full((len(chosen) * bins * bins,), each, dtype=torch.int32))
        places.append(chosen)
    count = torch.cat(counts)
    gathered = F.embedding_bag(
        torch.cat(rows),
        table,
        count.cumsum(0, dtype=torch.int32) - count,
        mode="sum",
        per_sample_weights=torch.cat(weights),
    )
    return gathered.to(features.dtype).view(-1, bins, bins, channels)[torch.cat(places).argsort()]


def _tokens_of_bins(start: Tensor, length: Tensor, end: Tensor, samples: int, bins: int) -> tuple[Tensor, Tensor]:
    """Find the tokens that the bins of boxes touch along one axis, and how much each counts.

    Args:
        start: Where each box begins (N,) [tokens], 0 being the middle of the first.
        length: Of its bins (N,) [tokens].
        end: Tokens of its map (N,); what lies more than one beyond either end counts as zero.
        samples: Samples a bin, whose values are interpolated between neighbouring tokens.
        bins: Bins S.

    Returns:
        Numbers of tokens (N, S, K) int64, and their weights, with K = samples + 1.
    """
    middles = (torch.arange(samples) + 0.5) / samples
    position = start[:, None, None] + (torch.arange(bins)[:, None] + middles) * length[:, None, None]
    last = (end - 1)[:, None, None]
    counts = (position >= -1) & (position <= last + 1) & (length > 0)[:, None, None]
    position = position.clamp(min=0)
    below = position.long().minimum(last)
    above = (position - below).masked_fill(below >= last, 0)
    each = counts.to(position.dtype) / samples
    first = below[..., :1]
    weights = position.new_zeros(*position.shape[:2], samples + 2)
    weights.scatter_add_(2, below - first, each * (1 - above))
    weights.scatter_add_(2, below - first + 1, each * above)
    # A sample never lies more than a token beyond the one before, so the last place stays empty.
    return (first + torch.arange(samples + 1)).minimum(last), weights[..., :-1]
