"""Fuzzing of what reads images: formats, chunks, heads, EXIF data, pixels, masks, and one video."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from tests.campaigns.fuzzing import Target, changed_bytes
from tests.campaigns.odd_images import NAMED, chunk, encoded, picture, png

from focalnets.errors import FocalNetsError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

_PIXELS = 2_000_000


def _named(*beginnings: str) -> list[bytes]:
    found = []
    for name, (build, _) in NAMED.items():
        if name.startswith(beginnings):
            try:
                found.append(build())
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
                continue
    return [content for content in found if 0 < len(content) < 20_000]


@functools.cache
def _files(image_format: str) -> list[bytes]:
    modes = ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16", "F")
    own = _named(
        *(f"{mode} as {image_format}" for mode in modes),
        f"orientation 6 in {image_format}",
        f"2 frames of {image_format}",
        f"good profile in {image_format}",
        "JPEG 4:2:0" if image_format == "JPEG" else image_format,
    )
    return own or [encoded(picture(), image_format)]


def _decode(data: bytes, _: Path) -> None:
    from focalnets.data.images import decode_image, encoded_image_size

    try:
        size = encoded_image_size(data)
    except FocalNetsError:
        size = None
    image = decode_image(data, max_pixels=_PIXELS)
    assert image.mode == "RGB"
    assert image.size == size
    assert np.asarray(image).shape == (size[1], size[0], 3)


def _pixels_of(image_format: str) -> Target:
    return Target(lambda: changed_bytes(_files(image_format)), _decode)


def _read_format(prefix: bytes, _: Path) -> None:
    from focalnets.data.image_formats import candidate_formats, format_of_bytes

    found = format_of_bytes(prefix)
    assert found is None or found.isalnum()
    assert candidate_formats(prefix, "it")


def _read_chunks(data: bytes, _: Path) -> None:
    from focalnets.data.png_chunks import significant_bits, without_large_texts

    bits = significant_bits(io.BytesIO(data))
    assert bits is None or 0 <= bits <= 255
    kept = without_large_texts(io.BytesIO(data)).getvalue()
    assert len(kept) <= max(len(data), 8)


def _read_jxl(data: bytes, _: Path) -> None:
    from focalnets.data.jxl_header import jxl_size

    width, height = jxl_size(io.BytesIO(data))
    assert 1 <= width <= 2**31
    assert 1 <= height <= 2**30


def _read_exif(content: bytes, _: Path) -> None:
    from PIL import Image

    from focalnets.data.images import decode_image, encoded_image_size, exif_orientation

    for image_format in ("JPEG", "PNG", "WEBP"):
        data = encoded(picture(size=(9, 4)), image_format, exif=b"Exif\0\0" + content)
        assert exif_orientation(Image.open(io.BytesIO(data))) in range(1, 9)
        assert encoded_image_size(data) == decode_image(data).size


def _read_mask(data: bytes, place: Path) -> None:
    from focalnets.data.annotated.masks import read_label_image

    path = place / "mask.png"
    path.write_bytes(data)
    numbers = read_label_image(path)
    assert numbers.ndim == 2 or numbers.shape[2] == 3


def _read_clip(data: bytes, place: Path) -> None:
    from focalnets.data.clips import describe_clip

    path = place / "clip.mp4"
    path.write_bytes(data)
    info = describe_clip(path)
    assert info.width_px > 0
    assert info.height_px > 0
    assert info.rate > 0
    assert info.pixel_aspect > 0


@functools.cache
def _clips() -> list[bytes]:
    import tempfile

    from tests.visualize.clips import write_clip

    with tempfile.TemporaryDirectory() as folder:
        return [
            write_clip(Path(folder) / f"clip.{ending}", range(0, 200, 40), size=(32, 32), sound=ending == "mp4",
            codec=codec).read_bytes()
            for ending, codec in (("mp4", "libx264"), ("mkv", "mpeg4"), ("avi", "mpeg4"))
        ]  # fmt: skip


def _chunked() -> list[bytes]:
    texts = (
        chunk(b"sBIT", b"\x0c"),
        chunk(b"tEXt", b"a\0b"),
        chunk(b"zTXt", b"Raw profile type exif\0\0x"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0x"),
    )
    return [png(4, 4, 16, 0, bytes(36), *texts), *_named("zTXt of 10", "iTXt of 10", "tEXt of 10")]


_EXIF = [
    picture().getexif().tobytes()[6:] or b"II*\0\x08\0\0\0\0\0",
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
    b"MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\x87\x69\0\x04\0\0\0\x01\0\0\0\x26\0\0\0\0\0\0\0\0\0\0",
]
_BOXES = [b"\0\0\0\x0cJXL \r\n\x87\n", b"\0\0\0\x14ftypjxl \0\0\0\0jxl ", b"\0\0\0\x20jxlc\xff\x0a" + bytes(range(40))]
_STARTS = [
    content[:64]
    for name in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
    for content in _files(name)[:2]
]
_STARTS += [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\xff\x0a" + bytes(20), b"".join(_BOXES)[:64]]

TARGETS = {
    "image formats": Target(lambda: changed_bytes(_STARTS) | st.binary(max_size=64), _read_format),
    "PNG chunks": Target(lambda: changed_bytes(_chunked(), (b"sBIT", b"iCCP", b"IDAT", b"zTXt")), _read_chunks),
    "JPEG XL heads": Target(
        lambda: changed_bytes([b"".join(_BOXES), b"\xff\x0a" + bytes(range(14)), b"\xff\x0a\xff" + bytes(13)], (b"jxlp",
        b"jxlc")),
        _read_jxl, (SyntaxError,),
    ),
    "EXIF data": Target(lambda: changed_bytes(_EXIF, (b"\x12\x01", b"\x69\x87")), _read_exif),
    **{f"{name} pixels": _pixels_of(name) for name in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000",
    "AVIF", "MPO")},
    "masks": Target(lambda: changed_bytes([*_files("PNG"), *_files("TIFF"), *_files("GIF")]), _read_mask),
    "videos": Target(lambda: changed_bytes(_clips()), _read_clip),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TARGETS))
def test_fuzz(name, fuzzed, say):
    say(fuzzed(__name__, name))
