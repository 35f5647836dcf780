"""Finds image files and reads any of them as plain 8-bit RGB, or says in one sentence why it cannot."""

from __future__ import annotations

import contextlib
import glob
import io
import os
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from focalnets.errors import DataError, ImageError

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "IMAGE_EXTENSIONS",
    "decode_image",
    "encoded_image_size",
    "exif_orientation",
    "find_images",
    "image_header",
    "image_size",
    "natural_key",
    "open_image_file",
    "read_image",
    "turned_upright",
]

DEFAULT_MAX_PIXELS = 200_000_000
"""Largest width times height that is decoded unless the caller allows more [px]; 600 MB as RGB."""

IMAGE_EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".ppm", ".tif",
    ".tiff", ".webp",
)  # fmt: skip
"""Lower-case extensions by which folders are searched. What a file really is, is told by its first bytes."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""The formats that are tried. Pillow knows more, among them some that start other programs to draw a file."""

_WIDTH_TAG, _HEIGHT_TAG, _ORIENTATION_TAG = 0x0100, 0x0101, 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_header_lock = threading.Lock()


def read_image(
    path: str | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS, smallest_side_px: int | None = None
) -> Image.Image:
    """Read an image file as upright 8-bit RGB.

    EXIF rotation is applied and transparency is laid on white. Of several frames the first is taken. Grey values of 16
    bits are divided by 257. Values of 32-bit integers and floats are taken as 0 to 65535 and 0 to 1 where they lie in
    these ranges; otherwise the smallest finite value becomes black and the largest white. Colour profiles are ignored.

    Args:
        path: The file.
        max_pixels: Largest width times height [px] that is decoded. Checked against the header, before any pixel is
            decoded, and independent of Pillow's own limit.
        smallest_side_px: If given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, several times faster, as long
            as its shorter side keeps at least this many pixels.

    Returns:
        The image in mode RGB, fully decoded.

    Raises:
        ImageError: If the file is missing, unreadable, no image, damaged, incomplete or too large.
    """
    with open_image_file(path) as file:
        return _decode(file, f"'{path}'", max_pixels, smallest_side_px)


def decode_image(
    data: bytes,
    *,
    name: str = "the image",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    smallest_side_px: int | None = None,
) -> Image.Image:
    """Decode the bytes of an image file like :func:`read_image`; ``name`` is what errors call it."""
    return _decode(io.BytesIO(data), name, max_pixels, smallest_side_px)


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height [px] after EXIF rotation, from the header alone.

    Raises:
        ImageError: If the file is missing, unreadable or no image.
    """
    with open_image_file(path) as file:
        return _upright_size(file, f"'{path}'")


def encoded_image_size(data: bytes, *, name: str = "the image") -> tuple[int, int]:
    """Like :func:`image_size` for the bytes of an image file; ``name`` is what errors call it."""
    return _upright_size(io.BytesIO(data), name)


def image_header(file: BinaryIO, name: str) -> Image.Image:
    """The undecoded image in an open file, for its mode and number of frames; ``name`` is what errors call it.

    Raises:
        ImageError: If it is no image.
    """
    return _read_header(file, name)[0]


def find_images(inputs: Sequence[str | Path]) -> list[Path]:
    """List the image files meant by files, folders and patterns.

    A file is taken whatever its extension. A folder is searched with everything below it for :data:`IMAGE_EXTENSIONS`,
    links included and hidden names left out. A pattern may contain ``*``, ``?``, ``[...]`` and ``**``; what it matches
    is treated like a folder's content. Files come in the order of ``inputs``, within one input in natural order (img2
    before img10), each once.

    Raises:
        DataError: If there is no input or one of them leads to no image.
    """
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    if not inputs:
        raise DataError("expected at least one image, folder or pattern, got none.")
    found: dict[Path, None] = {}
    for given in inputs:
        path = Path(given).expanduser()
        if path.is_dir():
            files = _images_below(path)
            if not files:
                known = ", ".join(IMAGE_EXTENSIONS)
                raise DataError(f"the folder '{given}' holds no image; expected files ending in one of {known}.")
        elif path.exists() or not glob.has_magic(str(path)):
            if not path.exists():
                raise DataError(f"there is no file or folder '{given}'; check the path.")
            files = [path]
        else:
            files = []
            # Path.glob takes no absolute pattern.
            for match in map(Path, glob.glob(str(path), recursive=True)):  # noqa: PTH207
                if match.is_dir():
                    files.extend(_images_below(match))
                elif match.suffix.lower() in IMAGE_EXTENSIONS:
                    files.append(match)
            if not files:
                raise DataError(f"the pattern '{given}' matches no image; check it and quote it in a shell.")
            files.sort(key=_path_key)
        found.update(dict.fromkeys(files))
    return list(found)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that compares runs of digits as numbers and letters without regard to case."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _path_key(path: Path) -> list[tuple[list[str | int], str]]:
    return [natural_key(part) for part in path.parts]


def _images_below(folder: Path) -> list[Path]:
    # Following links can lead back to a folder above: each real folder is entered once along any one way down.
    files: list[Path] = []

    def visit(current: Path, above: frozenset[str]) -> None:
        real = os.path.realpath(current)
        if real in above:
            return
        try:
            entries = sorted(os.scandir(current), key=lambda entry: natural_key(entry.name))
        except PermissionError as error:
            raise DataError(f"the folder '{current}' cannot be read: permission denied; change its rights.") from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                visit(current / entry.name, above | {real})
            elif entry.is_file() and Path(entry.name).suffix.lower() in IMAGE_EXTENSIONS:
                files.append(current / entry.name)

    visit(folder, frozenset())
    return sorted(files, key=_path_key)


@contextlib.contextmanager
def open_image_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading, or say in one sentence why that cannot be.

    Raises:
        ImageError: If it is missing, a folder, no regular file or not to be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ImageError(f"expected an image, but '{path}' is a folder; name a file in it.")
        if path.exists() and not path.is_file():
            # Opening a pipe would wait for a writer.
            raise ImageError(f"expected an image, but '{path}' is no regular file.")
        file = path.open("rb")
    except FileNotFoundError:
        raise ImageError(f"there is no image '{path}'; check the path.") from None
    except PermissionError:
        raise ImageError(f"the image '{path}' cannot be read: permission denied; change its rights.") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"the image '{path}' cannot be opened ({error}); check the path.") from error
    with file:
        yield file


def _read_header(file: BinaryIO, name: str) -> tuple[Image.Image, int]:
    """Recognise the format; return the undecoded image and its EXIF orientation, 1 to 8."""
    Image.init()
    prefix = file.read(16)
    if not prefix:
        raise ImageError(f"{name} is empty (0 bytes); expected an image.")
    # Pillow's Image.open would apply its own limit, a global that also warns, so its format readers are asked directly.
    # They still warn about odd metadata. Warning filters belong to the process: the lock keeps threads from mixing
    # them up.
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for image_format in _FORMATS:
            factory, accept = Image.OPEN.get(image_format, (None, None))
            accepted = accept is not None and accept(prefix)
            if factory is None or not accepted or isinstance(accepted, str):
                continue
            file.seek(0)
            try:
                image = factory(file, "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue  # The readers' way of saying: not mine after all.
            except Exception as error:  # Damaged headers make them raise anything.
                raise _damaged(name, error) from error
            return image, exif_orientation(image)
    known = ", ".join(_FORMATS)
    raise ImageError(f"{name} is no image that can be read, or its beginning is damaged; expected one of {known}.")


def _upright_size(file: BinaryIO, name: str) -> tuple[int, int]:
    image, orientation = _read_header(file, name)
    # Pillow gives the size of a TIFF before or after turning, depending on its version. The tags do not change.
    tags = getattr(image, "tag_v2", None)
    width, height = image.size if tags is None else (tags[_WIDTH_TAG], tags[_HEIGHT_TAG])
    return (height, width) if orientation >= 5 else (width, height)


def exif_orientation(image: Image.Image) -> int:
    """Read how an image must be turned to stand upright, 1 to 8 as EXIF counts; 1 where nothing sensible is said.

    Pillow turns TIFFs while it loads their pixels. From then on the answer for them is 1, so turn pixels by what this
    says after loading.
    """
    try:
        # The method of the base class: that of PNG would decode the whole image to look for data behind its pixels.
        orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except Exception:  # Broken metadata is no reason to refuse a picture.
        return 1
    return orientation if orientation in _TRANSPOSITIONS else 1


def turned_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn decoded pixels as people see them; ``orientation`` is what :func:`exif_orientation` says of them."""
    return image.transpose(_TRANSPOSITIONS[orientation]) if orientation > 1 else image


def _decode(file: BinaryIO, name: str, max_pixels: int, smallest_side_px: int | None) -> Image.Image:
    image, _ = _read_header(file, name)
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} = {width * height / 1e6:.1f} megapixels, more than the limit of "
            f"{max_pixels / 1e6:.1f}; raise max_pixels if you trust it."
        )
    try:
        if smallest_side_px is not None:
            image.draft(None, (smallest_side_px, smallest_side_px))
        image.load()
        rgb = _to_rgb(image)
    except Exception as error:  # Damaged files make decoders raise anything.
        raise _damaged(name, error) from error
    return turned_upright(rgb, exif_orientation(image))


def _damaged(name: str, error: Exception) -> ImageError:
    reason = str(error).rstrip(".") or type(error).__name__
    return ImageError(f"{name} is damaged, incomplete or of an unsupported kind ({reason}); save or fetch it again.")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image).astype(np.float64) / 65535.0)
    if image.mode == "I":
        return _grey(_unit_range(np.asarray(image).astype(np.float64), usual_maximum=65535.0))
    if image.mode == "F":
        return _grey(_unit_range(np.asarray(image).astype(np.float64), usual_maximum=1.0))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _unit_range(values: np.ndarray, usual_maximum: float) -> np.ndarray:
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if low >= 0.0 and high <= usual_maximum:
        low, high = 0.0, usual_maximum
    span = high - low if high > low else 1.0
    # Infinities become the ends of the range, NaN becomes black.
    return np.clip(np.nan_to_num((values - low) / span, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)


def _grey(unit_values: np.ndarray) -> Image.Image:
    return Image.fromarray((unit_values * 255.0 + 0.5).astype(np.uint8)).convert("RGB")
