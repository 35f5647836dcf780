"""Resizing as OpenCV does; the numbers were computed by OpenCV 4.8.1 and are the same in 5.0.0."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from focalnets.data.dense.opencv_resize import resize_as_opencv
from focalnets.data.dense.windows import Window

SMALL = np.arange(3 * 4 * 3).reshape(3, 4, 3).astype(np.uint8) * 7


def test_small_pictures():
    assert resize_as_opencv(SMALL, 5, 2).tolist() == [
        [[21, 28, 35], [36, 43, 50], [52, 59, 66], [69, 76, 83], [84, 91, 98]],
        [[147, 154, 161], [162, 169, 176], [178, 185, 192], [195, 202, 209], [210, 217, 224]],
    ]
    assert resize_as_opencv(SMALL, 6, 5)[..., 0].tolist() == [
        [0, 10, 24, 38, 52, 63],
        [34, 44, 58, 72, 86, 97],
        [84, 95, 108, 123, 137, 147],
        [134, 145, 159, 173, 187, 197],
        [168, 178, 192, 206, 220, 231],
    ]


@pytest.mark.parametrize(
    ("shape", "size", "digest"),
    [
        ((48, 64), (107, 80), "5c364093bf217346"),
        ((108, 192), (133, 75), "be6d7f4dd9a4a6ee"),
        ((53, 37), (80, 91), "262d24f4a257e510"),
        ((64, 64), (32, 32), "5510cd71354935dd"),
        ((300, 7), (50, 40), "8922a5127929d75e"),
        ((1, 1), (9, 4), "9664ba9eb1792486"),
    ],
)
def test_photos_of_many_sizes(shape, size, digest):
    height, width = shape
    # The same pixels on every machine: no random numbers.
    numbers = np.arange(height * width * 3, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(4294967291)
    pixels = (numbers >> np.uint64(13)).astype(np.uint8).reshape(height, width, 3)
    assert hashlib.sha256(resize_as_opencv(pixels, *size).tobytes()).hexdigest()[:16] == digest


def test_windows_without_smoothing_take_it():
    photo = Image.fromarray(SMALL)
    window = Window(0, 0, 4, 3, (6, 5))
    assert np.array_equal(window.of_photo(photo, "bilinear", antialias=False), resize_as_opencv(SMALL, 6, 5))
    mirrored = Window(0, 0, 4, 3, (6, 5), mirrored=True).of_photo(photo, "bilinear", antialias=False)
    assert np.array_equal(mirrored, resize_as_opencv(SMALL, 6, 5)[:, ::-1])
    assert np.array_equal(Window(0, 0, 4, 3, (4, 3)).of_photo(photo, "bilinear", antialias=False), SMALL)
