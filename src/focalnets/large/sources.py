"""Pictures of any size, read by regions as upright 8-bit RGB.

Whole files are decoded only where their format knows no other way (JPEG, PNG, WebP and the like); what that takes is
stated beforehand.

Axes: H W height and width of the upright picture [px], h w of a region.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from focalnets.data.decoding import declared_white, to_rgb
from focalnets.data.image_formats import PREFIX_BYTES, format_of_bytes
from focalnets.data.images import (
    DEFAULT_MAX_PIXELS,
    exif_orientation,
    image_header,
    image_size,
    open_image_file,
    read_image,
)
from focalnets.errors import ImageError, MissingPackageError, ShapeError
from focalnets.files import user_path
from focalnets.large.readers import Held, RawRows, Reader, Slide, StoredRows
from focalnets.large.tiff import open_tiff

__all__ = ["SLIDE_EXTENSIONS", "LargePicture", "Source", "open_source"]

SLIDE_EXTENSIONS = (".bif", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu")
"""Endings of slides that OpenSlide reads."""

LargePicture = str | os.PathLike[str] | np.ndarray | Image.Image
"""What a large picture may be given as."""

_BYTES_OF_PIXEL = 4
"""Memory of a pixel of a decoded picture, which Pillow gives to red, green and blue [bytes]."""

_ROWS_AT_ONCE_BYTES = 32 * 2**20


@dataclasses.dataclass(frozen=True)
class _Turn:
    """From the picture as it is stored to the upright one: mirrored, then rows and columns exchanged."""

    rows: bool = False
    columns: bool = False
    exchanged: bool = False


_TURNS = {
    1: _Turn(), 2: _Turn(columns=True), 3: _Turn(rows=True, columns=True), 4: _Turn(rows=True),
    5: _Turn(exchanged=True), 6: _Turn(rows=True, exchanged=True),
    7: _Turn(rows=True, columns=True, exchanged=True), 8: _Turn(columns=True, exchanged=True),
}  # fmt: skip
"""By what EXIF and TIFF say of the orientation."""


class Source:
    """A picture that is read by regions.

    Args:
        name: What people call it.
        reader: Reads the picture as it is stored.
        mode: How its numbers are meant: a mode of Pillow, or ``inverted`` for grey whose largest value is black.
        palette: Colours (N, 3) uint8 of mode P.
        orientation: How it must be turned to stand upright, 1 to 8.
        white: The largest value by the file's own word, see :func:`focalnets.data.decoding.declared_white`.
        fingerprint: Changes with the picture.

    Attributes:
        height, width: Of the upright picture [px].
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        *,
        mode: str = "RGB",
        palette: np.ndarray | None = None,
        orientation: int = 1,
        white: int | None = None,
        fingerprint: str = "",
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        self._reader, self._mode, self._palette, self._white = reader, mode, palette, white
        self._turn = _TURNS.get(orientation, _Turn())
        size = (reader.height, reader.width)
        self.height, self.width = size[::-1] if self._turn.exchanged else size

    @property
    def held_bytes(self) -> int:
        """Memory that it takes while it is read [bytes]."""
        return self._reader.held_bytes

    def read(self, top: int, bottom: int, left: int = 0, right: int | None = None) -> np.ndarray:
        """Read a region (h, w, 3) uint8; the last row and column are excluded.

        Raises:
            ImageError: If the file is damaged.
        """
        right = self.width if right is None else right
        if not (0 <= top < bottom <= self.height and 0 <= left < right <= self.width):
            raise ShapeError(
                f"a region lies within the {self.width} x {self.height} pixels of the picture, got rows {top} to "
                f"{bottom} and columns {left} to {right}."
            )
        turn = self._turn
        rows, columns = (left, right), (top, bottom)
        if not turn.exchanged:
            rows, columns = columns, rows
        if turn.rows:
            rows = (self._reader.height - rows[1], self._reader.height - rows[0])
        if turn.columns:
            columns = (self._reader.width - columns[1], self._reader.width - columns[0])
        region = self._in_colour(self._reader.read(*rows, *columns))
        region = region[:: -1 if turn.rows else 1, :: -1 if turn.columns else 1]
        return region.swapaxes(0, 1) if turn.exchanged else region

    def thumbnail(self, longest_px: int) -> Image.Image:
        """Make a small copy, reading band by band, in mode RGB."""
        scale = max(1.0, max(self.height, self.width) / longest_px)
        size = (max(1, round(self.width / scale)), max(1, round(self.height / scale)))
        result = Image.new("RGB", size)
        step = max(1, int(_ROWS_AT_ONCE_BYTES // (self.width * 3) // scale))
        for first in range(0, size[1], step):
            last = min(size[1], first + step)
            top, bottom = int(first * scale), min(self.height, max(int(first * scale) + 1, round(last * scale)))
            band = Image.fromarray(np.ascontiguousarray(self.read(top, bottom)))
            result.paste(band.resize((size[0], last - first), Image.Resampling.BOX), (0, first))
        return result

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _in_colour(self, region: np.ndarray) -> np.ndarray:
        """Turn numbers (h, w, S) as they are stored into RGB (h, w, 3) uint8."""
        if region.dtype == bool or self._mode == "inverted":
            grey = region.astype(np.uint8) * 255 if region.dtype == bool else region
            region = 255 - grey if self._mode == "inverted" else grey
        if self._mode == "RGBX":
            region = region[..., :3]
        if region.dtype == np.uint8 and region.shape[2] == 3:
            return region
        white = self._white if self._white is not None and self._range[1] <= self._white else None
        limits = None
        if region.dtype == np.uint16 and region.shape[2] > 1:  # Colours keep their upper eight bits.
            region = (region >> 8).astype(np.uint8)
            limits = None if white is None else (0.0, float(white >> 8))
        elif region.dtype not in (np.uint8, np.uint16):
            region = region.astype(np.float32 if region.dtype.kind == "f" else np.int32)
            limits = self._range
        return np.asarray(to_rgb(self._picture(region), white, limits))

    def _picture(self, region: np.ndarray) -> Image.Image:
        values = np.ascontiguousarray(region[..., 0] if region.shape[2] == 1 else region)
        if self._mode in ("L", "inverted", "RGB", "RGBX") or values.dtype != np.uint8:
            return Image.fromarray(values)
        size = (values.shape[1], values.shape[0])
        picture = Image.frombytes(self._mode, size, values.tobytes(), "raw", self._mode)
        if self._palette is not None:
            picture.putpalette(self._palette.tobytes())
        return picture

    @functools.cached_property
    def _range(self) -> tuple[float, float]:
        """Smallest and largest finite value of the whole picture, which is read once for it; zeros if there is none."""
        reader = self._reader
        first = reader.read(0, 1, 0, 1)
        step = max(1, _ROWS_AT_ONCE_BYTES // max(1, reader.width * first.nbytes))
        low, high = np.inf, -np.inf
        for top in range(0, reader.height, step):
            values = reader.read(top, min(reader.height, top + step), 0, reader.width)
            if values.shape[2] in (2, 4):
                values = values[..., :-1]
            if values.dtype.kind == "f":
                values = values[np.isfinite(values)]
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        return (low, high) if low <= high else (0.0, 0.0)


def open_source(picture: LargePicture, *, level: int = 0, max_held_pixels: int = DEFAULT_MAX_PIXELS) -> Source:
    """Open a picture for reading by regions.

    TIFF files (tiled, in strips, BigTIFF) need tifffile, slides of microscopes OpenSlide, see the extras ``large`` and
    ``slides``. BMP, PPM and NumPy files are read as they lie on the disk. Any other image is decoded whole when it is
    first read, and turned upright.

    Args:
        picture: A path, an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), also one in a file of its own
            (``numpy.memmap``), or a PIL image.
        level: Which size of a file that has several, 0 being the largest.
        max_held_pixels: Largest picture that is decoded whole [px].

    Raises:
        ImageError: If the file is missing, no image, damaged or too large to be decoded whole.
        MissingPackageError: If it needs a package that is not installed.
        ShapeError: If an array has another shape or dtype.
    """
    if isinstance(picture, np.ndarray):
        return _of_array(picture)
    if isinstance(picture, Image.Image):
        return _of_array(np.asarray(to_rgb(picture.copy())))
    path = user_path(picture)
    with open_image_file(path) as file:
        prefix = file.read(PREFIX_BYTES)
        status = os.fstat(file.fileno())
    fingerprint = f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {level}"
    if path.suffix.lower() in SLIDE_EXTENSIONS:
        slide = _open_slide(path, level, is_tiff=format_of_bytes(prefix) == "TIFF")
        if slide is not None:
            return Source(str(path), slide, mode="RGBA", fingerprint=fingerprint)
    if prefix.startswith(b"\x93NUMPY"):
        return _of_numpy_file(path, fingerprint)
    if format_of_bytes(prefix) == "TIFF":
        source = _open_tiff(path, level, fingerprint, max_held_pixels)
        if source is not None:
            return source
    if level:
        raise ImageError(f"'{path}' has one size only, and no level {level}.")
    return _of_image_file(path, fingerprint, max_held_pixels)


def _of_array(array: np.ndarray) -> Source:
    shown = array[..., None] if array.ndim == 2 else array
    if shown.ndim != 3 or shown.shape[2] not in (1, 3, 4) or 0 in shown.shape:
        raise ShapeError(f"a picture is an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.shape}.")
    if shown.dtype not in (np.uint8, np.uint16) and not (shown.shape[2] == 1 and shown.dtype.kind in "buif"):
        raise ShapeError(f"a picture in colour holds uint8 or uint16, got {array.dtype}.")
    step = max(1, len(shown) // 64)
    check = zlib.crc32(np.ascontiguousarray(shown[::step, :: max(1, shown.shape[1] // 64)]).tobytes())
    reader = Held(shown.shape[:2], lambda: shown, 0)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[shown.shape[2]]
    return Source("the picture", reader, mode=mode, fingerprint=f"array {shown.shape} {shown.dtype} {check}")


def _of_numpy_file(path: Path, fingerprint: str) -> Source:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, in_columns, dtype = read(file)
            offset = file.tell()
    except ValueError as error:
        raise ImageError(f"'{path}' is a damaged NumPy file ({error}).") from error
    if in_columns or dtype.hasobject:
        raise ImageError(f"'{path}' holds its array by columns, or objects; save numbers by rows, as numpy.save does.")
    _of_array(np.lib.stride_tricks.as_strided(np.zeros(1, dtype), shape, (0,) * len(shape)))  # checks shape and dtype
    height, width, samples = (*shape, 1)[:3]
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[samples]
    return Source(str(path), RawRows(path, offset, (height, width, samples), dtype), mode=mode, fingerprint=fingerprint)


def _open_slide(path: Path, level: int, *, is_tiff: bool) -> Slide | None:
    """Open a slide; None where OpenSlide is not installed and it is a TIFF that may be read without."""
    try:
        return Slide(path, level)
    except ImportError:
        if is_tiff:
            return None
        raise MissingPackageError(
            f"'{path}' is a slide, which OpenSlide reads; install it with pip install 'focalnets[slides]'."
        ) from None


def _open_tiff(path: Path, level: int, fingerprint: str, max_held_pixels: int) -> Source | None:
    try:
        opened = open_tiff(path, level)
    except ImportError:
        if level == 0 and _pixels(path) <= max_held_pixels:
            return None
        raise MissingPackageError(
            f"'{path}' is a large TIFF, which tifffile reads by regions; install it with "
            "pip install 'focalnets[large]'."
        ) from None
    if opened is None:
        return None
    reader, meaning = opened
    if _TURNS.get(meaning["orientation"], _Turn()).exchanged and not reader.reads_columns:
        reader.close()  # A band of the upright picture would need all of its strips.
        return None
    with open_image_file(path) as file:
        white = _white(file, path) if level == 0 else None
    return Source(str(path), reader, white=white, fingerprint=fingerprint, **meaning)


def _white(file: Any, path: Path) -> int | None:
    try:
        return declared_white(image_header(file, f"'{path}'"), file)
    except ImageError:  # Pillow knows fewer kinds of TIFF.
        return None


def _pixels(path: Path) -> int:
    with open_image_file(path) as file:
        width, height = image_header(file, f"'{path}'").size
    return width * height


def _of_image_file(path: Path, fingerprint: str, max_held_pixels: int) -> Source:
    with open_image_file(path) as file:
        header = image_header(file, f"'{path}'")
        if StoredRows.fits(header) and exif_orientation(header) == 1:
            return Source(str(path), StoredRows(path, header), fingerprint=fingerprint)
        turned = exif_orientation(header)
    width, height = image_size(path)
    if width * height > max_held_pixels:
        raise ImageError(
            f"'{path}' has {width * height / 1e6:,.0f} megapixels and can only be decoded whole, which takes "
            f"{width * height * _BYTES_OF_PIXEL / 1e9:.1f} GB; allow more with max_held_pixels, or save it as a tiled "
            "TIFF, which is read by regions."
        )
    held_bytes = width * height * _BYTES_OF_PIXEL * (2 if turned > 1 else 1)
    reader = Held((height, width), lambda: read_image(path, max_pixels=max_held_pixels), held_bytes)
    return Source(str(path), reader, fingerprint=fingerprint)
