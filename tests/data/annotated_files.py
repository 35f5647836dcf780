"""Writes tiny annotated data sets for tests."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image


def photo(path, width=12, height=8, *, orientation=None, seed=0):
    """A noisy photo; ``width`` and ``height`` are those in the file, before EXIF turns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


def mask_image(path, mask, mode=None):
    """A mask of numbers or booleans as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(mask, dtype=np.uint8))
    (image if mode is None else image.convert(mode)).save(path)


def box(left, top, right, bottom, *, width=12, height=8, value=1):
    """A mask (height, width) uint8 with a filled rectangle, right and bottom exclusive."""
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = value
    return mask


def coco(path, images, annotations, categories=((1, "cat", "animal"), (2, "car", "thing"))):
    """A COCO file; images as (id, file_name, width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [
            {"id": identity, "file_name": name, "width": width, "height": height}
            for identity, name, width, height in images
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": above} for number, name, above in categories],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def mask_folders(root, count=4, *, images="images", masks="masks", suffix=""):
    """Photos with one rectangle each."""
    for index in range(count):
        photo(root / images / f"{index}.png", seed=index)
        mask_image(root / masks / f"{index}{suffix}.png", box(1 + index, 2, 5 + index, 6, value=index + 1))
    return root
