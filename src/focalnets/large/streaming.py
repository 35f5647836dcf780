"""The maps of a whole image by bands of rows, exactly as if the network had seen it at once.

Only two things of a block look beyond a token: the depthwise convolutions, which need a few rows above and below, and
the mean of the last level, which needs all rows. So a block goes over its map twice: once for the local levels and the
sum for the mean, once, when the mean is known, for the rest. The second pass of a block and the first of the next one
share a sweep, so that a stage of n blocks takes n + 1 sweeps over its map.

Axes: H W height and width [px], h w of a map [tokens], C channels, n rows at once, L focal levels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.large.embedding import ReadRows, embed_rows, embedded_size, rows_at_once
from focalnets.large.journal import Journal, Position
from focalnets.large.store import RowStore
from focalnets.models.focalnet import FocalNet, FocalStage
from focalnets.models.layers import FocalBlock
from focalnets.models.rows import finish_block, project_context
from focalnets.ops.aggregation import local_aggregation

__all__ = ["StreamSettings", "add_global_level", "band_rows", "blocks_of", "halo_of", "stream_maps", "sweeps_of"]

_BAND_BYTES = 2 * 2**20
_SMALLEST_BAND = 16


@dataclasses.dataclass(frozen=True)
class StreamSettings:
    """How to go through an image.

    Attributes:
        band_bytes: About how large the tokens of a band are [bytes]; memory for a band is about ten times that.
        folder: Where maps lie as files; None keeps them in memory.
        dtype: How maps are kept between passes, ``float32`` or ``float16``, which is no longer exact.
        keep: Stages whose maps are wanted, counted from 0; None keeps all.
    """

    band_bytes: int = _BAND_BYTES
    folder: Path | None = None
    dtype: str = "float32"
    keep: tuple[int, ...] | None = None


def halo_of(block: FocalBlock) -> int:
    """Rows above and below that the depthwise convolutions of a block look at together."""
    return sum(kernel.shape[1] // 2 for kernel in block.modulation.kernels)


def band_rows(blocks: Sequence[FocalBlock], height: int, width: int, band_bytes: int) -> int:
    """Choose how many rows of a stage's map (h, w) are computed at once."""
    halo = max(halo_of(block) for block in blocks)
    rows = band_bytes // (width * blocks[0].modulation.dim * 4)
    return min(height, max(rows, _SMALLEST_BAND, 3 * halo))


def sweeps_of(network: FocalNet, height: int, width: int) -> list[tuple[int, int, int]]:
    """List rows, width and stage of the map of every sweep over an image (H, W), in order."""
    sweeps = []
    for index, stage in enumerate(network.stages):
        height, width = embedded_size(stage.downsample or network.stem, height, width)  # type: ignore[arg-type]
        sweeps += [(height, width, index)] * (len(blocks_of(stage)) + 1)
    return sweeps


def stream_maps(
    network: FocalNet,
    read: ReadRows,
    height: int,
    width: int,
    settings: StreamSettings,
    *,
    journal: Journal | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> list[RowStore | None]:
    """Compute the map of every stage, before any norm of a pyramid.

    Args:
        network: In evaluation mode and as it was built, see :func:`focalnets.large.network.require_streamable`.
        read: Reads prepared rows of the image (1, channels, rows, W) float32.
        height: Of the image, H [px].
        width: Of the image, W [px].
        settings: How.
        journal: Where it is recorded how far the work is, to go on from there after an interruption; only with maps in
            files.
        on_progress: Called with the fraction that is done.

    Returns:
        One store (h, w, C) a stage, whose last version is the map; None where it is not kept.
    """
    work = _Work(network, journal, on_progress)
    total = sum(
        rows * columns * network.config.dims[stage] ** 2 for rows, columns, stage in sweeps_of(network, height, width)
    )
    work.total = max(1, total)
    maps: list[RowStore | None] = []
    source, before = read, (height, width)
    for index, stage in enumerate(network.stages):
        assert isinstance(stage, FocalStage)
        embedding = network.stem if stage.downsample is None else stage.downsample
        height, width = embedded_size(embedding, height, width)
        store = _stream_stage(work, stage, index, embedding, source, before, (height, width), settings)
        if index > 0 and settings.keep is not None and index - 1 not in settings.keep:
            unwanted = maps[index - 1]
            assert unwanted is not None
            unwanted.close(delete=True)
            maps[index - 1] = None
        maps.append(store)
        source, before = _reader_of(store), (height, width)
    return maps


class _Work:
    """How far the work is: what was done before an interruption, and what is reported and recorded now."""

    def __init__(self, network: FocalNet, journal: Journal | None, on_progress: Callable[[float], None] | None) -> None:
        self.device = next(network.parameters()).device
        self.dims = network.config.dims
        self.journal = journal
        self.start = Position() if journal is None else journal.read()
        self.on_progress = on_progress
        self.total = 1
        self.done = 0

    def advance(self, stage: int, tokens: int) -> None:
        self.done += tokens * self.dims[stage] ** 2
        if self.on_progress is not None:
            self.on_progress(min(1.0, self.done / self.total))

    def record(self, position: Position) -> None:
        if self.journal is not None:
            self.journal.write(position)


def _stream_stage(
    work: _Work,
    stage: FocalStage,
    index: int,
    embedding: nn.Module,
    read: ReadRows,
    before: tuple[int, int],
    size: tuple[int, int],
    settings: StreamSettings,
) -> RowStore:
    """Compute the map (h, w, C) of a stage from rows of the map before it, whose size is ``before``."""
    height, width = size
    blocks, channels = blocks_of(stage), work.dims[index]
    band = band_rows(blocks, height, width, settings.band_bytes)

    def store(name: str, numbers: int, last_version: int) -> RowStore:
        path = None if settings.folder is None else settings.folder / f"stage{index}.{name}"
        return RowStore(height, width, numbers, slack=band, last_version=last_version, dtype=settings.dtype, path=path)

    tokens = store("tokens", channels, len(blocks))
    if work.start.is_after(index, len(blocks)):
        work.advance(index, (len(blocks) + 1) * height * width)
        return tokens
    # The local levels, and beside them the gate of the global one.
    local = store("local", channels + 1, len(blocks) - 1)
    mean = torch.zeros(channels)
    for sweep in range(len(blocks) + 1):
        begun = work.start if (work.start.stage, work.start.sweep) == (index, sweep) else Position(index, sweep)
        if work.start.is_after(index, sweep):
            work.advance(index, height * width)
            continue
        if begun.mean is not None:
            mean = begun.mean
        produce = (
            _embedding(embedding, read, *before)
            if sweep == 0
            else _finishing(blocks[sweep - 1], sweep, tokens, local, mean)
        )
        aggregation = (
            _Aggregation(blocks[sweep], sweep, tokens, local, begun, work.device) if sweep < len(blocks) else None
        )
        work.advance(index, begun.rows * width)
        for first in range(begun.rows, height, band):
            last = min(height, first + band)
            rows = produce(first, last, work.device)
            tokens.write(sweep, first, rows)
            if aggregation is not None:
                aggregation.add(rows, last)
            sums = None if aggregation is None else aggregation.sums
            done = 0 if aggregation is None else aggregation.done
            work.record(Position(index, sweep, last, done, sums, mean))
            work.advance(index, (last - first) * width)
        if aggregation is not None:
            mean = aggregation.mean()
            work.record(Position(index, sweep + 1, 0, 0, None, mean))
    local.close(delete=True)
    work.record(Position(index + 1, 0))
    return tokens


_Produce = Callable[[int, int, torch.device], Tensor]


def _embedding(embedding: nn.Module, read: ReadRows, above: int, width: int) -> _Produce:
    """Make the first tokens of a stage from rows of the map before it, which has ``above`` of them."""
    step = rows_at_once(embedding, width)

    def produce(first: int, last: int, device: torch.device) -> Tensor:
        parts = [
            embed_rows(
                embedding, lambda top, bottom: read(top, bottom).to(device), above, start, min(last, start + step)
            )
            for start in range(first, last, step)
        ]
        return torch.cat(parts, 1)[0] if len(parts) > 1 else parts[0][0]

    return produce


def _finishing(block: FocalBlock, sweep: int, tokens: RowStore, local: RowStore, mean: Tensor) -> _Produce:
    """Make a block's result from its tokens, their local levels and the mean of the last one."""

    def produce(first: int, last: int, device: torch.device) -> Tensor:
        before = tokens.read(sweep - 1, first, last).to(device)
        levels, gate = local.read(sweep - 1, first, last).to(device).split((tokens.channels, 1), -1)
        return finish_block(block, before, add_global_level(block, levels, gate, mean.to(device)))

    return produce


def add_global_level(block: FocalBlock, levels: Tensor, gate: Tensor, mean: Tensor) -> Tensor:
    """Complete the aggregated context of a block.

    Args:
        block: The block.
        levels: Gated sum of the local levels (..., C).
        gate: Gate of the global level (..., 1).
        mean: Mean of the last level over the whole map (C,).
    """
    aggregated = torch.addcmul(levels, gate, F.gelu(mean))
    return aggregated / (block.modulation.focal_levels + 1) if block.modulation.normalize_modulator else aggregated


class _Aggregation:
    """The first pass of a block over its tokens, which follows a few rows behind those that are there."""

    def __init__(
        self, block: FocalBlock, sweep: int, tokens: RowStore, local: RowStore, begun: Position, device: torch.device
    ) -> None:
        self.block, self.sweep, self.local = block, sweep, local
        self.halo = halo_of(block)
        self.height, self.width, self.channels = tokens.height, tokens.width, tokens.channels
        self.done = begun.aggregated
        self.sums = torch.zeros(tokens.channels, dtype=torch.float64) if begun.sums is None else begun.sums
        self.first = max(0, self.done - self.halo)  # of the rows whose context is at hand
        self.projected: Tensor | None = None
        if begun.rows > self.first:
            self.projected = project_context(block, tokens.read(sweep, self.first, begun.rows).to(device))

    def add(self, rows: Tensor, last: int) -> None:
        """Take the rows (n, w, C) up to ``last``, and aggregate those whose surroundings are complete."""
        projected = project_context(self.block, rows)
        if self.projected is not None:
            projected = torch.cat([self.projected, projected])
        ready = last if last == self.height else last - self.halo
        if ready > self.done:
            self._aggregate(projected, ready)
        keep = max(0, self.done - self.halo)
        self.projected = projected[keep - self.first :]
        self.first = keep

    def _aggregate(self, projected: Tensor, ready: int) -> None:
        modulation = self.block.modulation
        context, gates = projected[None].split((self.channels, modulation.focal_levels + 1), -1)
        kernels = [kernel.to(context.dtype) for kernel in modulation.kernels]
        wanted = (self.done - self.first, ready - self.first)
        levels, sums = local_aggregation(context, gates, kernels, rows=wanted)
        self.local.write(self.sweep, self.done, torch.cat([levels[0], gates[0, slice(*wanted), :, -1:]], -1))
        self.sums = self.sums + sums[0].cpu()
        self.done = ready

    def mean(self) -> Tensor:
        """The mean of the last level over the whole map (C,), once all rows were added."""
        assert self.done == self.height
        return (self.sums / (self.height * self.width)).float()


def _reader_of(store: RowStore) -> ReadRows:
    return lambda first, last: store.read(store.last_version, first, last)[None].permute(0, 3, 1, 2)


def blocks_of(stage: nn.Module) -> list[FocalBlock]:
    """List the blocks of a stage."""
    return list(stage.blocks)  # type: ignore[arg-type]
