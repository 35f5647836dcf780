"""Pictures of no class: drawn by number, read from folders, and put beside labelled ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from focalnets.data.outlier_patterns import PATTERNS
from focalnets.data.outliers import NO_CLASS, GeneratedOutliers, MixedOutliers, OutlierPictures, WithOutliers


class Photos:
    """Eight pictures of noise, each of its own."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        return Image.fromarray(pixels), index % 2


def drawn(outliers, numbers):
    return [np.asarray(outliers[number]) for number in numbers]


def test_what_is_drawn_depends_on_seed_and_number_alone():
    kinds = len(GeneratedOutliers(side_px=48, photos=Photos()).kinds)
    assert kinds == len(PATTERNS) + 4
    numbers = range(2 * kinds)
    forward = drawn(GeneratedOutliers(side_px=48, photos=Photos()), numbers)
    backward = drawn(GeneratedOutliers(side_px=48, photos=Photos()), reversed(numbers))[::-1]
    for one, other in zip(forward, backward, strict=True):
        assert one.dtype == np.uint8
        assert one.ndim == 3
        assert one.shape[2] == 3
        assert 32 - 8 < one.shape[0] <= 1.25 * 48
        assert np.array_equal(one, other)
    other_seed = drawn(GeneratedOutliers(side_px=48, seed=1, photos=Photos()), numbers)
    same = [a.shape == b.shape and np.array_equal(a, b) for a, b in zip(forward, other_seed, strict=True)]
    assert not any(same)
    again = [np.array_equal(forward[number], forward[number + kinds]) for number in range(kinds)]
    assert not any(again)


def test_without_photos_none_are_taken_apart():
    assert list(GeneratedOutliers(side_px=48).kinds) == [*PATTERNS, "scene"]
    assert list(GeneratedOutliers(side_px=48, photos=[]).kinds) == [*PATTERNS, "scene"]


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_fills_any_square(name):
    for number, side in enumerate((24, 33, 64, 33, 33, 33)):
        picture = PATTERNS[name](np.random.default_rng([number, 5]), side)
        assert picture.shape == (side, side, 3)
        assert picture.dtype == np.uint8


def test_a_shuffled_photo_holds_its_own_pixels():
    outliers = GeneratedOutliers(side_px=48, photos=Photos())
    place = list(outliers.kinds).index("shuffled")
    picture = np.asarray(outliers[place])
    grid_sizes = [side for side in (3, 4, 5, 6, 8) if picture.shape[0] % side == 0]
    sources = [np.asarray(photo.resize(picture.shape[1::-1], Image.Resampling.BILINEAR)) for photo, _ in
               (Photos()[index] for index in range(8))]  # fmt: skip
    assert grid_sizes
    histograms = [np.array_equal(np.sort(picture.ravel()), np.sort(source.ravel())) for source in sources]
    assert sum(histograms) == 1
    assert not any(np.array_equal(picture, source) for source in sources)


def test_pictures_of_a_folder_come_in_another_order_each_time(tmp_path):
    files = []
    for index in range(6):
        files.append(tmp_path / f"{index}.png")
        Image.new("RGB", (8, 8), (40 * index, 0, 0)).save(files[-1])
    pictures = OutlierPictures(files)
    turns = [[pictures[6 * turn + place].getpixel((0, 0))[0] // 40 for place in range(6)] for turn in range(4)]
    assert all(sorted(turn) == list(range(6)) for turn in turns)
    assert len(set(map(tuple, turns))) > 1
    assert turns[2] == [OutlierPictures(files)[12 + place].getpixel((0, 0))[0] // 40 for place in range(6)]


def test_sources_take_turns():
    red, blue = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    mixed = MixedOutliers([[red] * 3, [blue] * 3])
    assert [mixed[number].getpixel((0, 0)) for number in range(4)] == [(255, 0, 0), (0, 0, 255)] * 2


def test_outliers_stand_beside_labelled_pictures_without_end():
    outliers = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in range(4)]
    data = WithOutliers(Photos(), outliers, 0.25)
    assert len(data) == 8
    assert data[3][1] == 1
    assert data[8] == (outliers[0], NO_CLASS)
    assert data[11] == (outliers[3], NO_CLASS)
    assert (data.beside(32), data.beside(1)) == (8, 1)
