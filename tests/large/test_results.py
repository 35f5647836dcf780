"""Results of large images: outlines, files, the page, plans, and work that goes on after an interruption."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.large.test_contexts import GRID, build, draw, semantic

from focalnets.errors import ConfigError
from focalnets.large import looking
from focalnets.large.labels import ClassMap
from focalnets.large.looking import LargeOptions, classify_large, finish_work, plan_look, segment_large
from focalnets.large.merging import PartMask, WindowObject
from focalnets.large.outlines import outline_mask
from focalnets.large.overview import write_overview
from focalnets.large.plan import estimate_seconds, parse_memory
from focalnets.large.pyramid import pixels_to_input
from focalnets.large.sources import open_source
from focalnets.large.windows import cut_windows
from focalnets.large.writing import write_class_tiff, write_geojson
from focalnets.report.overlay import class_colours


def filled(polygons, shape):
    """Fill polygons by counting the upright edges left of each pixel."""
    inside = np.zeros(shape, bool)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    for polygon in polygons:
        for ring in polygon:
            for (x0, y0), (x1, y1) in itertools.pairwise(ring):
                if x0 == x1:
                    inside ^= (min(y0, y1) < y) & (y < max(y0, y1)) & (x > x0)
    return inside


@pytest.mark.parametrize("seed", range(6))
def test_outlines_fill_to_the_mask(seed):
    mask = np.random.default_rng(seed).random((13, 17)) < (0.2 + 0.12 * seed)
    polygons = outline_mask(mask)
    assert all(ring[0] == ring[-1] for polygon in polygons for ring in polygon)
    assert np.array_equal(filled(polygons, mask.shape), mask)


def test_holes_lie_in_the_polygon_around_them():
    mask = np.zeros((20, 30), bool)
    mask[1:10, 1:10] = True
    mask[3:8, 3:8] = False
    mask[5, 5] = True  # an island in the hole
    mask[12:18, 12:28] = True
    polygons = sorted(outline_mask(mask, left=100, top=50), key=len)
    assert [len(polygon) for polygon in polygons] == [1, 1, 2]
    assert polygons[2][0][0] == (101, 51)
    assert len(polygons[2][1]) == 5


def test_objects_become_geojson(tmp_path):
    window = cut_windows(64, 64, 64, 0, GRID)[0]
    mask = PartMask(3, 4, np.array([[1, 1, 0, 1]], bool))
    objects = [
        WindowObject(window, 1, 0.91234, (3.0, 4.0, 7.0, 5.0), mask),
        WindowObject(window, 0, 0.5, (1.0, 2.0, 3.5, 4.0)),
    ]
    write_geojson(tmp_path / "objects.geojson", objects, ["cat", "dog"])
    first, second = json.loads((tmp_path / "objects.geojson").read_text())["features"]
    assert first["properties"] == {"class": "dog", "score": 0.9123, "box": [3.0, 4.0, 7.0, 5.0]}
    assert first["geometry"]["type"] == "MultiPolygon"
    assert second["geometry"]["coordinates"] == [[[1.0, 2.0], [3.5, 2.0], [3.5, 4.0], [1.0, 4.0], [1.0, 2.0]]]


@pytest.mark.parametrize("ids", [None, (0, 7, 24, 33, 255), (3, 256, 7, 40_000, 0)])
def test_a_class_map_becomes_a_tiled_tiff_with_smaller_copies(tmp_path, ids):
    tifffile = pytest.importorskip("tifffile")
    classes = ClassMap(None, 1500, 2300, 5)
    classes.labels[:] = np.random.default_rng(0).integers(0, 5, classes.labels.shape)
    write_class_tiff(tmp_path / "classes.tif", classes, ids)
    written = classes.labels if ids is None else np.array(ids)[classes.labels]
    with tifffile.TiffFile(tmp_path / "classes.tif") as file:
        page = file.pages.first
        assert (page.is_tiled, page.tilewidth) == (True, 512)
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(1500, 2300), (750, 1150), (375, 575)]
        for level, step in zip(levels, (1, 2, 4), strict=True):
            assert np.array_equal(level.asarray(), written[::step, ::step])
    with Image.open(tmp_path / "classes.tif") as picture:
        assert picture.mode == ("P" if ids is None or max(ids) < 256 else "I;16")


def test_the_page_shows_image_classes_and_objects(tmp_path):
    classes = ClassMap(None, 700, 1100, 3)
    classes.labels[:, 500:] = 2
    window = cut_windows(700, 1100, 1104, 0, GRID)[0]
    found = [WindowObject(window, 2, 0.9, (10.0, 20.0, 30.0, 40.0))]
    with open_source(draw(700, 1100)) as source:
        write_overview(
            tmp_path / "overview.html",
            source,
            ["sky", "<sea>", "land"],
            class_colours(3),
            classes=classes,
            objects=found,
        )
    page = (tmp_path / "overview.html").read_text()
    assert "<sea>" not in page
    assert "land 54.5%" in page
    assert "http" not in page.replace("http-equiv", "")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0].replace("\\u003c", "<"))
    assert data["levels"] == [
        {"width": 1100, "height": 700},
        {"width": 550, "height": 350},
        {"width": 275, "height": 175},
    ]
    assert data["objects"] == [{"box": [10.0, 20.0, 30.0, 40.0], "colour": "#4363d8"}]
    with Image.open(tmp_path / "overview/classes/0/1_2.png") as tile:
        assert tile.size == (76, 188)
        assert set(np.unique(np.asarray(tile))) == {2}
    assert (tmp_path / "overview/image/2/0_0.jpg").is_file()


def test_amounts_of_memory():
    assert parse_memory("8GB") == parse_memory("8 GiB") == parse_memory("8g") == 8 * 2**30
    assert parse_memory("1.5M") == 1.5 * 2**20
    for text in ("", "eight", "-1GB", "0", "4 apples"):
        with pytest.raises(ConfigError, match="memory is an amount such as 8GB"):
            parse_memory(text)


def test_plans_fit_or_say_what_would(tmp_path):
    network = build(pyramid_norms=True)
    with open_source(np.zeros((6000, 6000), np.uint8)) as source:
        roomy = plan_look(network, source, LargeOptions(memory_bytes=2**34), folder=tmp_path)
        assert (roomy.settings.folder, roomy.file_bytes) == (None, 0)
        tight = plan_look(network, source, LargeOptions(memory_bytes=roomy.memory_bytes - 2**20), folder=tmp_path)
        assert tight.settings.folder == tmp_path / "maps"
        assert tight.memory_bytes < roomy.memory_bytes - 2**20
        half = plan_look(network, source, LargeOptions(always_files=True, dtype="float16"), folder=tmp_path)
        assert half.file_bytes < 0.6 * tight.file_bytes
        with pytest.raises(ConfigError, match=r"takes at least \d+ MB of memory without files, and 200 MB are allowed"):
            plan_look(network, source, LargeOptions(memory_bytes=200 * 2**20))
        with pytest.raises(ConfigError, match="use smaller tiles"):
            plan_look(network, source, LargeOptions(context="tile", tile_px=4096, memory_bytes=200 * 2**20))
        with pytest.raises(ConfigError, match="multiple"):
            plan_look(network, source, LargeOptions(context="tile", tile_px=64, overlap_px=64))
        timed = estimate_seconds(network, roomy)
        assert timed.seconds > 0
        assert "6000 x 6000 px as a whole, by bands, maps in memory: at most" in timed.sentence()
    with pytest.raises(ConfigError, match="no context 'imag'; did you mean image"):
        LargeOptions(context="imag")


@pytest.mark.parametrize("context", ["image", "tile", "shared"])
def test_a_large_image_is_classified_in_every_context(context, tmp_path):
    network, pixels = build(), draw(150, 90)
    with open_source(pixels) as source:
        plan = plan_look(network, source, LargeOptions(context=context, tile_px=64, overlap_px=16))
        found = classify_large(network, source, plan)
    with torch.inference_mode():
        wanted = network(pixels_to_input(network.preprocessing)(pixels)).softmax(1)[0]
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(found, wanted, atol=1e-5 if context == "image" else 0.2, rtol=0)


class KilledError(Exception):
    """Stands for a process that ends without warning."""


@pytest.mark.parametrize("context", ["image", "tile", "shared"])
@pytest.mark.parametrize("kind", ["mlp", "uper"])
def test_interrupted_class_maps_go_on(context, kind, tmp_path):
    network, pixels = semantic(kind), draw(150, 90)
    options = LargeOptions(context=context, tile_px=64, overlap_px=16)
    with open_source(pixels) as source:
        wanted = segment_large(network, source, plan_look(network.backbone, source, options))
        options = dataclasses.replace(options, always_files=True)
        folder, rounds = tmp_path / "work", 0
        reached: list[float] = []

        def stop(done, patience):
            reached.append(done)
            patience.append(done)
            if len(patience) == 4 * rounds:
                raise KilledError

        while True:
            rounds += 1
            plan = plan_look(network.backbone, source, options, folder=folder)
            progress = functools.partial(stop, patience=[])
            try:
                found = segment_large(network, source, plan, folder=folder, on_progress=progress)
                break
            except KilledError:
                assert rounds < 40
        assert rounds > 1
        assert max(reached) == pytest.approx(1.0)
        assert (found.labels == wanted.labels).mean() > 0.9995
        assert (folder / "classes.npy").is_file()
        finish_work(folder)
        assert not folder.exists()


def test_other_weights_start_again(tmp_path):
    network = semantic()
    before = looking._checksum(network)
    with torch.no_grad():
        network.head.mix.bias[0] += 1
    assert looking._checksum(network) != before
