"""Reading odd, damaged and hostile image files, each made on the spot."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from focalnets.data.finding import find_images
from focalnets.data.images import decode_image, encoded_image_size, image_size, read_image
from focalnets.errors import ImageError


def picture(width: int = 24, height: int = 16) -> Image.Image:
    """Smooth colours, so that lossy formats stay close."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 255 - x * 255 // width], -1).astype(np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def assert_one_sentence(error: pytest.ExceptionInfo, *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("extension", "options", "budget"),
    [
        ("png", {}, 0),
        ("bmp", {}, 0),
        ("tif", {"compression": "tiff_lzw"}, 0),
        ("ppm", {}, 0),
        ("webp", {"lossless": True}, 0),
        ("jpg", {"quality": 100, "subsampling": 0}, 4),
        ("jpg", {"progressive": True, "quality": 100, "subsampling": 0}, 4),
        ("jp2", {}, 8),
    ],
)
def test_reads_common_formats(tmp_path: Path, extension: str, options: dict, budget: int) -> None:
    path = tmp_path / f"a.{extension}"
    picture().save(path, **options)
    image = read_image(path)
    assert image.mode == "RGB"
    assert type(image) is Image.Image, "no open file may hang on the result"
    assert np.abs(pixels(image) - pixels(picture())).max() <= budget
    assert image_size(path) == (24, 16)


def test_content_counts_not_extension(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    picture().save(path, format="PNG")
    np.testing.assert_array_equal(pixels(read_image(str(path))), pixels(picture()))


def test_decode_image_from_bytes() -> None:
    buffer = io.BytesIO()
    picture().save(buffer, format="PNG")
    np.testing.assert_array_equal(pixels(decode_image(buffer.getvalue())), pixels(picture()))
    with pytest.raises(ImageError) as error:
        decode_image(b"", name="upload 3")
    assert_one_sentence(error, "upload 3", "0 bytes")


GREY16 = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    Image.fromarray(GREY16).save(path)
    np.testing.assert_array_equal(pixels(read_image(path))[0, :, 0], [0, 1, 128, 255])


def test_16_bit_big_endian_tiff(tmp_path: Path) -> None:
    data = GREY16.astype(">u2").tobytes()
    entries = [(256, 4), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(data))]
    header = struct.pack(">2sHI", b"MM", 42, 8 + len(data))
    directory = struct.pack(">H", len(entries))
    for tag, value in entries:
        directory += struct.pack(">HHIHH", tag, 3, 1, value, 0)
    (tmp_path / "a.tif").write_bytes(header + data + directory + struct.pack(">I", 0))
    with Image.open(tmp_path / "a.tif") as raw:
        assert raw.mode == "I;16B"
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "a.tif"))[0, :, 2], [0, 1, 128, 255])


def test_16_bit_pgm(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 4 1 65535\n" + GREY16.astype(">u2").tobytes())
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "a.pgm"))[0, :, 1], [0, 1, 128, 255])


def test_32_bit_integers(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535]], dtype=np.int32)).save(tmp_path / "in_range.tif")
    Image.fromarray(np.array([[-500, 0, 500]], dtype=np.int32)).save(tmp_path / "beyond.tif")
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "in_range.tif"))[0, :, 0], [0, 255])
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "beyond.tif"))[0, :, 0], [0, 128, 255])


def test_float_tiff(tmp_path: Path) -> None:
    cases = {
        "unit": ([0.0, 0.5, 1.0], [0, 128, 255]),
        "beyond": ([-10.0, 0.0, 10.0], [0, 128, 255]),
        "holes": ([np.nan, np.inf, 1.0, 3.0, -np.inf], [0, 255, 0, 255, 0]),
        "constant": ([7.0, 7.0], [0, 0]),
        "nothing": ([np.nan, np.nan], [0, 0]),
    }
    for name, (values, expected) in cases.items():
        path = tmp_path / f"{name}.tif"
        Image.fromarray(np.array([values], dtype=np.float32)).save(path)
        np.testing.assert_array_equal(pixels(read_image(path))[0, :, 0], expected, err_msg=name)


def test_bilevel_and_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1").save(tmp_path / "bilevel.png")
    Image.fromarray(np.array([[0, 99]], dtype=np.uint8)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "bilevel.png")), [[[0] * 3, [255] * 3]])
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "grey.png")), [[[0] * 3, [99] * 3]])


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    # Pillow writes the Adobe marker and inverted values, as Photoshop does.
    picture().convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    assert np.abs(pixels(read_image(tmp_path / "a.jpg")) - pixels(picture())).max() < 12


def test_plain_cmyk_tiff(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "a.tif"))[0, 0], [255, 0, 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    if mode == "RGBA":
        Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 51]]], dtype=np.uint8)).save(path)
        expected = [255, 0, 204]
    elif mode == "LA":
        Image.fromarray(np.array([[[9, 0], [9, 255]]], dtype=np.uint8), "LA").save(path)
        expected = [255, 9]
    elif mode == "P":
        image = Image.new("P", (2, 1))
        image.putpalette([7, 7, 7, 9, 9, 9])
        image.putdata([0, 1])
        image.save(path, transparency=b"\x00\xff")
        expected = [255, 9]
    elif mode == "L":
        Image.fromarray(np.array([[9, 30]], dtype=np.uint8)).save(path, transparency=9)
        expected = [255, 30]
    else:
        Image.fromarray(np.array([[[9, 9, 9], [30, 30, 30]]], dtype=np.uint8)).save(path, transparency=(9, 9, 9))
        expected = [255, 30]
    result = pixels(read_image(path))
    np.testing.assert_array_equal(result[0, :, 0], expected)
    np.testing.assert_array_equal(result[..., 0], result[..., 2])


@pytest.mark.parametrize("extension", ["gif", "png", "webp"])
def test_first_frame_of_animations(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if extension == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, **options)
    np.testing.assert_array_equal(pixels(read_image(path))[4, 4], [255, 0, 0])


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, ...) as a camera stores them that says this orientation.

    Stored corners by EXIF definition: where row 0 and column 0 of the stored image belong when shown.
    """
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    return np.ascontiguousarray(turned)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_every_exif_orientation(tmp_path: Path, orientation: int, extension: str) -> None:
    upright = pixels(picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{extension}"
    options = {"png": {}, "jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}[extension]
    Image.fromarray(as_stored(upright, orientation).astype(np.uint8)).save(path, exif=exif.tobytes(), **options)
    assert image_size(path) == (24, 16)
    assert np.abs(pixels(read_image(path)) - upright).max() <= 4


TIFF_KINDS = ["raw", "tiff_lzw", "jpeg", "tiff_deflate", "tiff_adobe_deflate", "packbits"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", TIFF_KINDS)
def test_tiffs_are_turned_once(tmp_path: Path, orientation: int, compression: str) -> None:
    upright = pixels(picture(48, 32))
    path = tmp_path / "a.tif"
    options = {"quality": 100} if compression == "jpeg" else {}
    stored = Image.fromarray(as_stored(upright, orientation).astype(np.uint8))
    stored.save(path, compression=compression, tiffinfo={0x0112: orientation}, **options)
    data = path.read_bytes()
    assert image_size(path) == encoded_image_size(data) == (48, 32)
    # Of a file Pillow gives the decoder the descriptor, of bytes all of them; a smaller size is never decoded.
    for image in (read_image(path), decode_image(data), read_image(path, smallest_side_px=4)):
        assert image.size == (48, 32)
        assert np.abs(pixels(image) - upright).max() <= (6 if compression == "jpeg" else 0)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_tiffs_of_other_kinds_are_turned_once(tmp_path: Path, orientation: int) -> None:
    grey = pixels(picture())[..., 0]
    path = tmp_path / "a.tif"
    stored = Image.fromarray(as_stored(grey * 257, orientation).astype(np.uint16))
    stored.save(path, tiffinfo={0x0112: orientation})
    assert image_size(path) == (24, 16)
    np.testing.assert_array_equal(pixels(read_image(path))[..., 0], grey)
    frame = Image.fromarray(as_stored(pixels(picture()), orientation).astype(np.uint8))
    frame.save(path, save_all=True, append_images=[frame, frame], tiffinfo={0x0112: orientation})
    assert image_size(path) == (24, 16)
    np.testing.assert_array_equal(pixels(read_image(path)), pixels(picture()))
    said = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    frame.save(path, tiffinfo={700: said})
    assert image_size(path) == (24, 16)
    np.testing.assert_array_equal(pixels(read_image(path)), pixels(picture()))


@pytest.mark.parametrize("said", [0, 9, 65535])
def test_tiffs_with_an_orientation_that_does_not_exist_stay_as_they_are(tmp_path: Path, said: int) -> None:
    picture().save(tmp_path / "a.tif", tiffinfo={0x0112: said})
    assert image_size(tmp_path / "a.tif") == (24, 16)
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "a.tif")), pixels(picture()))


def test_broken_exif_does_not_matter(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff\x00")
    picture().save(tmp_path / "b.jpg", exif=b"Exif\x00\x00garbage all the way down")
    for name in ("a.jpg", "b.jpg"):
        assert read_image(tmp_path / name).size == (24, 16)


def test_smallest_side_lets_jpegs_shrink_while_decoding(tmp_path: Path) -> None:
    picture(640, 480).save(tmp_path / "a.jpg", quality=95)
    picture(640, 480).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.jpg", smallest_side_px=100).size == (160, 120)
    assert read_image(tmp_path / "a.jpg", smallest_side_px=300).size == (640, 480)
    assert read_image(tmp_path / "a.png", smallest_side_px=100).size == (640, 480)
    small = pixels(read_image(tmp_path / "a.jpg", smallest_side_px=100))
    assert np.abs(small - pixels(picture(640, 480).resize((160, 120), Image.Resampling.BOX))).mean() < 2


@pytest.mark.parametrize("keep", [0.25, 0.7, 0.97])
@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif", "bmp"])
def test_truncated(tmp_path: Path, extension: str, keep: float) -> None:
    path = tmp_path / f"half.{extension}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert_one_sentence(error, "half.")


def test_damaged_pixel_data(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture(200, 200).save(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"IDAT") + 4
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(bytes(content))
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert_one_sentence(error, "a.png", "damaged")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes"),
        (b"dear diary, this is no image at all" * 9, "no image"),
        (b"\x00" * 400, "no image"),
        (b"\xff\xd8", "no image"),
        (b"\x89PNG\r\n\x1a\n", "a.jpg"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no image"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "a.jpg"),
    ],
)
def test_no_image(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(ImageError) as error:
            read(path)
        assert_one_sentence(error, "a.jpg", words)


def test_missing_folder_and_pipe(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "x.jpg")
    assert_one_sentence(error, "x.jpg", "folder")
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "gone.jpg")
    assert_one_sentence(error, "gone.jpg", "no image")
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / ("long" * 100))
    assert_one_sentence(error)
    with pytest.raises(ImageError) as error:
        read_image("nul\0byte.png")
    assert_one_sentence(error)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(ImageError) as error:
            read_image(tmp_path / "pipe.jpg")
        assert_one_sentence(error, "pipe.jpg", "regular")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_permission_denied(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "a.png")
    assert_one_sentence(error, "a.png", "permission")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a huge image."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_bomb_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(60000, 60000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were decoded"))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert_one_sentence(error, "bomb.png", "60000 x 60000", "3600.0 megapixels", "200.0", "max_pixels")
    assert image_size(path) == (60000, 60000)


@pytest.mark.parametrize("pillow_limit", [None, 10, 89_478_485])
def test_limit_is_ours_not_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pillow_limit: int | None) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)
    for extension in ("png", "jpg", "gif", "webp"):
        path = tmp_path / f"a.{extension}"
        picture().save(path)
        if extension != "webp" or pillow_limit != 10:  # Pillow's own reader of WebP refuses even to look.
            assert read_image(path, max_pixels=24 * 16).size == (24, 16)
        with pytest.raises(ImageError):
            read_image(path, max_pixels=24 * 16 - 1)
    assert pillow_limit == Image.MAX_IMAGE_PIXELS


def test_no_warnings_and_filters_restored(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(12000, 10000))  # Pillow itself would warn here.
    picture().save(tmp_path / "b.jpg", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x09\x00\x0f\x01\x02\x00")
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ImageError):
            read_image(tmp_path / "bomb.png")
        read_image(tmp_path / "b.jpg")
    assert not caught
    assert warnings.filters == before


def test_no_file_stays_open(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-40])
    script = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "from focalnets.data.images import read_image, image_size\n"
        "from focalnets.errors import ImageError\n"
        "keep = [read_image(sys.argv[1]), image_size(sys.argv[1])]\n"
        "try: read_image(sys.argv[2])\n"
        "except ImageError: pass\n"
        "import gc; gc.collect(); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-X", "dev", "-c", script, str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ResourceWarning" not in result.stderr
    assert result.stdout.strip() == "False", "reading images must not import torch"


def test_threads_leave_warning_filters_alone(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg")
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read_image(tmp_path / "a.jpg") for _ in range(30)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_unicode_names(tmp_path: Path) -> None:
    path = tmp_path / "größe 写真 🖼.png"
    picture().save(path)
    assert read_image(path).size == (24, 16)
    assert find_images([tmp_path]) == [path]
