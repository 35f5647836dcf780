"""The maps of tiles, each looked at by itself, with its own means of the last level or with those of all tiles.

Axes: h w height and width of a map [tokens], C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from focalnets.large.journal import Journal
from focalnets.large.network import require_streamable
from focalnets.large.pyramid import pixels_to_input
from focalnets.large.sources import Source
from focalnets.large.streaming import add_global_level, blocks_of
from focalnets.large.windows import Window
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.models.rows import finish_block, project_context
from focalnets.ops.aggregation import local_aggregation

__all__ = ["Means", "look_at_tile", "maps_of_tile", "mean_of_tiles"]

Means = list[Tensor]
"""The mean of the last level (C,) float32 of every block, in order."""


@torch.inference_mode()
def maps_of_tile(network: FocalNet, image: Tensor, means: Means | None = None) -> tuple[list[Tensor], list[Tensor]]:
    """Compute the pyramid of a small image with means of the last level that are given.

    Args:
        network: As it was built, in evaluation mode.
        image: (1, channels, H, W), prepared.
        means: One for each block; None takes those of the image itself.

    Returns:
        Maps (1, C, h, w) as :meth:`FocalNet.forward_pyramid` gives them, and for each block the mean of its last level
        over this image (C,) float64.
    """
    tokens = network.stem(image.contiguous(memory_format=torch.channels_last))
    given = None if means is None else iter(means)
    maps, found = [], []
    for index, stage in enumerate(network.stages):
        if stage.downsample is not None:
            tokens = stage.downsample(tokens.permute(0, 3, 1, 2))  # type: ignore[operator]
        for block in blocks_of(stage):
            tokens = tokens.contiguous()
            context, gates = project_context(block, tokens).split(
                (block.modulation.dim, block.modulation.focal_levels + 1), -1
            )
            kernels = [kernel.to(context.dtype) for kernel in block.modulation.kernels]
            levels, sums = local_aggregation(context, gates, kernels)
            found.append(sums[0] / (tokens.shape[1] * tokens.shape[2]))
            mean = found[-1].float() if given is None else next(given).to(tokens.device)
            tokens = finish_block(block, tokens, add_global_level(block, levels, gates[..., -1:], mean))
        norm = None if network.pyramid_norms is None else network.pyramid_norms[index]
        maps.append((tokens if norm is None else norm(tokens)).permute(0, 3, 1, 2))
    return maps, found


def look_at_tile(
    network: FocalNet, source: Source, preprocessing: Preprocessing, means: Means | None = None
) -> Callable[[Window], list[Tensor]]:
    """Make what computes the maps of a window of an image from its pixels alone, and perhaps means from all of it."""
    prepare = pixels_to_input(preprocessing)
    device = next(network.parameters()).device
    if means is not None:
        require_streamable(network)

    @torch.inference_mode()
    def look(window: Window) -> list[Tensor]:
        pixels = source.read(window.top, window.bottom, window.left, window.right)
        image = prepare(pixels).to(device)
        maps = network.forward_pyramid(image) if means is None else maps_of_tile(network, image, means)[0]
        return [each.cpu() for each in maps]

    return look


def mean_of_tiles(
    network: FocalNet,
    source: Source,
    preprocessing: Preprocessing,
    windows: Sequence[Window],
    *,
    journal: Journal | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Means:
    """Compute the means of the last levels over all tiles, each looked at with its own.

    They are close to those of the whole image, whose blocks after the first see other tokens.

    Args:
        network: As it was built, in evaluation mode.
        source: The image.
        preprocessing: How it is prepared.
        windows: The tiles.
        journal: Where it is recorded which tiles are done.
        on_progress: Called with the fraction that is done.
    """
    network = require_streamable(network)
    prepare = pixels_to_input(preprocessing)
    device = next(network.parameters()).device
    done, weight = 0, 0
    totals: list[Tensor] | None = None
    if journal is not None and (record := journal.get("means")) is not None:
        done, weight = record["tiles"], record["pixels"]
        totals = [torch.tensor(total, dtype=torch.float64) for total in record["totals"]]
    for window in windows[done:]:
        pixels = source.read(window.top, window.bottom, window.left, window.right)
        _, means = maps_of_tile(network, prepare(pixels).to(device))
        area = window.size[0] * window.size[1]
        weighted = [mean.cpu() * area for mean in means]
        totals = weighted if totals is None else [old + new for old, new in zip(totals, weighted, strict=True)]
        weight += area
        if journal is not None:
            plain = [total.tolist() for total in totals]
            journal.put("means", {"tiles": window.number + 1, "pixels": weight, "totals": plain})
        if on_progress is not None:
            on_progress((window.number + 1) / len(windows))
    assert totals is not None
    return [(total / weight).float() for total in totals]
