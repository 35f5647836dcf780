"""What looking at a large image will take: memory, room on the disk and time, chosen to fit and stated beforehand.

Axes: H W height and width of the image [px], h w of a map [tokens], C channels.
"""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from focalnets.errors import ConfigError
from focalnets.large.embedding import embedding_bytes, rows_at_once
from focalnets.large.streaming import StreamSettings, band_rows, blocks_of, sweeps_of
from focalnets.machine.memory import available_bytes
from focalnets.models.focalnet import FocalNet

__all__ = [
    "CONTEXTS",
    "Context",
    "Plan",
    "default_memory",
    "format_bytes",
    "parse_memory",
    "plan_streaming",
    "plan_tiles",
]

Context = Literal["image", "tile", "shared"]
"""What a network sees around a pixel: ``image`` = the whole image, exactly; ``tile`` = the tile it lies in; ``shared``
= the tile, and the means of the last level over all tiles in place of its own."""

CONTEXTS: tuple[Context, ...] = get_args(Context)

_SHARE_OF_AVAILABLE = 0.6
_FALLBACK_BYTES = 4 * 2**30
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_CALIBRATION_PX = 384

# Measured with benchmarks/large_images.py: what a band takes beside its own tokens, in copies of them, and what stays
# allocated between calls.
_COPIES_OF_BAND = 8
_BESIDE_BYTES = 96 * 2**20
_TILE_COPIES = 5


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a large image will be looked at, and what that takes.

    Attributes:
        context: See :data:`Context`.
        height, width: Of the image [px].
        settings: How the image is streamed; only with the context ``image``.
        tile_px, overlap_px: Of the tiles.
        memory_bytes: Most memory that is added to what the process takes before.
        file_bytes: Room on the disk for files that are deleted in the end.
        seconds: Estimated time; 0 where it was not.
    """

    context: Context
    height: int
    width: int
    settings: StreamSettings
    tile_px: int
    overlap_px: int
    memory_bytes: int
    file_bytes: int
    seconds: float = 0.0

    def sentence(self) -> str:
        """Say what it will take."""
        where = f", {format_bytes(self.file_bytes)} of files" if self.file_bytes else ""
        about = f" and about {_format_seconds(self.seconds)}" if self.seconds else ""
        how = {
            "image": f"as a whole, by bands, maps in {'files' if self.settings.folder else 'memory'}",
            "tile": f"by tiles of {self.tile_px} px that overlap by {self.overlap_px} px",
            "shared": f"by tiles of {self.tile_px} px that overlap by {self.overlap_px} px and share their means",
        }[self.context]
        return (
            f"{self.width} x {self.height} px {how}: at most {format_bytes(self.memory_bytes)} of memory{where}{about}."
        )

    def to_dict(self) -> dict[str, object]:
        """Write plain values."""
        return {
            "context": self.context,
            "height": self.height,
            "width": self.width,
            "band_bytes": self.settings.band_bytes,
            "dtype": self.settings.dtype,
            "maps": "files" if self.settings.folder else "memory",
            "tile_px": self.tile_px,
            "overlap_px": self.overlap_px,
            "memory_bytes": self.memory_bytes,
            "file_bytes": self.file_bytes,
            "seconds": self.seconds,
        }


def parse_memory(text: str) -> int:
    """Read an amount of memory such as ``8GB``, ``512M`` or ``2.5 GiB``, in units of 1024 [bytes].

    Raises:
        ConfigError: If it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise ConfigError(f"memory is an amount such as 8GB or 512MB, got {text!r}.")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def default_memory() -> int:
    """Choose how much memory to use where nobody says: three fifths of what is there [bytes]."""
    available = available_bytes()
    return _FALLBACK_BYTES if available is None else int(available * _SHARE_OF_AVAILABLE)


def plan_streaming(
    network: FocalNet,
    height: int,
    width: int,
    *,
    memory_bytes: int,
    folder: Path | None,
    held_bytes: int = 0,
    output_bytes: int = 0,
    dtype: str = "float32",
    keep: tuple[int, ...] | None = None,
    always_files: bool = False,
) -> Plan:
    """Choose how to stream an image (H, W) within the memory there is.

    Args:
        network: What looks at it.
        height: H [px].
        width: W [px].
        memory_bytes: Most memory to use.
        folder: Where maps may lie as files; None allows memory only.
        held_bytes: What the source takes, see :attr:`focalnets.large.sources.Source.held_bytes`.
        output_bytes: What results take in memory.
        dtype: How maps are kept.
        keep: Stages whose maps are wanted; None keeps all.
        always_files: Keep maps in files even where memory would do, so that an interrupted image goes on.

    Raises:
        ConfigError: If it does not fit; the message says what would.
    """
    maps = _map_bytes(network, height, width, dtype, keep)
    fixed = held_bytes + output_bytes + _BESIDE_BYTES
    default = StreamSettings(dtype=dtype, keep=keep)
    smallest = fixed + _band_bytes(network, height, width, 1)
    for settings in (default, dataclasses.replace(default, band_bytes=1)):
        bands = _band_bytes(network, height, width, settings.band_bytes)
        if not always_files and fixed + maps + bands <= memory_bytes:
            return Plan("image", height, width, settings, 0, 0, fixed + maps + bands, 0)
        if folder is not None and fixed + bands <= memory_bytes:
            _require_room(folder, maps)
            settings = dataclasses.replace(settings, folder=folder)
            return Plan("image", height, width, settings, 0, 0, fixed + bands, maps)
    needed = smallest if folder is not None else smallest + maps
    raise ConfigError(
        f"an image of {width} x {height} px as a whole takes at least {format_bytes(needed)} of memory"
        f"{'' if folder is not None else ' without files'}, and {format_bytes(memory_bytes)} are allowed; allow more "
        "memory, or look at it by tiles."
    )


def plan_tiles(
    network: FocalNet,
    context: Context,
    height: int,
    width: int,
    *,
    tile_px: int,
    overlap_px: int,
    memory_bytes: int,
    held_bytes: int = 0,
    output_bytes: int = 0,
) -> Plan:
    """State what an image (H, W) takes by tiles.

    Raises:
        ConfigError: If tile and overlap do not fit each other or the network's grid, or not the memory.
    """
    grid = network.config.strides[-1]
    if tile_px < grid or tile_px % grid or overlap_px % grid or not 0 <= overlap_px < tile_px:
        raise ConfigError(
            f"a tile is a multiple of {grid} px, the grid of the coarsest map, and overlaps by a smaller multiple or "
            f"0, got {tile_px} and {overlap_px}."
        )
    dims, strides = network.config.dims, network.config.strides
    pixels = min(tile_px, height) * min(tile_px, width)
    of_pixel = 4 * network.config.in_chans + sum(4 * dim / stride**2 for dim, stride in zip(dims, strides, strict=True))
    needed = int(_TILE_COPIES * pixels * of_pixel) + held_bytes + output_bytes + _BESIDE_BYTES
    if needed > memory_bytes:
        raise ConfigError(
            f"tiles of {tile_px} px take about {format_bytes(needed)} of memory, and {format_bytes(memory_bytes)} are "
            "allowed; use smaller tiles, or allow more."
        )
    return Plan(context, height, width, StreamSettings(), tile_px, overlap_px, needed, 0)


@torch.inference_mode()
def estimate_seconds(network: FocalNet, plan: Plan, run: Callable[[Tensor], object] | None = None) -> Plan:
    """Add to a plan how long it will take, from a short look at a small image of noise."""
    side = min(_CALIBRATION_PX, max(plan.height, plan.width))
    device = next(network.parameters()).device
    images = torch.randn(1, network.config.in_chans, side, side, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    call = run or network.forward_pyramid
    call(images)
    started = time.perf_counter()
    call(images)
    seconds = (time.perf_counter() - started) * plan.height * plan.width / side**2
    if plan.context != "image":
        step = plan.tile_px - plan.overlap_px
        pixels = math.prod(
            max(1, math.ceil((size - plan.overlap_px) / step)) * plan.tile_px for size in (plan.height, plan.width)
        )
        seconds *= max(1.0, pixels / (plan.height * plan.width)) * (2 if plan.context == "shared" else 1)
    return dataclasses.replace(plan, seconds=seconds)


def format_bytes(count: float) -> str:
    """Write an amount of memory for people."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{max(1, round(count / 2**20))} MB"


def _format_seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _map_bytes(network: FocalNet, height: int, width: int, dtype: str, keep: tuple[int, ...] | None) -> int:
    """Most that the maps take at once: those kept, the one before, and tokens and levels of the one at work."""
    number = 2 if dtype == "float16" else 4
    most = kept = before = 0
    seen: set[int] = set()
    for rows, columns, stage in sweeps_of(network, height, width):
        if stage in seen:
            continue
        seen.add(stage)
        channels = network.config.dims[stage]
        band = band_rows(blocks_of(network.stages[stage]), rows, columns, StreamSettings().band_bytes)
        tokens = (rows + band) * columns * channels * number
        levels = (rows + band) * columns * (channels + 1) * number
        most = max(most, kept + before + tokens + levels)
        if keep is None or stage in keep:
            kept += tokens
            before = 0
        else:
            before = tokens
    return most


def _band_bytes(network: FocalNet, height: int, width: int, band_bytes: int) -> int:
    """What computing one band takes, in the stage where that is most, and its pixels on the way to tokens."""
    most = 0
    for rows, columns, stage in sweeps_of(network, height, width):
        band = band_rows(blocks_of(network.stages[stage]), rows, columns, band_bytes)
        channels = network.config.dims[stage]
        most = max(most, _COPIES_OF_BAND * band * columns * channels * 4)
        if stage == 0:
            at_once = min(band, rows_at_once(network.stem, width))
            most = max(most, at_once * embedding_bytes(network.stem, width) + 2 * band * columns * channels * 4)
    return most


def _require_room(folder: Path, needed: int) -> None:
    place = next((parent for parent in (folder, *folder.parents) if parent.is_dir()), None)
    free = math.inf if place is None else shutil.disk_usage(place).free
    if free < needed:
        raise ConfigError(
            f"the maps take {format_bytes(needed)} of files, and {format_bytes(free)} are free in '{folder}'; make "
            "room, name another folder, or keep maps in half precision."
        )
