"""How large the tiles of the Triton kernels are. Imports triton: import it only where triton is there.

Which tile is fastest depends on the hardware, so the kernels that convolve are timed once for each class of shapes:
the same channels, kernel, dtype and device, the same power of two for the width and of four for the number of
positions. Nothing is timed again for another image size in the same class, nor in another process. Where timing is
impossible (in Triton's interpreter, while a CUDA graph is captured) or unwanted
(``torch.use_deterministic_algorithms``, ``FOCALNETS_TRITON_AUTOTUNE=0``) the first candidate is taken: tiles decide in
which order sums are taken, so a fixed choice gives equal bits in each process.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import triton
import triton.testing
from torch import Tensor

from focalnets.ops import triton_winners

__all__ = ["LAUNCH_OPTIONS", "MOST_COLUMNS", "Tile", "TileTuner", "candidate_tiles"]

_Result = TypeVar("_Result")

# Said aloud because triton changes the default: products and sums may contract to fused multiply-adds.
LAUNCH_OPTIONS: dict[str, Any] = {"num_stages": 1, "enable_fp_fusion": True}


MOST_COLUMNS = 32
"""Columns of the widest tile."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """What one program of a convolving kernel covers.

    Attributes:
        rows: Rows of the map, any number.
        columns, channels: Powers of two; ``channels < 32 * warps``.
        warps: Warps a program.
    """

    rows: int
    columns: int
    channels: int
    warps: int

    def count(self, height: int, width: int) -> int:
        """Count the tiles that cover one image."""
        return triton.cdiv(height, self.rows) * triton.cdiv(width, self.columns)

    def arguments(self) -> dict[str, Any]:
        """Give the keyword arguments of a launch."""
        sizes = {"ROWS": self.rows, "BLOCK_W": self.columns, "BLOCK_C": self.channels}
        return {**sizes, "num_warps": self.warps, **LAUNCH_OPTIONS}


def candidate_tiles(height: int, width: int, channels: int) -> list[Tile]:
    """List the tiles worth timing for a map, the one to take without timing first.

    The first one keeps loads 16 bytes wide at 2 bytes an element and stays below 150 registers a thread for kernels up
    to 7 x 7, as the compiler reports for compute capability 9.0.
    """
    some_channels = min(32, triton.next_power_of_2(channels))
    columns = min(16, triton.next_power_of_2(width))
    rows = min(4, height)
    tiles = [Tile(rows, columns, some_channels, 2)]
    if height > 2:
        tiles.append(Tile(2, columns, some_channels, 2))
    if height > 4:
        tiles.append(Tile(7 if height % 7 == 0 else 8, columns, some_channels, 4))
    if width > 16:
        tiles.append(Tile(rows, MOST_COLUMNS, some_channels, 4))
    if width > 8:
        tiles.append(Tile(rows, 8, some_channels, 2))
    if channels >= 64:
        tiles.append(Tile(rows, columns, 64, 4))
    return tiles


class TileTuner:
    """Knows the fastest tile, or the fastest of several ways, of every class of shapes.

    What was timed is kept in :mod:`focalnets.ops.triton_winners`, so another process need not time it again.
    """

    def __init__(self) -> None:
        self._fastest: dict[str, Tile | int] = {}
        self._read: set[str] = set()

    @property
    def timed_classes(self) -> int:
        """Classes of kernels and shapes that are known so far."""
        return len(self._fastest)

    def run(self, launch: Callable[[Tile], _Result], context: Tensor, *kind: Any) -> _Result:
        """Launch with the best known tile for a context (B, H, W, C) and this kind of kernel.

        ``launch`` must give the same result however often it runs.
        """
        _, height, width, channels = context.shape
        tiles = candidate_tiles(height, width, channels)
        if not _may_time(context):
            return launch(tiles[0])
        key, device = _shape_class(context, kind), device_name(context)
        self._read_from_disk(device)
        tile = self._fastest.get(key)
        if not isinstance(tile, Tile):
            tile = _fastest(tiles, launch)
            self._keep(device, key, tile)
        return launch(tile)

    def choose(self, ways: Sequence[Callable[[], None]], context: Tensor, *kind: Any) -> None:
        """Go the fastest of several ways to the same result, the first where nothing may be timed."""
        if len(ways) == 1 or not _may_time(context):
            return ways[0]()
        key, device = _shape_class(context, kind), device_name(context)
        self._read_from_disk(device)
        way = self._fastest.get(key)
        if not isinstance(way, int) or not 0 <= way < len(ways):
            way = _fastest(range(len(ways)), lambda number: ways[number]())
            self._keep(device, key, way)
        return ways[way]()

    def _read_from_disk(self, device: str) -> None:
        if device not in self._read:
            self._read.add(device)
            for key, value in triton_winners.read(device).items():
                self._fastest[key] = Tile(*value) if isinstance(value, list) else value

    def _keep(self, device: str, key: str, value: Tile | int) -> None:
        self._fastest[key] = value
        triton_winners.add(device, key, list(dataclasses.astuple(value)) if isinstance(value, Tile) else value)


def device_name(tensor: Tensor) -> str:
    """Name the kind of device that the tensor is on."""
    return torch.cuda.get_device_name(tensor.device)


def _shape_class(context: Tensor, kind: Sequence[Any]) -> str:
    batch, height, width, channels = context.shape
    positions = batch * height * width
    size_class = ((positions - 1).bit_length() // 2, (width - 1).bit_length(), height > 1)
    return " ".join(map(str, (*kind, channels, context.dtype, *size_class)))


def _fastest(choices: Sequence[Any], run: Callable[[Any], Any]) -> Any:
    durations = [triton.testing.do_bench(lambda choice=choice: run(choice), warmup=5, rep=20) for choice in choices]
    return choices[durations.index(min(durations))]


def _may_time(tensor: Tensor) -> bool:
    return (
        tensor.is_cuda
        and os.environ.get("FOCALNETS_TRITON_AUTOTUNE", "1") != "0"
        and not torch.are_deterministic_algorithms_enabled()
        and not torch.cuda.is_current_stream_capturing()
    )
