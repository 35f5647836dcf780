"""Odd image files: every mode, format, depth, turn and name; animated, with profiles, cut, changed, hostile, or none.

Each is made on the spot. The first ones are named; those after them are the good ones, cut or changed at random.
"""

from __future__ import annotations

import functools
import io
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

Builder = Callable[[], bytes]

_MODES = (
    "1", "L", "P", "PA", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16",
    "I;16B"
)  # fmt: skip
_FORMATS = {
    "PNG": "png", "JPEG": "jpg", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp", "PPM": "ppm",
    "JPEG2000": "jp2",
    "AVIF": "avif", "MPO": "mpo", "ICO": "ico", "TGA": "tga", "PCX": "pcx", "SGI": "sgi", "DDS": "dds", "ICNS": "icns",
    "PDF": "pdf", "EPS": "eps", "XBM": "xbm", "MSP": "msp", "IM": "im", "SPIDER": "spi", "QOI": "qoi", "BLP": "blp",
    "DIB": "dib",
}  # fmt: skip
_READ = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "MPO")
_BIG = 60_000
_CANNOT_WRITE = (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError, SystemError, struct.error)
"""What Pillow raises where a format does not hold a mode or an option."""


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 30), seed: int = 0) -> Image.Image:
    """A picture with structure and noise in a mode."""
    draw = np.random.default_rng(seed)
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    colours = np.stack([columns * 6, rows * 8, 255 - columns * 5], -1) % 256
    rgb = Image.fromarray((colours + draw.integers(0, 9, colours.shape)).clip(0, 255).astype(np.uint8))
    if mode in ("I;16", "I;16B"):
        grey = (np.asarray(rgb.convert("L")).astype(np.uint16) * 257).astype("<u2" if mode == "I;16" else ">u2")
        return Image.frombytes(mode, size, grey.tobytes())
    if mode == "F":
        return Image.fromarray(np.asarray(rgb.convert("L")).astype(np.float32) / 255)
    if mode == "I":
        return Image.fromarray(np.asarray(rgb.convert("L")).astype(np.int32) * 257)
    if mode == "LAB":
        return ImageCms.applyTransform(
            rgb,
            ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"),
        )  # type: ignore[return-value]
    if mode in ("La", "RGBa"):
        return rgb.convert("LA" if mode == "La" else "RGBA").convert(mode)
    if mode == "PA":
        return rgb.convert("P").convert("PA")
    return rgb.convert(mode)


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, content: bytes, *before: bytes, interlaced: int = 0) -> bytes:
    """A PNG by hand; ``content`` are its rows with their filters, not yet compressed."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = (chunk(b"IHDR", head), *before, chunk(b"IDAT", zlib.compress(content)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(tags: dict[int, tuple[int, object]], content: bytes, *, order: str = "<", big: bool = False) -> bytes:
    """A TIFF by hand: tags as (kind, number, tuple of numbers or bytes), one strip; classic or big."""
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 11: 4, 12: 8, 16: 8}
    letters = {1: "B", 3: "H", 4: "I", 11: "f", 12: "d", 16: "Q"}
    start = 16 if big else 8
    entries, beyond = b"", b""
    word, inline = ("Q", 8) if big else ("I", 4)
    names = dict(sorted({**tags, 273: (16 if big else 4, start), 279: (16 if big else 4, len(content))}.items()))
    head = 8 if big else 2
    entry_bytes = 20 if big else 12
    place = start + len(content) + head + entry_bytes * len(names) + inline
    for tag, (kind, value) in names.items():
        if isinstance(value, bytes):
            data, count = value, len(value) // sizes[kind]
        else:
            values = value if isinstance(value, tuple) else (value,)
            data, count = struct.pack(f"{order}{len(values)}{letters[kind]}", *values), len(values)
        if len(data) <= inline:
            held = data.ljust(inline, b"\0")
        else:
            held = struct.pack(f"{order}{word}", place + len(beyond))
            beyond += data + b"\0" * (len(data) % 2)
        entries += struct.pack(f"{order}HH{word}", tag, kind, count) + held
    mark = b"II" if order == "<" else b"MM"
    first = start + len(content)
    header = mark + (struct.pack(f"{order}HHHQ", 43, 8, 0, first) if big else struct.pack(f"{order}HI", 42, first))
    return (
        header + content + struct.pack(f"{order}{'Q' if big else 'H'}", len(names)) + entries + b"\0" * inline + beyond
    )


def _tiff_of(
    bits: int, sample: int, values: np.ndarray, *, order: str = "<", big: bool = False, **more: object
) -> bytes:
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    tags = {
        256: (3, width), 257: (3, height), 258: (3, (bits,) * channels), 259: (3, 1), 262: (3,
        2 if channels >= 3 else 1),
        277: (3, channels), 278: (3, height), 339: (3, (sample,) * channels), **more.get("tags", {}),
        # type: ignore[dict-item]
    }  # fmt: skip
    return tiff(tags, values.tobytes(), order=order, big=big)


def _exif(orientation: object) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def _with_bad_exif(content: bytes) -> bytes:
    return encoded(picture(), "JPEG", exif=b"Exif\0\0" + content)


def _animation(image_format: str, frames: int = 4, **options: object) -> bytes:
    first, *others = [
        picture(seed=number, mode="RGB").convert("P" if image_format == "GIF" else "RGB") for number in range(frames)
    ]
    return encoded(first, image_format, save_all=True, append_images=others, **options)


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _text(size: int, kind: str) -> bytes:
    texts = PngImagePlugin.PngInfo()
    getattr(texts, "add_itxt" if kind == "iTXt" else "add_text")("Comment", "x" * size, zip=kind != "tEXt")
    return encoded(picture(), "PNG", pnginfo=texts)


def _named() -> dict[str, tuple[Builder, str]]:
    """Name to what makes the file and its ending."""
    files: dict[str, tuple[Builder, str]] = {}

    def add(name: str, build: Builder, ending: str = "png") -> None:
        assert name not in files
        files[name] = build, ending

    for image_format, ending in _FORMATS.items():
        for mode in _MODES:
            add(
                f"{mode} as {image_format}",
                functools.partial(lambda m, f: encoded(picture(m), f), mode, image_format),
                ending,
            )
    # Turned.
    for orientation in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 65535):
        for image_format in ("JPEG", "PNG", "WEBP", "AVIF"):
            add(
                f"orientation {orientation} in {image_format}",
                functools.partial(lambda o, f: encoded(picture(), f, exif=_exif(o)), orientation, image_format),
                _FORMATS[image_format],
            )
        for compression in ("raw", "tiff_lzw", "jpeg", "tiff_deflate", "packbits"):
            add(
                f"orientation {orientation} in TIFF {compression}",
                functools.partial(
                    lambda o, c: encoded(picture(), "TIFF", compression=c, tiffinfo={0x0112: o}),
                    orientation,
                    compression,
                ),
                "tif",
            )
    # Depths.
    for depth in (1, 2, 4, 8, 16):
        for colour, channels in ((0, 1), (2, 3), (3, 1), (4, 2), (6, 4)):
            for interlaced in (0, 1):
                row = (16 * depth * channels + 7) // 8
                palette = (chunk(b"PLTE", bytes(range(48))),) if colour == 3 else ()
                add(
                    f"PNG of {depth} bits, colour {colour}, interlaced {interlaced}",
                    functools.partial(
                        lambda d, c, r, p, i: png(16, 8, d, c, (b"\0" + bytes(range(1, r + 1))) * 8 * (1 + i), *p,
                        interlaced=i),
                        depth, colour, row, palette, interlaced,
                    ),
                )  # fmt: skip
    for order in ("<", ">"):
        for kind, sample in (
            ("u1", 1),
            ("u2", 1),
            ("u4", 1),
            ("u8", 1),
            ("i1", 2),
            ("i2", 2),
            ("i4", 2),
            ("f2", 3),
            ("f4", 3),
            ("f8", 3),
            ("c8", 6),
        ):
            for shape in ((8, 6), (8, 6, 3), (8, 6, 4)):
                add(
                    f"TIFF of {order}{kind}, {len(shape)} axes, {shape[-1]}",
                    functools.partial(
                        lambda o, k, s, h: _tiff_of(
                            8 * np.dtype(k).itemsize, s, np.arange(np.prod(h)).reshape(h).astype(o + k), order=o
                        ),
                        order, kind, sample, shape,
                    ),
                    "tif",
                )  # fmt: skip
    for fill in (np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-42):
        add(
            f"TIFF of floats, all {fill}",
            functools.partial(lambda v: _tiff_of(32, 3, np.full((8, 6), v, "<f4")), fill),
            "tif",
        )
    add("big TIFF", lambda: _tiff_of(8, 1, np.arange(48, dtype="u1").reshape(6, 8), big=True), "tif")
    for compression in (
        None,
        "tiff_lzw",
        "tiff_adobe_deflate",
        "packbits",
        "jpeg",
        "webp",
        "zstd",
        "lzma",
        "tiff_ccitt",
        "group3",
        "group4",
    ):
        mode = "1" if compression in ("tiff_ccitt", "group3", "group4") else "RGB"
        add(
            f"TIFF, {compression}",
            functools.partial(lambda m, c: encoded(picture(m), "TIFF", compression=c), mode, compression),
            "tif",
        )
    add("TIFF of several pages", lambda: _animation("TIFF"), "tif")
    add("TIFF whose pages form a ring", lambda: _ring_of_pages(), "tif")
    # Moving.
    for frames in (1, 2, 40):
        for image_format in ("GIF", "WEBP", "PNG", "AVIF", "MPO"):
            add(
                f"{frames} frames of {image_format}",
                functools.partial(_animation, image_format, frames),
                _FORMATS[image_format],
            )
    add("GIF whose first frame is smaller", lambda: _gif_with_small_frame(), "gif")
    # Shapes.
    for size in ((1, 1), (1, 7), (7, 1), (2, 2), (3, 500), (500, 3), (1, 400), (400, 1), (31, 33), (1023, 7)):
        for image_format in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
            add(
                f"{size[0]} x {size[1]} {image_format}",
                functools.partial(lambda s, f: encoded(picture(size=s), f), size, image_format),
                _FORMATS[image_format],
            )
    # JPEG of many kinds.
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            for quality in (1, 50, 100):
                add(
                    f"JPEG {subsampling}, progressive {progressive}, quality {quality}",
                    functools.partial(
                        lambda s, p, q: encoded(picture(), "JPEG", subsampling=s, progressive=p, quality=q),
                        subsampling, progressive, quality,
                    ),
                    "jpg",
                )  # fmt: skip
    add("JPEG with restarts", lambda: encoded(picture(), "JPEG", restart_marker_blocks=1), "jpg")
    add("JPEG with a comment", lambda: encoded(picture(), "JPEG", comment=b"\xff\xfe\0 no text"), "jpg")
    add("JPEG without its end", lambda: encoded(picture(), "JPEG")[:-2], "jpg")
    add("JPEG with a tail", lambda: encoded(picture(), "JPEG") + b"PK\x03\x04" + bytes(999), "jpg")
    add("two JPEGs in one", lambda: encoded(picture(), "JPEG") * 2, "jpg")
    add("CMYK with Adobe's marker", lambda: encoded(picture("CMYK"), "JPEG", quality=90), "jpg")
    # Metadata.
    for name, profile in (
        ("good", _profile()),
        ("empty", b""),
        ("no", b"none" * 40),
        ("large", os.urandom(200_000)),
        ("cut", _profile()[:99]),
    ):
        for image_format in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
            add(
                f"{name} profile in {image_format}",
                functools.partial(lambda f, p: encoded(picture(), f, icc_profile=p), image_format, profile),
                _FORMATS[image_format],
            )
    for kind in ("tEXt", "zTXt", "iTXt"):
        for size in (10, 2_000_000, 80_000_000):
            if kind != "tEXt" or size < 80_000_000:
                add(f"{kind} of {size:,} letters", functools.partial(_text, size, kind))
    add(
        "profile that unpacks to 90 MB",
        lambda: _with_chunk(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(90_000_000), 9))),
    )
    for name, content in {
        "nothing": b"", "letters": b"letters", "only a head": b"II*\0", "far beyond": b"II*\0\xff\xff\xff\xff",
        "itself": b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0",
        "many entries": b"MM\0*\0\0\0\x08\xff\xff" + bytes(64),
        "a text as turn": b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0",
        "no turn": b"II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\x1a\0\0\0\0\0\0\0" + bytes(8),
        "turns": b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x09\0\0\0\x1a\0\0\0\0\0\0\0" + bytes(range(18)),
    }.items():  # fmt: skip
        add(f"EXIF that is {name}", functools.partial(_with_bad_exif, content), "jpg")
    add("XMP that turns", lambda: encoded(picture(), "JPEG", xmp=b"<x:xmpmeta tiff:Orientation='6'/>"), "jpg")
    # Bombs and claims.
    for name, build, ending in _claims():
        add(name, build, ending)
    # What is no image.
    for name, content in {
        "empty": b"", "one byte": b"\xff", "zeros": bytes(5000), "a text": b"no picture\n",
        "a page": b"<!DOCTYPE html><html></html>",
        "JSON": b'{"a": 1}', "an archive": b"PK\x03\x04" + bytes(60), "a PDF": b"%PDF-1.7\n",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a program": b"\x7fELF" + bytes(60),
        "a pickle": b"\x80\x04}.",
        "RIFF of sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(30), "a video": b"\0\0\0\x18ftypisom" + bytes(40),
        "a pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "XPM": b"/* XPM */\nstatic char *a[] = {\n\"1 1 1 1\",\n\"a c #000000\",\n\"a\"};",
        "PNG's first bytes": b"\x89PNG\r\n\x1a\n", "JPEG's first bytes": b"\xff\xd8\xff",
        "GIF's first bytes": b"GIF89a", "TIFF's first bytes": b"II*\0", "WEBP's first bytes": b"RIFF\0\0\0\0WEBP",
        "BMP's first bytes": b"BM" + bytes(12) + b"\x28\0\0\0",
        "PPM's first bytes": b"P6\n", "JPEG 2000's first bytes": b"\0\0\0\x0cjP  \r\n\x87\n",
        "AVIF's first bytes": b"\0\0\0\x1cftypavif",
        "HEIC's first bytes": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "JPEG XL's first bytes": b"\xff\x0a",
        "JPEG XL's box": b"\0\0\0\x0cJXL \r\n\x87\n",
    }.items():  # fmt: skip
        for ending in ("jpg", "png"):
            add(f"{name}, called .{ending}", functools.partial(bytes, content), ending)
    # Wrong endings.
    for image_format in _READ:
        for ending in ("jpg", "png", "tif", "gif", "webp", "bmp", "heic", "jxl", "jp2", "avif", "txt", ""):
            add(
                f"{image_format}, called .{ending}",
                functools.partial(lambda f: encoded(picture(), f), image_format),
                ending,
            )
    return files


def _claims() -> list[tuple[str, Builder, str]]:
    """Files that say they are far larger than they are."""
    rows = bytes(1000)
    return [
        ("PNG of 60,000 px", lambda: png(_BIG, _BIG, 8, 2, rows), "png"),
        ("PNG of 2^31-1 px", lambda: png(2**31 - 1, 2**31 - 1, 16, 6, rows), "png"),
        ("PNG of 0 px", lambda: png(0, 5, 8, 2, rows), "png"),
        ("PNG just below the limit", lambda: png(14_000, 14_000, 1, 0, bytes(100)), "png"),
        ("PNG of ones below the limit", lambda: png(12_000, 12_000, 1, 0, bytes(12_000 * 1501)), "png"),
        ("PNG with far more data than pixels", lambda: png(4, 4, 8, 2, bytes(60_000_000)), "png"),
        ("PNG whose chunk is 4 GB", lambda: b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR" + bytes(20), "png"),
        ("PNG without IHDR", lambda: b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "png"),
        ("PNG with an odd depth", lambda: png(4, 4, 7, 2, rows), "png"),
        ("PNG with an odd colour", lambda: png(4, 4, 8, 5, rows), "png"),
        ("PNG with an odd filter", lambda: png(4, 4, 8, 0, b"\x09....\x09....\x09....\x09...."), "png"),
        ("PNG without palette", lambda: png(4, 4, 8, 3, bytes(20)), "png"),
        ("PNG beyond its palette", lambda: png(4, 4, 8, 3, b"\0\xff\xff\xff\xff" * 4, chunk(b"PLTE", b"abc")), "png"),
        ("PNG with a wrong sum", lambda: bytes([*encoded(picture(), "PNG")[:-1], 0]), "png"),
        ("PNG of many empty parts", lambda: _with_chunk(chunk(b"IDAT", b"") * 20_000), "png"),
        ("PNG of many texts", lambda: _with_chunk(chunk(b"tEXt", b"a\0b") * 20_000), "png"),
        ("PNG that moves and does not", lambda: _with_chunk(chunk(b"acTL", b"\xff" * 8)), "png"),
        ("PNG whose bits are odd", lambda: _with_chunk(chunk(b"sBIT", b"\xff\0\x40")), "png"),
        ("JPEG of 65,500 px", lambda: _jpeg_of(65_500, 65_500), "jpg"),
        ("JPEG of 0 px", lambda: _jpeg_of(0, 30), "jpg"),
        ("JPEG of 14,000 px without data", lambda: _jpeg_of(14_000, 14_000), "jpg"),
        ("GIF of 65,535 px", lambda: b"GIF89a\xff\xff\xff\xff\0\0\0" + bytes(40), "gif"),
        ("GIF of 0 px", lambda: b"GIF89a\0\0\0\0\0\0\0;", "gif"),
        ("GIF of 14,000 px", lambda: _gif_of(14_000, 14_000), "gif"),
        ("BMP of 2^31-1 px", lambda: _bmp_of(2**31 - 1, 2**31 - 1), "bmp"),
        ("BMP of -30 px", lambda: _bmp_of(40, -30), "bmp"),
        ("BMP of 14,000 px", lambda: _bmp_of(14_000, 14_000), "bmp"),
        ("BMP in odd compression", lambda: _bmp_of(40, 30, compression=11), "bmp"),
        ("BMP in run lengths", lambda: _bmp_of(40, 30, bits=8, compression=1), "bmp"),
        ("BMP of odd bits", lambda: _bmp_of(40, 30, bits=13), "bmp"),
        ("TIFF of 2^32-1 px", lambda: _tiff_claiming(2**32 - 1, 2**32 - 1), "tif"),
        ("TIFF of 0 px", lambda: _tiff_claiming(0, 0), "tif"),
        ("TIFF of 14,000 px", lambda: _tiff_claiming(14_000, 14_000), "tif"),
        ("TIFF of 60,000 bits", lambda: _tiff_claiming(8, 6, bits=60_000), "tif"),
        ("TIFF of 60,000 channels", lambda: _tiff_claiming(8, 6, tags={277: (3, 60_000)}), "tif"),
        ("TIFF in an odd compression", lambda: _tiff_claiming(8, 6, tags={259: (3, 34_712)}), "tif"),
        ("TIFF in old JPEG", lambda: _tiff_claiming(8, 6, tags={259: (3, 6)}), "tif"),
        ("TIFF whose strips lie outside", lambda: _tiff_claiming(8, 6)[:60], "tif"),
        ("TIFF whose head lies outside", lambda: b"II*\0\xff\xff\xff\x7f", "tif"),
        ("big TIFF whose head lies outside", lambda: b"II+\0\x08\0\0\0" + b"\xff" * 8, "tif"),
        ("TIFF with tiles of 2^31 px", lambda: _tiff_claiming(8, 6, tags={322: (4, 2**31), 323: (4, 2**31)}), "tif"),
        ("PPM of 10^9 px", lambda: b"P6 1000000000 1000000000 255\n" + rows, "ppm"),
        ("PPM of 10^5000 px", lambda: b"P6 " + b"9" * 5000 + b" 9 255\n", "ppm"),
        ("PPM of -4 px", lambda: b"P6 -4 4 255\n" + rows, "ppm"),
        ("PPM of 0 px", lambda: b"P6 0 0 255\n", "ppm"),
        ("PPM up to 0", lambda: b"P5 4 4 0\n" + rows, "pgm"),
        ("PPM up to 70,000", lambda: b"P5 4 4 70000\n" + rows, "pgm"),
        ("PPM in words", lambda: b"P3 2 2 255\nred green blue", "ppm"),
        ("PPM in words beyond its range", lambda: b"P3 1 1 255\n999 -1 0", "ppm"),
        ("PPM of a bitmap", lambda: b"P4 9 3\n" + bytes(6), "pbm"),
        ("PPM with an endless comment", lambda: b"P6 #" + b"x" * 3_000_000, "ppm"),
        ("PFM", lambda: b"PF\n2 2\n-1.0\n" + bytes(48), "ppm"),
        ("WEBP of 16,383 px", lambda: _webp_of(16_383, 16_383), "webp"),
        ("WEBP whose canvas is 2^24 px", lambda: _webp_canvas(2**24, 2**24), "webp"),
        ("JPEG 2000 of 2^32-1 px", lambda: _j2k_of(2**32 - 1, 2**32 - 1), "jp2"),
        ("JPEG 2000 of 14,000 px", lambda: _j2k_of(14_000, 14_000), "jp2"),
        ("JPEG XL of 2^30 px", lambda: b"\xff\x0a" + ((1 << 180) - 2).to_bytes(23, "little"), "jxl"),
        ("JPEG XL in a box without end", lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x08free" * 5000, "jxl"),
        ("JPEG XL in a box of 2^63 bytes", lambda: b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x01free\x7f" + b"\xff" * 7, "jxl"),
        ("AVIF whose box is 4 GB", lambda: encoded(picture(), "AVIF").replace(b"mdat", b"free"), "avif"),
        ("AVIF of 2^31 px", lambda: _avif_claiming(2**31 - 1), "avif"),
        ("MPO of which one part is left", lambda: _animation("MPO")[:900], "mpo"),
    ]  # fmt: skip


def _with_chunk(extra: bytes) -> bytes:
    whole = encoded(picture(), "PNG")
    return whole[:33] + extra + whole[33:]


def _jpeg_of(width: int, height: int) -> bytes:
    whole = bytearray(encoded(picture(), "JPEG"))
    place = whole.index(b"\xff\xc0") + 5
    whole[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(whole)


def _gif_of(width: int, height: int) -> bytes:
    whole = bytearray(encoded(picture("P"), "GIF"))
    whole[6:10] = struct.pack("<HH", width, height)
    return bytes(whole)


def _gif_with_small_frame() -> bytes:
    whole = bytearray(encoded(picture("P"), "GIF"))
    place = whole.index(b",\0\0\0\0")
    whole[place + 5 : place + 9] = struct.pack("<HH", 10, 10)
    return bytes(whole)


def _bmp_of(width: int, height: int, bits: int = 24, compression: int = 0) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 4000, 0, 0, 54) + head + bytes(3900)


def _tiff_claiming(width: int, height: int, bits: int = 8, tags: dict[int, tuple[int, object]] | None = None) -> bytes:
    usual = {
        256: (4, width), 257: (4, height), 258: (3, bits), 259: (3, 1), 262: (3, 1), 277: (3, 1), 278: (4, height)
    }  # fmt: skip
    return tiff({**usual, **(tags or {})}, bytes(48))


def _ring_of_pages() -> bytes:
    whole = bytearray(encoded(picture(), "TIFF"))
    first = struct.unpack("<I", whole[4:8])[0]
    count = struct.unpack("<H", whole[first : first + 2])[0]
    place = first + 2 + 12 * count
    whole[place : place + 4] = struct.pack("<I", first)
    return bytes(whole)


def _webp_of(width: int, height: int) -> bytes:
    whole = bytearray(encoded(picture(), "WEBP"))
    place = whole.index(b"\x9d\x01\x2a") + 3
    whole[place : place + 4] = struct.pack("<HH", width, height)
    return bytes(whole)


def _webp_canvas(width: int, height: int) -> bytes:
    inner = encoded(picture(), "WEBP")[12:]
    canvas = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _j2k_of(width: int, height: int) -> bytes:
    whole = bytearray(encoded(picture(), "JPEG2000", no_jp2=True))
    place = whole.index(b"\xff\x51") + 6
    whole[place : place + 8] = struct.pack(">II", width, height)
    return bytes(whole)


def _avif_claiming(side: int) -> bytes:
    whole = bytearray(encoded(picture(), "AVIF"))
    place = whole.index(b"ispe") + 8
    whole[place : place + 8] = struct.pack(">II", side, side)
    return bytes(whole)


NAMED = _named()
"""The named files, in their order."""

_NAMES = list(NAMED)

ODD_NAMES = (
    "plain.png", "two words.png", "'quoted'.png", 'double".png', "new\nline.png", "tab\there.png", "escape\x1b[31m.png",
    "bell\x07.png",
    "percent%s%d.png", "[red]bold.png", "{0}.png", "$HOME.png", "`id`.png", "a;b.png", "comma,here.png",
    "back\\slash.png", "dots..png", "~.png",
    "~nobody.png", "-dash.png", "--json.png", "#hash.png", "question?.png", "star*.png", "ünï.png", "u\u0308.png",
    "狗.png", "🐕.png", "عربي.png",
    "\u202egnp.exe.png", "\u200b.png", "line\u2028.png", os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"\xff\xfe.png"),
    "a" * 251 + ".png", " .png",
    ".hidden.png", "CON.png", "a.png.png", "a.tar.gz.png", "UPPER.PNG", "no_ending", "ends.", "1e999.png", "<b>.png",
    "&amp;.png", "\x7f.png", "\r.png",
)  # fmt: skip
"""Names of files that programs stumble over."""

SPECIAL = ("pipe", "folder", "link to nothing", "link to itself", "link to a device", "socket", "link", "unreadable")
"""What is no regular file, or no file of its own."""

NAMED_CASES = len(_NAMES) + len(ODD_NAMES) + len(SPECIAL)


def make_image(number: int, folder: Path, draw: random.Random) -> tuple[Path, str] | None:
    """Make the file of a number in a folder; returns it and what it is; None where Pillow cannot write such a file."""
    if number < len(_NAMES):
        name = _NAMES[number]
        build, ending = NAMED[name]
        try:
            content = build()
        except _CANNOT_WRITE:
            return None
        return _written(folder, f"odd.{ending}" if ending else "odd", content), name
    number -= len(_NAMES)
    if number < len(ODD_NAMES):
        return _written(folder, ODD_NAMES[number], encoded(picture(), "PNG")), f"named {ODD_NAMES[number]!a}"
    number -= len(ODD_NAMES)
    if number < len(SPECIAL):
        return _special(folder, SPECIAL[number]), SPECIAL[number]
    name = draw.choice(_bases())
    build, ending = NAMED[name]
    content, change = changed(build(), draw)
    return _written(folder, f"odd.{ending}", content), f"{name}, {change}"


def changed(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """A file cut, changed or stretched at random, and in words how."""
    kind = draw.choice(("cut", "cut", "flip", "flip", "bytes", "hole", "twice", "swap"))
    data = bytearray(content)
    place = draw.randrange(len(data))
    if draw.random() < 0.5:
        place = min(place, draw.randrange(min(len(data), 400)))  # Heads are short, and matter.
    if kind == "cut":
        return bytes(data[:place]), f"cut at {place}"
    if kind == "flip":
        places = [place, *(draw.randrange(len(data)) for _ in range(draw.choice((0, 0, 3, 40))))]
        for each in places:
            data[each] ^= 1 << draw.randrange(8)
        return bytes(data), f"bits changed at {places[:5]}"
    if kind == "bytes":
        count = draw.choice((1, 2, 4, 8))
        data[place : place + count] = draw.choice((b"\xff", b"\0", b"\x80", b"\x7f", draw.randbytes(1))) * count
        return bytes(data), f"{count} bytes changed at {place}"
    if kind == "hole":
        count = draw.randrange(1, 200)
        return bytes(data[:place] + data[place + count :]), f"{count} bytes missing at {place}"
    if kind == "twice":
        count = draw.randrange(1, 200)
        return bytes(data[: place + count] + data[place:]), f"{count} bytes twice at {place}"
    other = draw.randrange(len(data))
    return bytes(data[:place] + data[other:]), f"jumps from {place} to {other}"


@functools.cache
def _bases() -> list[str]:
    """Names of good files to change."""
    kinds = [
        f"{mode} as {image_format}"
        for image_format in _READ
        for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16")
    ]
    kinds += [name for name in NAMED if name.startswith(("orientation 6", "4", "2 frames", "TIFF, ", "good profile"))]
    good = []
    for name in kinds:
        try:
            if len(NAMED[name][0]()) > 0:
                good.append(name)
        except _CANNOT_WRITE:
            continue
    return good


def _written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _special(folder: Path, kind: str) -> Path:
    path = folder / "odd.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to nothing":
        path.symlink_to(folder / "nothing.png")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(path))
    elif kind == "link":
        _written(folder.parent, f"{folder.name}.png", encoded(picture(), "PNG"))
        path.symlink_to(folder.parent / f"{folder.name}.png")
    else:
        _written(folder, "odd.png", encoded(picture(), "PNG")).chmod(0)
    return path


assert TiffImagePlugin  # Registered, with its options, before anything is written.
