"""Properties of pictures that tell the class, and pictures that look alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from focalnets.auditing.shortcuts import find_doubles, find_shortcuts, shortcut_verdicts
from focalnets.data.checks.properties import Properties, measure_picture

CLASSES = ("cat", "dog", "owl")
PLAIN = Properties(
    pixels=100.0, aspect=1.0, brightness=0.5, contrast=0.1, saturation=0.1, warmth=0.0, sharpness=0.1, border=0.1,
    bytes_per_pixel=0.2, format="JPEG", folder="", camera="", looks=0,
)  # fmt: skip


def find(properties, labels):
    return {each.name: each for each in find_shortcuts(properties, labels, CLASSES, gap=0.05, alpha=0.05)}


def test_what_is_linked_with_the_class_is_found_and_what_is_not_is_not():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 240)
    properties = [
        dataclasses.replace(PLAIN, brightness=0.2 * label + random.normal(0, 0.1), aspect=random.normal(1, 0.1))
        for label in labels
    ]
    found = find(properties, labels)
    assert set(found) == {"brightness", "aspect"}
    assert found["brightness"].found
    assert found["brightness"].lift.low > 0.2
    assert not found["aspect"].found
    assert found["aspect"].cramers_v < 0.2
    nothing = find_doubles([], [], [])
    first, *_ = shortcut_verdicts(list(found.values()), *nothing, images=240)
    assert first.kind == "found"
    assert first.sentence.startswith("Brightness: ")


def test_folders_of_the_classes_say_nothing_but_those_of_sources_do():
    labels = np.arange(90) % 3
    own = [dataclasses.replace(PLAIN, folder=CLASSES[label]) for label in labels]
    assert find(own, labels) == {}
    sources = [dataclasses.replace(PLAIN, folder="north" if label == 0 else "south") for label in labels]
    assert find(sources, labels)["folder"].found


def test_too_few_images_are_said_to_be_too_few():
    assert find([PLAIN] * 4, np.array([0, 1, 0, 1])) == {}
    (verdict,) = shortcut_verdicts([], *find_doubles([], [], []), images=4)
    assert verdict.kind == "nothing"


def test_pictures_are_measured_for_what_they_are(tmp_path):
    pixels = np.zeros((30, 60, 3), np.uint8)
    pixels[..., 0] = 255
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[272] = "Box 3"
    picture.save(tmp_path / "red.jpg", exif=exif)
    found = measure_picture(picture, tmp_path / "red.jpg", (tmp_path / "red.jpg").read_bytes())
    assert (found.pixels, found.aspect, found.format, found.camera) == (1800.0, 2.0, "JPEG", "Box 3")
    assert found.brightness == pytest.approx(0.299, abs=1e-5)
    assert found.saturation == found.warmth == pytest.approx(1.0)
    assert (found.sharpness, found.border) == pytest.approx((0.0, 0.0), abs=1e-6)
    random = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    random.save(tmp_path / "noise.png")
    assert measure_picture(random, tmp_path / "noise.png", (tmp_path / "noise.png").read_bytes()).sharpness > 0.3


def test_doubles_in_other_classes_and_among_images_to_train():
    looks = [0x0F0F33335555AAAA, 0x0F0F33335555AAAB, 0x1234567890ABCDEF]
    classes, splits = find_doubles(
        looks, [0, 1, 1], ["a", "b", "c"], [(0x1234567890ABCDEE, "t"), (0x00FF00FF0F0F0F0F, "u")]
    )
    assert (classes.images, classes.pairs, classes.examples) == (2, 1, (("a", "b"),))
    assert (splits.images, splits.pairs, splits.examples) == (1, 1, (("c", "t"),))
