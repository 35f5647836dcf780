"""Large generated pictures: repeatable, with things as large as in scenes, and all of them known."""

from __future__ import annotations

import numpy as np
import pytest

from focalnets.data.annotated.scenes import annotated_panorama, scene_categories
from focalnets.data.scenes.generator import SCENE_CLASSES, SceneGenerator
from focalnets.data.scenes.landscapes import LAND
from focalnets.data.scenes.panorama import draw_panorama
from focalnets.errors import ConfigError

GENERATOR = SceneGenerator(image_size_px=64, target_size=(0.14, 0.22))


@pytest.fixture(scope="module")
def panorama():
    return draw_panorama(GENERATOR, 1, (400, 300))


def test_it_is_repeated_bitwise_and_no_other(panorama):
    again, other = (draw_panorama(GENERATOR, index, (400, 300)) for index in (1, 2))
    assert panorama.image.shape == (300, 400, 3)
    assert panorama.image.dtype == np.uint8
    np.testing.assert_array_equal(panorama.image, again.image)
    assert panorama.things == again.things
    assert (panorama.image != other.image).mean() > 0.5


def test_boxes_are_the_smallest_around_what_is_seen(panorama):
    assert len(panorama.things) > 100
    for thing in panorama.things:
        rows, columns = np.nonzero(panorama.owner == thing.number)
        assert thing.area_px == len(rows) >= 8
        assert thing.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_things_are_as_large_as_in_scenes_and_of_every_class(panorama):
    def longer_sides(boxes):
        return [max(right - left, bottom - top) for left, top, right, bottom in boxes]

    there = longer_sides(thing.box_xyxy for thing in panorama.things if thing.class_name in SCENE_CLASSES)
    scenes = longer_sides(GENERATOR.scene(index).target.box_xyxy for index in range(40))
    assert {thing.class_name for thing in panorama.things} >= set(SCENE_CLASSES)
    assert np.median(there) == pytest.approx(np.median(scenes), rel=0.15)


def test_the_class_of_each_pixel_is_that_of_the_thing_or_of_the_land(panorama):
    names = [category.name for category in scene_categories()]
    found = annotated_panorama(panorama, "large", stuff=True)
    assert found.size == (400, 300)
    known = {thing.number: names.index(thing.class_name) for thing in panorama.things}
    expected = panorama.land.astype(int) + names.index(LAND[0])
    for number, label in known.items():
        expected[panorama.owner == number] = label
    np.testing.assert_array_equal(found.semantic, expected)
    assert [thing.label for thing in found.objects] == list(known.values())
    assert annotated_panorama(panorama, "large", stuff=False).semantic is None


def test_a_picture_smaller_than_a_scene_is_refused():
    with pytest.raises(ConfigError, match="at least as large as a scene, 64 px, got 100 x 40 px"):
        draw_panorama(GENERATOR, 0, (100, 40))
