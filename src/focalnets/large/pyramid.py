"""The pyramid of a large image: maps that are read by rows or by windows, wherever they lie.

Axes: H W height and width of the image [px], h w of a map [tokens], C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor, nn

from focalnets.files import replacing
from focalnets.large.journal import Journal
from focalnets.large.network import require_streamable
from focalnets.large.sources import Source
from focalnets.large.store import RowStore
from focalnets.large.streaming import StreamSettings, stream_maps
from focalnets.machine.devices import sum_dtype
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet

__all__ = ["Pyramid", "classify_streamed", "prepared_rows", "stream_pyramid"]

_ROWS_AT_ONCE = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Pyramid:
    """The maps of all stages of one image, as :meth:`focalnets.models.focalnet.FocalNet.forward_pyramid` gives them.

    Attributes:
        height, width: Of the image [px].
        strides: Pixels between neighbouring tokens of each map.
        maps: One a stage, finest first; None where it was not kept.
        norms: What each map passes when it is read; None where nothing does.
    """

    height: int
    width: int
    strides: tuple[int, ...]
    maps: tuple[RowStore | None, ...]
    norms: tuple[nn.Module | None, ...]

    def size(self, stage: int) -> tuple[int, int]:
        """Height and width of the map of a stage [tokens]."""
        stored = self._map(stage)
        return stored.height, stored.width

    def channels(self, stage: int) -> int:
        """Channels of the map of a stage."""
        return self._map(stage).channels

    @torch.inference_mode()
    def rows(self, stage: int, first: int, last: int) -> Tensor:
        """Read rows of a map, the last excluded: (rows, w, C) float32 on the CPU."""
        return self._normalized(stage, self._read(stage, first, last))

    @torch.inference_mode()
    def window(self, stage: int, top: int, bottom: int, left: int, right: int) -> Tensor:
        """Read a window of a map, in tokens: (1, C, h, w) float32 on the CPU."""
        tokens = self._read(stage, top, bottom)[:, left:right].contiguous()
        return self._normalized(stage, tokens).permute(2, 0, 1)[None]

    def pixels(self, top: int, bottom: int, left: int, right: int) -> list[Tensor]:
        """Read the windows of all kept maps over a window of the image [px], whose corner lies on all their grids."""
        windows = []
        for stage, stride in enumerate(self.strides):
            if self.maps[stage] is not None:
                windows.append(
                    self.window(stage, top // stride, -(-bottom // stride), left // stride, -(-right // stride))
                )
        return windows

    def save(self, folder: Path) -> list[Path]:
        """Write each kept map as a NumPy file (C-last: h, w, C) ``stage0.npy``, and so on; returns the files."""
        paths = []
        for stage, stored in enumerate(self.maps):
            if stored is None:
                continue
            path = folder / f"stage{stage}.npy"
            with replacing(path) as temporary:
                shape = (stored.height, stored.width, stored.channels)
                with temporary.open("wb") as file:
                    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
                    for first in range(0, stored.height, _ROWS_AT_ONCE):
                        rows = self.rows(stage, first, min(stored.height, first + _ROWS_AT_ONCE))
                        file.write(rows.contiguous().numpy().astype("<f4").tobytes())
            paths.append(path)
        return paths

    def close(self, *, delete: bool = True) -> None:
        """Give the memory back, or close the files of the maps and delete them."""
        for stored in self.maps:
            if stored is not None:
                stored.close(delete=delete)

    def __enter__(self) -> Pyramid:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(delete=kind is None)

    def _map(self, stage: int) -> RowStore:
        stored = self.maps[stage]
        assert stored is not None, f"the map of stage {stage} was not kept"
        return stored

    def _read(self, stage: int, first: int, last: int) -> Tensor:
        stored = self._map(stage)
        return stored.read(stored.last_version, first, last)

    def _normalized(self, stage: int, tokens: Tensor) -> Tensor:
        norm = self.norms[stage]
        if norm is None:
            return tokens
        return norm(tokens.to(next(norm.parameters()).device)).cpu()


def prepared_rows(source: Source, preprocessing: Preprocessing) -> Callable[[int, int], Tensor]:
    """Make what reads rows of a picture and prepares them for a network: (1, channels, rows, W) float32."""
    prepare = pixels_to_input(preprocessing)
    return lambda first, last: prepare(source.read(first, last))


def pixels_to_input(preprocessing: Preprocessing) -> Callable[[np.ndarray], Tensor]:
    """Make what turns pixels (h, w, 3) uint8 into the input (1, channels, h, w) of a network, channels last.

    The values are those of :func:`focalnets.data.transforms.to_tensor`.

    Raises:
        ConfigError: If the network takes another number of channels than pictures have.
    """
    from focalnets.data.transforms import to_tensor

    normalized = to_tensor(preprocessing)
    mean, std = normalized.mean.flatten(), normalized.std.flatten()

    def prepare(pixels: np.ndarray) -> Tensor:
        if normalized.grey:
            from PIL import Image

            return normalized(Image.fromarray(np.ascontiguousarray(pixels)))[None]
        values = torch.from_numpy(np.array(pixels, np.float32, order="C"))
        return values.mul_(1.0 / 255).sub_(mean).div_(std).permute(2, 0, 1)[None]

    return prepare


@torch.inference_mode()
def stream_pyramid(
    network: nn.Module,
    source: Source,
    settings: StreamSettings | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    journal: Journal | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Pyramid:
    """Compute the pyramid of an image of any size, exactly as if the network had seen it whole.

    Args:
        network: A FocalNet as it was built, in evaluation mode.
        source: The image.
        settings: Where maps lie meanwhile and how much is computed at once.
        preprocessing: How the image is prepared, but for its size, which stays; None takes the network's.
        journal: Where it is recorded how far the work is; only with maps in files.
        on_progress: Called with the fraction that is done.

    Raises:
        ConfigError: If the network cannot be taken apart.
        ImageError: If the image is damaged.
        DataError: If there is no room for the files.
    """
    network = require_streamable(network)
    read = prepared_rows(source, preprocessing or network.preprocessing)
    maps = stream_maps(
        network,
        read,
        source.height,
        source.width,
        settings or StreamSettings(),
        journal=journal,
        on_progress=on_progress,
    )
    norms: Sequence[nn.Module | None] = (
        [None] * len(maps) if network.pyramid_norms is None else [*network.pyramid_norms]
    )
    return Pyramid(source.height, source.width, network.config.strides, tuple(maps), tuple(norms))


@torch.inference_mode()
def classify_streamed(network: FocalNet, pyramid: Pyramid) -> Tensor:
    """Compute the logits (1, num_classes) of an image from the pyramid of its classifier."""
    assert network.norm is not None
    assert network.head is not None
    stage = len(pyramid.maps) - 1
    height, width = pyramid.size(stage)
    device = next(network.parameters()).device
    total = torch.zeros(pyramid.channels(stage), dtype=sum_dtype(device), device=device)
    for first in range(0, height, _ROWS_AT_ONCE):
        rows = pyramid.rows(stage, first, min(height, first + _ROWS_AT_ONCE)).to(device)
        total += network.norm(rows).sum(1, dtype=total.dtype).sum(0)
    return network.head((total / (height * width)).float()[None]).cpu()
