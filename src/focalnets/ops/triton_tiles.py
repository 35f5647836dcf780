"""How large the tiles of the Triton kernels are. Imports triton: import it only where triton is there.

Which tile is fastest depends on the hardware, so the kernels that convolve are timed once for each class of shapes:
the same channels, kernel, dtype and device, the same power of two for the width and of four for the number of
positions. Nothing is timed again for another image size in the same class. Where timing is impossible (in Triton's
interpreter, while a CUDA graph is captured) or unwanted (``torch.use_deterministic_algorithms``,
``FOCALNETS_TRITON_AUTOTUNE=0``) the first candidate is taken: tiles decide in which order sums are taken, so a fixed
choice gives equal bits in each process.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import triton
import triton.testing
from torch import Tensor

__all__ = ["LAUNCH_OPTIONS", "Tile", "TileTuner", "candidate_tiles"]

_Result = TypeVar("_Result")

# Said aloud because triton changes the default: products and sums may contract to fused multiply-adds.
LAUNCH_OPTIONS: dict[str, Any] = {"num_stages": 1, "enable_fp_fusion": True}


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
        tiles.append(Tile(rows, 32, some_channels, 4))
    if width > 8:
        tiles.append(Tile(rows, 8, some_channels, 2))
    if channels >= 64:
        tiles.append(Tile(rows, columns, 64, 4))
    return tiles


class TileTuner:
    """Remembers the fastest tile of every shape class."""

    def __init__(self) -> None:
        self._fastest: dict[tuple[Any, ...], Tile] = {}

    @property
    def timed_classes(self) -> int:
        """Classes of kernels and shapes that were timed so far."""
        return len(self._fastest)

    def run(self, launch: Callable[[Tile], _Result], context: Tensor, *kind: Any) -> _Result:
        """Launch with the best known tile for a context (B, H, W, C) and this kind of kernel.

        ``launch`` must give the same result however often it runs.
        """
        batch, height, width, channels = context.shape
        tiles = candidate_tiles(height, width, channels)
        if not _may_time(context):
            return launch(tiles[0])
        positions = batch * height * width
        size_class = ((positions - 1).bit_length() // 2, (width - 1).bit_length(), height > 1)
        key = (*kind, channels, context.dtype, *size_class, torch.cuda.get_device_name(context.device))
        if key not in self._fastest:
            seconds = [triton.testing.do_bench(lambda tile=tile: launch(tile), warmup=5, rep=20) for tile in tiles]
            self._fastest[key] = tiles[seconds.index(min(seconds))]
        return launch(self._fastest[key])


def _may_time(tensor: Tensor) -> bool:
    return (
        tensor.is_cuda
        and os.environ.get("FOCALNETS_TRITON_AUTOTUNE", "1") != "0"
        and not torch.are_deterministic_algorithms_enabled()
        and not torch.cuda.is_current_stream_capturing()
    )
