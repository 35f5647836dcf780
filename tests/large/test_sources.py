"""Regions of files equal the whole file decoded at once, for every kind of file."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from focalnets.data.images import read_image
from focalnets.errors import ImageError, MissingPackageError, ShapeError
from focalnets.large.readers import Held, RawRows, StoredRows
from focalnets.large.sources import open_source
from focalnets.large.tiff import TiffSegments

tifffile = pytest.importorskip("tifffile")

HEIGHT, WIDTH = 75, 53
REGIONS = [(0, 75, 0, 53), (0, 1, 0, 53), (74, 75, 52, 53), (10, 47, 13, 40), (31, 33, 0, 53)]


def draw(samples=3, dtype=np.uint8, seed=0):
    random = np.random.default_rng(seed)
    shape = (HEIGHT, WIDTH) if samples == 1 else (HEIGHT, WIDTH, samples)
    if dtype is bool:
        return random.random(shape) < 0.5
    if np.dtype(dtype).kind == "f":
        return random.random(shape).astype(dtype)
    return random.integers(0, min(60000, np.iinfo(dtype).max), shape).astype(dtype)


def assert_regions_are_those_of(path, whole, tolerance=0):
    with open_source(path) as source:
        assert (source.height, source.width) == whole.shape[:2]
        for top, bottom, left, right in REGIONS:
            if bottom > source.height or right > source.width:
                top, bottom, left, right = left, right, top, bottom
            found = source.read(top, bottom, left, right)
            assert found.dtype == np.uint8
            difference = found.astype(int) - whole[top:bottom, left:right]
            assert np.abs(difference).max() <= tolerance


LAYOUTS = {
    "one strip": {},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "planes": {"planarconfig": "separate", "rowsperstrip": 9},
    "tiled planes": {"planarconfig": "separate", "tile": (32, 16)},
}
COMPRESSIONS = {
    "none": {},
    "deflate": {"compression": "zlib"},
    "predicted": {"compression": "zlib", "predictor": True},
    "LZW": {"compression": "lzw"},
    "Zstandard": {"compression": "zstd"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("big", [False, True])
def test_layouts_and_compressions(tmp_path, layout, compression, big):
    if compression in ("LZW", "Zstandard", "predicted"):
        pytest.importorskip("imagecodecs")
    path, pixels = tmp_path / "a.tif", draw()
    order = "big" if big else "little"
    options = {**LAYOUTS[layout], **COMPRESSIONS[compression]}
    stored = pixels.transpose(2, 0, 1) if "planarconfig" in options else pixels
    tifffile.imwrite(
        path, stored, photometric="rgb", bigtiff=big, byteorder={"big": ">", "little": "<"}[order], **options
    )
    assert_regions_are_those_of(path, pixels)


KINDS = {
    "grey": (1, np.uint8, {"photometric": "minisblack"}),
    "inverted grey": (1, np.uint8, {"photometric": "miniswhite"}),
    "16 bits": (1, np.uint16, {"photometric": "minisblack"}),
    "16 bits in colour": (3, np.uint16, {"photometric": "rgb"}),
    "opacity": (4, np.uint8, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "16 bits with opacity": (4, np.uint16, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "grey with opacity": (2, np.uint8, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    "an extra number": (4, np.uint8, {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    "floats": (1, np.float32, {"photometric": "minisblack"}),
    "signed": (1, np.int32, {"photometric": "minisblack"}),
    "CMYK": (4, np.uint8, {"photometric": "separated"}),
    "black and white": (1, bool, {"photometric": "minisblack"}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tiled", [False, True])
def test_kinds_of_numbers_mean_what_they_mean_to_the_whole_file(tmp_path, kind, tiled):
    samples, dtype, options = KINDS[kind]
    if dtype is bool:
        pytest.importorskip("imagecodecs")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, draw(samples, dtype), **options, **({"tile": (16, 16)} if tiled else {"rowsperstrip": 8}))
    assert_regions_are_those_of(path, np.asarray(read_image(path)))


def test_few_bits_of_a_camera_reach_from_black_to_white(tmp_path):
    path = tmp_path / "a.tif"
    pixels = (draw(1, np.uint16) % 4096).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack", tile=(16, 16), extratags=[(281, "H", 1, 4095, True)])
    whole = np.asarray(read_image(path))
    assert whole.max() > 250
    assert_regions_are_those_of(path, whole)


def test_floats_beyond_one_are_spread_over_the_whole_picture(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, draw(1, np.float32) * 40 - 3, tile=(16, 16))
    assert_regions_are_those_of(path, np.asarray(read_image(path)))


def test_a_palette(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(draw()).quantize(16).save(path)
    assert_regions_are_those_of(path, np.asarray(read_image(path)))


@pytest.mark.parametrize("tiled", [False, True])
def test_jpeg_inside(tmp_path, tiled):
    pytest.importorskip("imagecodecs")
    smooth = np.asarray(Image.fromarray(draw()).resize((8, 8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    path = tmp_path / "a.tif"
    options = {"tile": (16, 16)} if tiled else {"rowsperstrip": 16}
    tifffile.imwrite(path, smooth, photometric="ycbcr", compression="jpeg", **options)
    assert_regions_are_those_of(path, np.asarray(read_image(path)), tolerance=3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", ["one strip", "tiles"])
def test_all_orientations_stand_upright(tmp_path, orientation, layout):
    path = tmp_path / "a.tif"
    extra = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(path, draw(), photometric="rgb", extratags=extra, **LAYOUTS[layout])
    whole = np.asarray(read_image(path))
    assert whole.shape[:2] == ((WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH))
    assert_regions_are_those_of(path, whole)


def write_pyramid(path):
    pixels = draw()
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, photometric="rgb", tile=(16, 16), subifds=2)
        writer.write(pixels[::2, ::2], photometric="rgb", tile=(16, 16), subfiletype=1)
        writer.write(pixels[::4, ::4], photometric="rgb", tile=(16, 16), subfiletype=1)
    return pixels


def test_smaller_copies_inside_are_levels(tmp_path):
    pixels = write_pyramid(tmp_path / "a.tif")
    for level in range(3):
        with open_source(tmp_path / "a.tif", level=level) as source:
            step = 2**level
            assert np.array_equal(source.read(0, source.height), pixels[::step, ::step])
    with pytest.raises(ImageError, match="has 3 levels, counted from 0, and no level 3"):
        open_source(tmp_path / "a.tif", level=3)


def test_tiles_that_were_never_written_are_black(tmp_path):
    path = tmp_path / "a.tif"
    tiles = iter([np.full((16, 16, 3), 200, np.uint8), None, None, np.full((16, 16, 3), 100, np.uint8)])
    tifffile.imwrite(path, tiles, shape=(32, 32, 3), dtype=np.uint8, tile=(16, 16), photometric="rgb")
    with open_source(path) as source:
        found = source.read(0, 32)[..., 0]
    assert (found[0, 0], found[0, 31], found[31, 0], found[31, 31]) == (200, 0, 0, 100)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "ppm", "webp", "gif"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_images_of_pillow(tmp_path, ending, mode):
    if (ending, mode) in {("jpg", "P"), ("jpg", "RGBA"), ("webp", "P"), ("ppm", "P"), ("ppm", "RGBA"), ("webp", "L")}:
        pytest.skip("no such files")
    path = tmp_path / f"a.{ending}"
    Image.fromarray(draw()).convert(mode).save(path)
    assert_regions_are_those_of(path, np.asarray(read_image(path)))


def test_rows_that_lie_on_the_disk_are_not_held(tmp_path):
    for name, reader in [("a.bmp", StoredRows), ("a.ppm", StoredRows), ("a.png", Held), ("a.tif", RawRows)]:
        Image.fromarray(draw()).save(tmp_path / name)
        with open_source(tmp_path / name) as source:
            assert type(source._reader) is reader
            assert source.held_bytes == (4 * HEIGHT * WIDTH if reader is Held else 0)
    tifffile.imwrite(tmp_path / "b.tif", draw(), tile=(16, 16), photometric="rgb")
    with open_source(tmp_path / "b.tif") as source:
        assert type(source._reader) is TiffSegments


def test_a_photo_that_lies_on_its_side(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "a.png"
    Image.fromarray(draw()).save(path, exif=exif)
    assert_regions_are_those_of(path, np.asarray(read_image(path)))


@pytest.mark.parametrize(
    ("samples", "dtype"), [(1, np.uint8), (3, np.uint8), (4, np.uint8), (1, np.uint16), (3, np.uint16)]
)
def test_numpy_files_and_arrays_are_alike(tmp_path, samples, dtype):
    pixels = draw(samples, dtype)
    np.save(tmp_path / "a.npy", pixels)
    with open_source(pixels) as held, open_source(tmp_path / "a.npy") as stored:
        whole = held.read(0, HEIGHT)
        assert whole.shape == (HEIGHT, WIDTH, 3)
        assert stored.held_bytes == 0
    assert_regions_are_those_of(tmp_path / "a.npy", whole)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert_regions_are_those_of(mapped, whole)


def test_fingerprints_change_with_the_picture(tmp_path):
    np.save(tmp_path / "a.npy", draw())
    with open_source(tmp_path / "a.npy") as source:
        first = source.fingerprint
    np.save(tmp_path / "a.npy", draw(seed=1)[:70])
    with open_source(tmp_path / "a.npy") as source:
        assert source.fingerprint != first
    assert open_source(draw()).fingerprint == open_source(draw()).fingerprint
    assert open_source(draw()).fingerprint != open_source(draw(seed=1)).fingerprint


def test_a_thumbnail_is_the_picture_in_small():
    grey = np.repeat(np.linspace(0, 255, 400).astype(np.uint8)[:, None], 300, 1)
    with open_source(grey) as source:
        small = source.thumbnail(40)
    assert small.size == (30, 40)
    column = np.asarray(small)[:, 0, 0].astype(int)
    assert np.abs(column - np.linspace(3, 252, 40)).max() < 3


def test_mistakes_are_sentences(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match="there is no image"):
        open_source(tmp_path / "none.tif")
    (tmp_path / "broken.tif").write_bytes(b"II*\0\xff\xff\xff\x00")
    with pytest.raises(ImageError, match=r"damaged|no TIFF"):
        open_source(tmp_path / "broken.tif")
    tifffile.imwrite(tmp_path / "cut.tif", draw(), tile=(16, 16), compression="zlib", photometric="rgb")
    data = (tmp_path / "cut.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "cut.tif") as file:
        start = file.pages.first.dataoffsets[0]
    (tmp_path / "cut.tif").write_bytes(data[:start] + b"\x55" * 64 + data[start + 64 :])
    with open_source(tmp_path / "cut.tif") as source, pytest.raises(ImageError, match="cannot be decoded"):
        source.read(0, 5)
    np.save(tmp_path / "a.npy", draw())
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-9])
    with pytest.raises(ImageError, match="incomplete"):
        open_source(tmp_path / "a.npy")
    np.save(tmp_path / "columns.npy", np.asfortranarray(draw()))
    with pytest.raises(ImageError, match="by columns"):
        open_source(tmp_path / "columns.npy")
    Image.fromarray(draw()).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="can only be decoded whole, which takes"):
        open_source(tmp_path / "a.png", max_held_pixels=1000)
    with pytest.raises(ImageError, match="one size only"):
        open_source(tmp_path / "a.png", level=1)
    with pytest.raises(ShapeError, match="a region lies within the 53 x 75 pixels"):
        open_source(draw()).read(0, 76)
    with pytest.raises(ShapeError, match="got \\(4, 5, 6\\)"):
        open_source(np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(ShapeError, match="uint8 or uint16"):
        open_source(np.zeros((4, 5, 3), np.float32))


def test_without_the_package_small_files_still_open(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", draw(), tile=(16, 16), photometric="rgb")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert_regions_are_those_of(tmp_path / "a.tif", draw())
    with pytest.raises(MissingPackageError, match=r"focalnets\[large\]"):
        open_source(tmp_path / "a.tif", max_held_pixels=100)


def test_slides_need_openslide(tmp_path, monkeypatch):
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff" + bytes(80))
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(MissingPackageError, match=r"focalnets\[slides\]"):
        open_source(tmp_path / "a.mrxs")
    write_pyramid(tmp_path / "a.svs")  # a TIFF, which is read without
    with open_source(tmp_path / "a.svs", level=1) as source:
        assert source.width == 27


def test_a_slide_is_read_by_openslide(tmp_path):
    openslide = pytest.importorskip("openslide")
    pixels = np.asarray(Image.fromarray(draw()).resize((600, 500)))
    path = tmp_path / "a.svs"
    description = "Aperio Image Library v1|AppMag = 20"
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, photometric="rgb", tile=(256, 256), compression="jpeg", description=description)
    assert openslide.OpenSlide.detect_format(str(path)) is not None
    with open_source(path) as source:
        assert type(source._reader).__name__ == "Slide"
        found = source.read(100, 300, 50, 400).astype(int)
        assert np.abs(found - pixels[100:300, 50:400]).mean() < 12
        with pytest.raises(ImageError, match="no level 4"):
            open_source(path, level=4)
