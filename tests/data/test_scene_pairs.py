"""Counterfactual scenes: the same object to the byte, and nothing of it in what is behind."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from focalnets.data.scenes.generator import SceneGenerator
from focalnets.data.scenes.pairs import BACKGROUNDS, ScenePairs
from focalnets.errors import UnknownNameError


@pytest.fixture(scope="module")
def pairs():
    return ScenePairs(SceneGenerator(image_size_px=96, target_size=(0.25, 0.35)))


def test_an_object_is_the_same_wherever_it_stands(pairs):
    for index in range(12):
        whole = pairs.cutout(index).opacity == 1.0
        assert whole.sum() > 20
        scenes = [pairs.scene(index, 40 + place, kind) for place, kind in enumerate(BACKGROUNDS)]
        for scene in scenes[1:]:
            assert np.array_equal(scene.image[whole], scenes[0].image[whole])
            assert np.array_equal(scene.target.mask, scenes[0].target.mask)
            assert scene.label == scenes[0].label == pairs.generator.label(index)
        assert len({scene.image[~whole].tobytes() for scene in scenes}) == len(BACKGROUNDS)


def test_a_background_is_the_same_behind_every_object(pairs):
    for kind in ("night", "winter"):
        behind = pairs.background(3, kind)
        for index in (0, 1, 2):
            untouched = pairs.cutout(index).opacity == 0.0
            scene = pairs.scene(index, 3, kind)
            assert np.array_equal(scene.image[untouched], behind.image[untouched])
            assert np.array_equal(scene.land, behind.land)


def test_stars_leave_the_land_where_it_is(pairs):
    lands = [pairs.background(7, kind).land for kind in BACKGROUNDS]
    assert all(np.array_equal(land, lands[0]) for land in lands)


def test_boxes_agree_with_masks_and_each_pixel_is_of_one_thing(pairs):
    for index in range(8):
        scene = pairs.scene(index, index, "dawn")
        assert sum(thing.mask.astype(int) for thing in scene.objects).max() == 1
        for thing in scene.objects:
            rows, columns = np.nonzero(thing.mask)
            assert thing.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_the_object_tells_nothing_of_the_background(pairs):
    """Colours and place come from the object's own numbers."""
    first = hashlib.sha256(pairs.cutout(5).colours.tobytes()).hexdigest()
    pairs.background(1, "desert")
    assert hashlib.sha256(pairs.cutout(5).colours.tobytes()).hexdigest() == first
    assert len({pairs.cutout(index).colours.tobytes() for index in range(16)}) == 16


def test_unknown_kinds_are_refused(pairs):
    with pytest.raises(UnknownNameError, match="no background 'noon'"):
        pairs.background(0, "noon")
