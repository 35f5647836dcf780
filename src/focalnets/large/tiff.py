"""Regions of TIFF files: tiled, in strips, with smaller copies inside, larger than 4 GB, by tifffile.

Without compression and with deflate tifffile does it alone; LZW, JPEG, JPEG 2000, WebP, Zstandard and others need
imagecodecs. Both come with ``focalnets[large]``.

Axes: H W height and width of the picture as it is stored [px], S numbers of a pixel, h w of a region.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.errors import ImageError
from focalnets.large.readers import RawRows, Reader

__all__ = ["TiffSegments", "open_tiff"]

_CACHE_BYTES = 64 * 2**20
_ORIENTATION_TAG, _EXTRA_SAMPLES_TAG, _COLOUR_MAP_TAG = 274, 338, 320
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_JPEG = (6, 7)


class TiffSegments:
    """The tiles or strips of one picture of a TIFF, decoded when they are needed.

    Args:
        file: The open file.
        page: tifffile's page.
        name: What errors call the file.
    """

    def __init__(self, file: Any, page: Any, name: str) -> None:
        self.name = name
        self._file, self._page = file, page
        self.height, self.width = page.imagelength, page.imagewidth
        self.samples = page.samplesperpixel
        self.reads_columns = bool(page.is_tiled)
        self._rows = page.tilelength if page.is_tiled else page.rowsperstrip
        self._columns = page.tilewidth if page.is_tiled else page.imagewidth
        self._planes = self.samples if page.planarconfig == 2 else 1
        across, down = -(-self.width // self._columns), -(-self.height // self._rows)
        self._across, self._of_plane = across, across * down
        of_row = self.width * self._rows * self.samples * np.dtype(page.dtype).itemsize
        self.held_bytes = max(_CACHE_BYTES, 2 * of_row)
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Read a region (h, w, S)."""
        region = np.zeros((bottom - top, right - left, self.samples), self._page.dtype)
        for plane in range(self._planes):
            for row in range(top // self._rows, -(-bottom // self._rows)):
                for column in range(left // self._columns, -(-right // self._columns)):
                    segment = self._segment(plane * self._of_plane + row * self._across + column)
                    if segment is None:  # Nothing was written there.
                        continue
                    y, x = row * self._rows, column * self._columns
                    rows = slice(max(top, y), min(bottom, y + segment.shape[0]))
                    columns = slice(max(left, x), min(right, x + segment.shape[1]))
                    samples = slice(plane, plane + 1) if self._planes > 1 else slice(None)
                    region[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left, samples] = (
                        segment[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
                    )
        return region

    def close(self) -> None:
        """Close the file."""
        self._cache.clear()
        self._file.close()

    def _segment(self, index: int) -> np.ndarray | None:
        """Decode a tile or strip (h, w, numbers), or take it from those decoded last."""
        with self._lock:
            found = self._cache.get(index)
            if found is not None:
                self._cache.move_to_end(index)
                return found
            decoded = self._decode(index)
            if decoded is None:
                return None
            self._cache[index] = decoded
            self._cached_bytes += decoded.nbytes
            while self._cached_bytes > self.held_bytes and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
            return decoded

    def _decode(self, index: int) -> np.ndarray | None:
        page = self._page
        try:
            size = page.databytecounts[index]
            if size == 0:
                return None
            handle = page.parent.filehandle
            handle.seek(page.dataoffsets[index])
            data = handle.read(size)
            if len(data) < size:
                raise ValueError("the file ends within its pixels")
            tables = {"jpegtables": page.jpegtables} if page.jpegtables is not None else {}
            segment, _, shape = page.decode(data, index, **tables)
        except Exception as error:  # Damaged files make decoders raise anything.
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            advice = "install it with pip install 'focalnets[large]'" if _asks_for_codecs(error) else "fetch it again"
            raise ImageError(f"{self.name} cannot be decoded ({reason}); {advice}.") from error
        return None if segment is None else segment[0, : shape[1], : shape[2]]


def open_tiff(path: Path, level: int) -> tuple[Reader, dict[str, Any]] | None:
    """Open the first picture of a TIFF for reading by regions.

    Args:
        path: The file.
        level: Which of its sizes, 0 being the largest.

    Returns:
        The reader and how its numbers are meant: ``mode`` as Pillow calls it, or ``inverted`` grey, ``palette`` (N, 3)
        uint8, ``orientation``; or None for kinds of pixels that only whole pictures are decoded of.

    Raises:
        ImageError: If the file is damaged or has no such level.
        ImportError: If tifffile is not installed.
    """
    import tifffile

    try:
        file = tifffile.TiffFile(path)
    except Exception as error:  # Damaged headers make it raise anything.
        raise ImageError(f"'{path}' is no TIFF that can be read ({' '.join(str(error).split())}).") from error
    try:
        page = _page(file, level, f"'{path}'")
        meaning = _meaning(page)
        if meaning is None:
            file.close()
            return None
        meaning["orientation"] = _value(page, _ORIENTATION_TAG, 1)
        return _reader(path, file, page), meaning
    except ImageError:
        file.close()
        raise
    except Exception as error:
        file.close()
        raise ImageError(f"'{path}' is a damaged TIFF ({' '.join(str(error).split())}); fetch it again.") from error


def _page(file: Any, level: int, name: str) -> Any:
    """The first picture, or the smaller copy of it that is asked for."""
    pages = [file.pages.first]
    with contextlib.suppress(Exception):  # What surrounds the first picture may be anything.
        pages = [
            each.pages[0].aspage() if hasattr(each.pages[0], "aspage") else each.pages[0]
            for each in file.series[0].levels
        ]
    if not 0 <= level < len(pages):
        raise ImageError(f"{name} has {len(pages)} levels, counted from 0, and no level {level}.")
    return pages[level]


def _reader(path: Path, file: Any, page: Any) -> Reader:
    plain = page.compression == 1 and page.planarconfig == 1 and page.predictor == 1 and page.fillorder == 1
    if plain and not page.is_tiled and page.is_contiguous and page.bitspersample in (8, 16, 32, 64):
        dtype = np.dtype(page.parent.byteorder + page.dtype.char)
        shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
        offset = page.dataoffsets[0]
        file.close()
        return RawRows(path, offset, shape, dtype)
    return TiffSegments(file, page, f"'{path}'")


def _meaning(page: Any) -> dict[str, Any] | None:
    if page.imagedepth > 1 or page.dtype is None or page.bitspersample not in (1, 8, 16, 32, 64):
        return None
    if np.dtype(page.dtype).kind not in "buif":
        return None
    samples, photometric = page.samplesperpixel, int(page.photometric)
    extra = tuple(int(value) for value in np.atleast_1d(_value(page, _EXTRA_SAMPLES_TAG, ())))
    if page.bitspersample == 1 and not (samples == 1 and photometric in (_MIN_IS_BLACK, _MIN_IS_WHITE)):
        return None
    if photometric == _MIN_IS_BLACK and (samples, extra) in {(1, ()), (2, (2,)), (2, (1,))}:
        return {"mode": "L" if samples == 1 else "LA" if extra == (2,) else "La"}
    if photometric == _MIN_IS_WHITE and samples == 1 and page.bitspersample in (1, 8):
        return {"mode": "inverted"}
    is_rgb = photometric == _RGB or (photometric == _YCBCR and page.compression in _JPEG and samples == 3)
    if is_rgb and (samples == 3 or (samples == 4 and len(extra) == 1)):
        return {"mode": "RGB" if samples == 3 else {2: "RGBA", 1: "RGBa"}.get(extra[0], "RGBX")}
    if page.bitspersample != 8:
        return None
    if photometric == _PALETTE and samples == 1:
        colours = np.asarray(_value(page, _COLOUR_MAP_TAG, ()), np.uint16).reshape(3, -1).T
        return {"mode": "P", "palette": (colours >> 8).astype(np.uint8)}
    if photometric == _SEPARATED and samples == 4 and not extra and page.compression not in _JPEG:
        return {"mode": "CMYK"}
    return None


def _value(page: Any, tag: int, default: Any) -> Any:
    found = page.tags.get(tag)
    return default if found is None else found.value


def _asks_for_codecs(error: Exception) -> bool:
    return "imagecodecs" in str(error)
