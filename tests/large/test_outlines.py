"""Areas of class maps as polygons: drawn again they give the map, and they are those of single masks."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from focalnets.large import outlines, writing
from focalnets.large.labels import ClassMap
from focalnets.large.outlines import count_edges, outline_classes, outline_mask
from focalnets.large.writing import write_class_geojson


def drawn(areas, shape):
    """Draw polygons by counting the edges left of each pixel."""
    labels = np.full(shape, 255, np.uint8)
    for area in areas:
        crossings = np.zeros(shape, int)
        for ring in area.rings:
            for (x, top), (_, bottom) in itertools.pairwise(ring):
                low, high = sorted((top, bottom))
                crossings[low:high, x:] += 1
        assert (labels[crossings % 2 == 1] == 255).all(), "areas overlap"
        labels[crossings % 2 == 1] = area.label
        assert (crossings % 2).sum() == area.pixels
    return labels


def maps():
    random = np.random.default_rng(0)
    yield np.zeros((1, 1), np.uint8)
    yield np.array([[0, 1], [1, 0]], np.uint8)
    yield random.integers(0, 2, (23, 31)).astype(np.uint8)
    yield random.integers(0, 5, (9, 40)).astype(np.uint8)
    blocks = np.kron(random.integers(0, 3, (12, 9)), np.ones((5, 4), int)).astype(np.uint8)
    yield blocks
    nested = np.zeros((21, 21), np.uint8)
    for side in range(1, 10):
        nested[side : 21 - side, side : 21 - side] = side % 2
    yield nested


@pytest.mark.parametrize("labels", list(maps()))
def test_polygons_give_the_map_again(labels, monkeypatch):
    monkeypatch.setattr(outlines, "_BAND_ROWS", 4)
    areas = list(outline_classes(labels))
    assert (drawn(areas, labels.shape) == labels).all()
    assert count_edges(labels) == sum(len(ring) // 2 for area in areas for ring in area.rings)


@pytest.mark.parametrize("labels", list(maps()))
def test_polygons_are_those_of_single_masks(labels):
    def plain(polygons):
        return sorted(sorted(tuple(sorted(set(ring))) for ring in polygon) for polygon in polygons)

    areas = list(outline_classes(labels))
    for label in np.unique(labels).tolist():
        found = [area.rings for area in areas if area.label == label]
        assert plain(found) == plain(outline_mask(labels == label))


def test_files_name_the_classes_and_leave_nothing_half_written(tmp_path, monkeypatch):
    classes = ClassMap(None, 40, 60, 3)
    classes.labels[10:30, 10:30] = 1
    classes.labels[15:20, 15:20] = 2
    path = tmp_path / "classes.geojson"
    write_class_geojson(path, classes, ("ground", "tree", "pond"))
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection"
    assert content["step_px"] == 1
    features = {each["properties"]["class"]: each for each in content["features"]}
    assert features["tree"]["properties"]["pixels"] == 20 * 20 - 25
    assert features["tree"]["geometry"]["type"] == "Polygon"
    outer, hole = features["tree"]["geometry"]["coordinates"]
    assert sorted(map(tuple, set(map(tuple, outer)))) == [(10, 10), (10, 30), (30, 10), (30, 30)]
    assert sorted(set(map(tuple, hole))) == [(15, 15), (15, 20), (20, 15), (20, 20)]
    monkeypatch.setattr(writing, "_MOST_EDGES", 3)
    write_class_geojson(path, classes, ("ground", "tree", "pond"))
    assert json.loads(path.read_text())["step_px"] > 1
    assert [each.name for each in tmp_path.iterdir()] == ["classes.geojson"]
