"""How many bits count, what a PNG carries besides its pixels, and how much memory large images take."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from focalnets.cli.main import main
from focalnets.data.images import decode_image, encoded_image_size, read_image

TWELVE = np.array([[0, 1365, 2730, 4095]], dtype=np.uint16)
SHOWN = [0, 85, 170, 255]


def values(image):
    return np.asarray(image)[0, :, 0].tolist()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(png, kind, body):
    """The same PNG with a further chunk behind its header."""
    return png[:33] + chunk(kind, body) + png[33:]


def png(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def tiff(pixels, bits=16, tags=()):
    """A little-endian grey TIFF of one strip."""
    rows, columns = pixels.shape
    if bits == 12:
        packed = "".join(f"{value:012b}" for value in pixels.ravel())
        data = bytes(int(packed[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(packed), 8))
    else:
        data = pixels.astype("<u2").tobytes()
    entries = sorted([(256, columns), (257, rows), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, rows),
                      (279, len(data)), *tags])  # fmt: skip
    data += bytes(len(data) % 2)
    directory = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(entries)) + directory + bytes(4)
    )


@pytest.mark.parametrize("tag", [341, 281])
@pytest.mark.parametrize("largest", [4095, 3000, 2048])
def test_twelve_bits_by_the_word_of_a_tiff(tag, largest):
    assert values(decode_image(tiff(TWELVE, tags=[(tag, largest)]))) == SHOWN


def test_twelve_bits_that_are_stored_as_such():
    assert values(decode_image(tiff(TWELVE, bits=12))) == SHOWN


def test_twelve_bits_by_the_word_of_a_png():
    assert values(decode_image(with_chunk(png(TWELVE), b"sBIT", b"\x0c"))) == SHOWN


def test_ten_bits():
    assert values(decode_image(with_chunk(png(TWELVE // 4), b"sBIT", b"\x0a"))) == SHOWN


@pytest.mark.parametrize("brightest", [4096, 65535])
def test_a_word_that_the_values_contradict_is_not_believed(brightest):
    # PNGs as the standard has them: few bits count, but they stand at the upper end.
    pixels = np.array([[0, brightest]], dtype=np.uint16)
    expected = [0, int(brightest / 257 + 0.5)]
    assert values(decode_image(with_chunk(png(pixels), b"sBIT", b"\x0c"))) == expected
    assert values(decode_image(tiff(pixels, tags=[(341, 4095)]))) == expected


@pytest.mark.parametrize(
    "data",
    [
        png(TWELVE),
        tiff(TWELVE),
        tiff(TWELVE, tags=[(341, 65535)]),
        tiff(TWELVE, tags=[(341, 0)]),
        with_chunk(png(TWELVE), b"sBIT", b"\x10"),
        with_chunk(png(TWELVE), b"sBIT", b""),
    ],
)
def test_without_a_word_values_stay_as_they_are(data):
    assert values(decode_image(data)) == [0, 5, 11, 16]


def test_integers_and_fractions_by_the_word_of_a_tiff(tmp_path):
    for kind in (np.int32, np.float32):
        Image.fromarray(TWELVE.astype(kind)).save(tmp_path / "a.tif", tiffinfo={341: 4095})
        assert values(read_image(tmp_path / "a.tif")) == SHOWN


def colour_png(pixels):
    """A PNG of 16 bits a channel, which Pillow does not write."""
    rows, columns, channels = pixels.shape
    header = struct.pack(">IIBBBBB", columns, rows, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_twelve_bits_in_colour():
    pixels = np.repeat(TWELVE[..., None], 3, axis=2)
    assert values(decode_image(colour_png(pixels))) == [0, 5, 10, 15]
    said = values(decode_image(with_chunk(colour_png(pixels), b"sBIT", b"\x0c" * 3)))
    assert np.abs(np.array(said) - SHOWN).max() <= 17, "four bits are left of each value"


def test_check_names_pictures_that_are_nearly_black(tmp_path, capsys):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 4096, (80, 80), dtype=np.uint16)
    for name in ("red", "blue"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.fromarray(random.integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(
                tmp_path / name / f"{number}.png"
            )
    folder = tmp_path / "red"
    (folder / "grey.png").write_bytes(png(pixels))
    (folder / "colour.png").write_bytes(colour_png(np.repeat(pixels[..., None], 3, axis=2)))
    (folder / "said.png").write_bytes(with_chunk(png(pixels), b"sBIT", b"\x0c"))
    (folder / "full.png").write_bytes(png(pixels * 16))
    (folder / "black.png").write_bytes(png(pixels * 0))
    assert main(["check", str(tmp_path), "--json", "-"]) == 0
    found = {finding["kind"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert sorted(found["few-bits"]["examples"]) == ["red/colour.png", "red/grey.png"]


PIXELS = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
LONG = bytes(2_000_000)


def texts():
    packed = zlib.compress(LONG)
    plain = png(PIXELS)
    yield "profile", with_chunk(plain, b"iCCP", b"name\0\0" + packed)
    yield "ztxt", with_chunk(plain, b"zTXt", b"Comment\0\0" + packed)
    yield "itxt", with_chunk(plain, b"iTXt", b"Comment\0\x01\0\0\0" + packed)
    yield "xmp", with_chunk(plain, b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + packed)
    yield "raw exif", with_chunk(plain, b"zTXt", b"Raw profile type exif\0\0" + packed)
    end = plain.index(b"IEND") - 4
    yield "behind", plain[:end] + chunk(b"zTXt", b"Comment\0\0" + packed) + plain[end:]
    many = plain
    for _ in range(70):
        many = with_chunk(many, b"zTXt", b"Comment\0\0" + zlib.compress(LONG[:1_000_000]))
    yield "many", many


@pytest.mark.parametrize(("name", "data"), list(texts()), ids=[name for name, _ in texts()])
def test_a_png_is_read_whatever_it_says_besides(tmp_path, name, data):
    np.testing.assert_array_equal(np.asarray(decode_image(data)), PIXELS)
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png")), PIXELS)
    assert encoded_image_size(data) == (40, 30)


def test_a_png_with_a_large_profile_is_still_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = with_chunk(png(PIXELS, exif=exif.tobytes()), b"iCCP", b"name\0\0" + zlib.compress(LONG))
    np.testing.assert_array_equal(np.asarray(decode_image(data)), np.rot90(PIXELS, -1))
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="3"/>', zip=True)
    data = with_chunk(png(PIXELS, pnginfo=info), b"iCCP", b"name\0\0" + zlib.compress(LONG))
    np.testing.assert_array_equal(np.asarray(decode_image(data)), PIXELS[::-1, ::-1])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "I;16", "F"])
def test_strips_give_what_the_whole_gives(monkeypatch, mode):
    from focalnets.data import decoding

    random = np.random.default_rng(1)
    if mode in ("I;16", "F"):
        image = Image.fromarray(random.integers(0, 65535, (31, 17)).astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        image = Image.fromarray(random.integers(0, 255, (31, 17, 4), dtype=np.uint8))
        image = image.convert("RGB").convert("P") if mode == "P" else image.convert(mode)
        if mode in ("P", "RGB"):
            image.info["transparency"] = 3 if mode == "P" else image.getpixel((2, 3))
    whole = np.asarray(decoding.to_rgb(image.copy()))
    monkeypatch.setattr(decoding, "_STRIP_PX", 40)
    np.testing.assert_array_equal(np.asarray(decoding.to_rgb(image.copy())), whole)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak as Linux counts it")
@pytest.mark.parametrize(("mode", "bytes_per_pixel"), [("RGBA", 9), ("RGB", 5), ("I;16", 8)])
def test_large_images_take_little_more_than_their_pixels(tmp_path, mode, bytes_per_pixel):
    side = 5000
    Image.new(mode, (side, side), 77 if mode == "I;16" else (9, 8, 7, 6)[: len(mode)]).save(tmp_path / "a.png")
    script = (
        "import resource, sys\nfrom focalnets.data.images import read_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nread_image(sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.png"], capture_output=True, text=True, check=True
    )
    # Strips of 4 megapixels and their copies come on top.
    assert int(shown.stdout) * 1024 < bytes_per_pixel * side**2 + 150e6
