"""Small annotated data for tests of tasks."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

CLASSES = ("ground", "red", "green")


def write_class_maps(folder, sizes=((48, 64), (60, 44)), train=24, val=6):
    """Write photos of coloured squares, with the class of each pixel as PNG."""
    random = np.random.default_rng(0)
    for part, count in (("train", train), ("val", val)):
        for number in range(count):
            height, width = sizes[number % len(sizes)]
            labels = np.zeros((height, width), np.uint8)
            photo = random.integers(0, 60, (height, width, 3)).astype(np.uint8)
            for label, colour, side in ((1, (180, 0, 0), 20), (2, (0, 180, 0), 14)):
                top, left = random.integers(0, height - side), random.integers(0, width - side)
                labels[top : top + side, left : left + side] = label
                photo[labels == label] = colour
            labels[:2] = 255
            for kind, picture in (("images", photo), ("masks", labels)):
                place = folder / part / kind
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(place / f"{number}.png")
    (folder / "classes.json").write_text(json.dumps(CLASSES))
