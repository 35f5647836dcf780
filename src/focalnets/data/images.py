"""Reads image files of any kind as plain 8-bit RGB, or says in one sentence why it cannot."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from focalnets.data.decoding import declared_white, to_rgb
from focalnets.data.image_formats import PREFIX_BYTES, candidate_formats
from focalnets.data.jxl_header import jxl_size
from focalnets.data.png_chunks import without_large_texts
from focalnets.errors import ImageError

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "decode_image",
    "encoded_image_size",
    "exif_orientation",
    "image_header",
    "image_size",
    "open_image_file",
    "read_image",
    "turned_upright",
    "upright_rgb",
    "upright_size",
]

DEFAULT_MAX_PIXELS = 200_000_000
"""Largest width times height that is decoded unless the caller allows more [px]; 600 MB as RGB."""

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
    bits are divided by 257, or by what makes white the largest value that the file says it uses, as of cameras with 12
    bits. Values of 32-bit integers and floats are taken as 0 to 65535 and 0 to 1 where they lie in these ranges;
    otherwise the smallest finite value becomes black and the largest white. Colour profiles are ignored. HEIC, HEIF and
    JPEG XL need the packages of ``focalnets[images]``.

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
    return upright_size(path)[0]


def upright_size(path: str | Path) -> tuple[tuple[int, int], int]:
    """Width and height [px] after EXIF rotation, and the orientation that says how to turn, from the header alone.

    Raises:
        ImageError: If the file is missing, unreadable or no image.
    """
    with open_image_file(path) as file:
        return _size_and_orientation(file, f"'{path}'")


def encoded_image_size(data: bytes, *, name: str = "the image") -> tuple[int, int]:
    """Like :func:`image_size` for the bytes of an image file; ``name`` is what errors call it."""
    return _size_and_orientation(io.BytesIO(data), name)[0]


def image_header(file: BinaryIO, name: str) -> Image.Image:
    """The undecoded image in an open file, for its mode and number of frames; ``name`` is what errors call it.

    Raises:
        ImageError: If it is no image.
    """
    return _read_header(file, name)[0]


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


def _read_header(file: BinaryIO, name: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[Image.Image, int]:
    """Recognise the format; return the undecoded image and its EXIF orientation, 1 to 8."""
    Image.init()
    try:
        file.seek(0)
        prefix = file.read(PREFIX_BYTES)
    except OSError as error:  # A disk or network that fails.
        raise ImageError(f"{name} cannot be read ({error.strerror or error}); check the disk it lies on.") from error
    if not prefix:
        raise ImageError(f"{name} is empty (0 bytes); expected an image.")
    formats = candidate_formats(prefix, name)
    # Pillow's Image.open would apply its own limit, a global that also warns, so its format readers are asked directly.
    # They still warn about odd metadata. Warning filters belong to the process: the lock keeps threads from mixing
    # them up.
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for image_format in formats:
            factory, accept = Image.OPEN.get(image_format, (None, None))
            accepted = accept is not None and accept(prefix)
            if factory is None or not accepted or isinstance(accepted, str):
                continue
            try:
                if image_format == "JXL":  # Its reader decodes at once.
                    _refuse_too_large(jxl_size(file), name, max_pixels)
                image = _opened(factory, file)
            except ImageError:
                raise
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue  # The readers' way of saying: not mine after all.
            except Exception as error:  # Damaged headers make them raise anything.
                raise _damaged(name, error) from error
            return image, exif_orientation(image)
    known = ", ".join(formats)
    raise ImageError(f"{name} is no image that can be read, or its beginning is damaged; expected one of {known}.")


def _opened(factory: Callable[[BinaryIO, str], Image.Image], file: BinaryIO) -> Image.Image:
    file.seek(0)
    try:
        return factory(file, "")
    except ValueError as error:
        if not _is_about_texts(error):
            raise
    return factory(without_large_texts(file), "")


def _is_about_texts(error: Exception) -> bool:
    """Whether Pillow refuses a PNG because a profile or text in it is large; the picture may be fine."""
    return isinstance(error, ValueError) and "MAX_TEXT" in str(error)


def _size_and_orientation(file: BinaryIO, name: str) -> tuple[tuple[int, int], int]:
    image, orientation = _read_header(file, name)
    # Pillow gives the size of a TIFF before or after turning, depending on its version. The tags do not change.
    tags = getattr(image, "tag_v2", None)
    width, height = image.size if tags is None else (tags[_WIDTH_TAG], tags[_HEIGHT_TAG])
    return ((height, width) if orientation >= 5 else (width, height)), orientation


def exif_orientation(image: Image.Image) -> int:
    """Read how an image must be turned to stand upright, 1 to 8 as EXIF counts; 1 where nothing sensible is said.

    Pillow turns TIFFs while it loads their pixels. From then on the answer for them is 1, so turn pixels by what this
    says after loading.
    """
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1  # Its decoder has turned it already.
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
    image, _ = _read_header(file, name, max_pixels)
    _refuse_too_large(image.size, name, max_pixels)
    try:
        if smallest_side_px is not None:
            image.draft(None, (smallest_side_px, smallest_side_px))
        white = declared_white(image, file)
        image.load()
        rgb = to_rgb(image, white)
    except Exception as error:  # Damaged files make decoders raise anything.
        if _is_about_texts(error):
            return _decode(without_large_texts(file), name, max_pixels, smallest_side_px)
        raise _damaged(name, error) from error
    return turned_upright(rgb, exif_orientation(image))


def _refuse_too_large(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} = {width * height / 1e6:.1f} megapixels, more than the limit of "
            f"{max_pixels / 1e6:.1f}; raise max_pixels if you trust it."
        )


def upright_rgb(image: Image.Image, *, name: str = "the image") -> Image.Image:
    """Turn a picture of any mode into upright 8-bit RGB like :func:`read_image`; the picture itself stays as it is.

    Raises:
        ImageError: If its pixels cannot be decoded; ``name`` is what the error calls it.
    """
    try:
        image.load()
        rgb = to_rgb(image.copy())  # which may take the pixels over
    except Exception as error:  # Damaged files make decoders raise anything.
        raise _damaged(name, error) from error
    return turned_upright(rgb, exif_orientation(image))


def _damaged(name: str, error: Exception) -> ImageError:
    reason = str(error).rstrip(".") or type(error).__name__
    return ImageError(f"{name} is damaged, incomplete or of an unsupported kind ({reason}); save or fetch it again.")
