"""Formats of image files: by which endings they are found, by which first bytes told apart, and what reads them."""

from __future__ import annotations

import contextlib
import functools

from PIL import Image, features

from focalnets.errors import ImageError

__all__ = ["IMAGE_EXTENSIONS", "PREFIX_BYTES", "candidate_formats", "format_of_bytes"]

IMAGE_EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".mpo", ".pbm",
    ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Lower-case extensions by which folders are searched. What a file really is, is told by its first bytes."""

PREFIX_BYTES = 64
"""First bytes of a file that tell its format."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""The formats that Pillow itself reads. It knows more, among them some that start other programs to draw a file."""

_FURTHER = {"HEIF": "HEIC or HEIF", "JXL": "JPEG XL", "AVIF": "AVIF"}
"""Formats that may need a plugin, with the name that people know."""

_BMP_HEADER_BYTES = {12, 16, 40, 52, 56, 64, 108, 124}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_CONTAINER_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf"}


def format_of_bytes(prefix: bytes) -> str | None:
    """Pillow's name of the format that a file begins like; None if it is no image.

    Args:
        prefix: The first :data:`PREFIX_BYTES` bytes, or all of a shorter file.
    """
    if prefix.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if prefix.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if prefix.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if prefix[:4] == b"RIFF" and prefix[8:12] == b"WEBP":
        return "WEBP"
    if prefix.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if prefix.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "JPEG2000"
    if prefix.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JXL"
    if prefix[:2] == b"BM" and int.from_bytes(prefix[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    if prefix[:1] == b"P" and prefix[1:2] in b"123456" and prefix[2:3].isspace() and prefix[3:4] in b"0123456789# \t\n":
        return "PPM"
    return _format_in_container(prefix)


def _format_in_container(prefix: bytes) -> str | None:
    """HEIF and AVIF share a container, whose beginning lists what it may be read as."""
    if prefix[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(prefix[:4], "big"), len(prefix))
    brands = [prefix[8:12], *(prefix[start : start + 4] for start in range(16, end - 3, 4))]
    if brands[0] not in _HEIF_BRANDS | _CONTAINER_BRANDS | {b"avif", b"avis"}:
        return None  # A video, for instance.
    for brand in brands:
        if brand in _HEIF_BRANDS:
            return "HEIF"
        if brand in (b"avif", b"avis"):
            return "AVIF"
    return "HEIF"


def candidate_formats(prefix: bytes, name: str) -> tuple[str, ...]:
    """The formats to try for a file with these first bytes, in order.

    Args:
        prefix: See :func:`format_of_bytes`.
        name: What errors call the file.

    Raises:
        ImageError: If the format needs a package that is not installed.
    """
    found = format_of_bytes(prefix)
    if found not in _FURTHER:
        return _FORMATS
    if found != "AVIF" or not features.check("avif"):
        _register_plugins()
    if found not in Image.OPEN:
        raise ImageError(
            f"{name} is {_FURTHER[found]}, which needs a further package; install it with "
            "pip install 'focalnets[images]'."
        )
    return (found,)


@functools.cache
def _register_plugins() -> None:
    """Make Pillow read what installed plugins can; they take long to import, so only once such a file is met."""
    Image.init()
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False)
    with contextlib.suppress(ImportError):
        import pillow_jxl  # noqa: F401
    if not features.check("avif"):
        with contextlib.suppress(ImportError):
            import pillow_avif  # noqa: F401
