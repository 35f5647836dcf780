"""What reads regions of a picture: of a file with rows side by side, of a picture in memory, of a slide.

Axes: H W height and width of the picture as it is stored [px], S numbers of a pixel, h w of a region.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from focalnets.data.decoding import to_rgb
from focalnets.errors import ImageError

__all__ = ["Held", "RawRows", "Reader", "Slide", "StoredRows"]


class Reader(Protocol):
    """Reads regions of a picture as it is stored: not turned, in its own numbers.

    Attributes:
        height: Rows H [px].
        width: Columns W [px].
        held_bytes: Memory that the picture takes while it is read [bytes].
        reads_columns: Whether a narrow region that is high takes little more time than a wide one that is low.
    """

    height: int
    width: int
    held_bytes: int
    reads_columns: bool

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Read a region (h, w, S)."""

    def close(self) -> None:
        """Close the file."""


class RawRows:
    """A file whose rows lie one after the other as numbers, such as a NumPy array or a TIFF without compression.

    Args:
        path: The file.
        offset: Where the first row begins [bytes].
        shape: (H, W, S).
        dtype: Of the numbers, with their order of bytes.
    """

    held_bytes = 0
    reads_columns = False

    def __init__(self, path: Path, offset: int, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self.height, self.width, self.samples = shape
        self.dtype, self.offset = dtype, offset
        self.row_bytes = self.width * self.samples * dtype.itemsize
        self.name = f"'{path}'"
        self._file = path.open("rb")
        if os.fstat(self._file.fileno()).st_size < offset + self.height * self.row_bytes:
            self._file.close()
            raise ImageError(f"{self.name} is incomplete: its rows end before the picture does; fetch it again.")

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Read the rows of a region, and return it (h, w, S)."""
        rows = np.empty((bottom - top, self.width, self.samples), self.dtype)
        self._file.seek(self.offset + top * self.row_bytes)
        numbers: Any = rows.reshape(-1).view(np.uint8)
        if self._file.readinto(memoryview(numbers)) != rows.nbytes:
            raise ImageError(f"{self.name} became shorter while it was read; fetch it again.")
        region = rows[:, left:right]
        return region if region.dtype.isnative else region.astype(region.dtype.newbyteorder("="))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class StoredRows:
    """A file that Pillow would read row by row as its rows lie there, such as BMP and PPM.

    Args:
        path: The file.
        header: Pillow's picture, not decoded; see :meth:`fits`.
    """

    held_bytes = 0
    reads_columns = False

    def __init__(self, path: Path, header: Image.Image) -> None:
        self.width, self.height = header.size
        self.mode = header.mode
        tile: Any = header.tile[0]  # type: ignore[attr-defined]
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        self.raw_mode = arguments[0]
        self.is_upside_down = len(arguments) > 2 and arguments[2] < 0
        bytes_of_pixel = 3 if self.mode == "RGB" else 1
        self.row_bytes = (arguments[1] if len(arguments) > 1 else 0) or self.width * bytes_of_pixel
        self.offset = tile[2]
        self.name = f"'{path}'"
        self._file = path.open("rb")
        if os.fstat(self._file.fileno()).st_size < self.offset + self.height * self.row_bytes:
            self._file.close()
            raise ImageError(f"{self.name} is incomplete: its rows end before the picture does; fetch it again.")

    @staticmethod
    def fits(header: Image.Image) -> bool:
        """Tell whether the rows of a picture lie in its file as they are, 8 bits each."""
        tiles: Any = getattr(header, "tile", ())
        if len(tiles) != 1 or tiles[0][0] != "raw" or header.format not in ("BMP", "PPM"):
            return False
        raw_mode = tiles[0][3][0] if isinstance(tiles[0][3], tuple) else tiles[0][3]
        return (header.mode, raw_mode) in {("L", "L"), ("RGB", "RGB"), ("RGB", "BGR")}

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Read a region as RGB (h, w, 3) uint8."""
        first = self.height - bottom if self.is_upside_down else top
        self._file.seek(self.offset + first * self.row_bytes)
        data = self._file.read((bottom - top) * self.row_bytes)
        if len(data) != (bottom - top) * self.row_bytes:
            raise ImageError(f"{self.name} became shorter while it was read; fetch it again.")
        size, order = (self.width, bottom - top), -1 if self.is_upside_down else 1
        rows = Image.frombytes(self.mode, size, data, "raw", self.raw_mode, self.row_bytes, order)
        return np.asarray(to_rgb(rows.crop((left, 0, right, bottom - top))))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Held:
    """A picture in memory: an array, or one that can only be decoded whole, which happens when it is first read.

    Args:
        size: (H, W).
        decode: Returns the picture, an array (H, W, S) or an image in mode RGB.
        held_bytes: Memory that it takes then.
    """

    reads_columns = True

    def __init__(self, size: tuple[int, int], decode: Callable[[], np.ndarray | Image.Image], held_bytes: int) -> None:
        self.height, self.width = size
        self.held_bytes = held_bytes
        self._decode = decode
        self._picture: np.ndarray | Image.Image | None = None

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Copy a region (h, w, S)."""
        if self._picture is None:
            self._picture = self._decode()
        if isinstance(self._picture, np.ndarray):
            return np.array(self._picture[top:bottom, left:right])
        return np.asarray(self._picture.crop((left, top, right, bottom)))

    def close(self) -> None:
        """Give the memory back."""
        self._picture = None


class Slide:
    """A slide of a microscope that OpenSlide reads.

    Args:
        path: The file.
        level: Which of its sizes, 0 being the largest.
    """

    held_bytes = 64 * 2**20
    reads_columns = True

    def __init__(self, path: Path, level: int) -> None:
        import openslide

        self.name = f"'{path}'"
        try:
            self._slide = openslide.OpenSlide(str(path))
        except openslide.OpenSlideError as error:
            raise ImageError(f"{self.name} is no slide that OpenSlide can read ({error}).") from error
        levels = self._slide.level_count
        if not 0 <= level < levels:
            self._slide.close()
            raise ImageError(f"{self.name} has {levels} levels, counted from 0, and no level {level}.")
        self._level, self._error = level, openslide.OpenSlideError
        self.width, self.height = self._slide.level_dimensions[level]

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Read a region as RGBA (h, w, 4) uint8."""
        scale = self._slide.level_downsamples[self._level]
        try:
            corner = (round(left * scale), round(top * scale))
            region = self._slide.read_region(corner, self._level, (right - left, bottom - top))
        except self._error as error:
            raise ImageError(f"{self.name} is damaged ({error}); fetch it again.") from error
        return np.asarray(region)

    def close(self) -> None:
        """Close the file."""
        self._slide.close()
