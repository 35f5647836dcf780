"""Photos of coloured rectangles with their boxes and masks, as COCO has them; numbers of classes leave gaps."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

CLASSES = {"red": (3, (220, 40, 40)), "blue": (7, (40, 60, 220))}


def write_squares(folder, *, train=24, val=6, size=(48, 40), seed=0):
    """Write ``images/`` and ``annotations/{train,val}.json``; the last image of each shows nothing."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    categories = [{"id": number, "name": name} for name, (number, _) in CLASSES.items()]
    for part, count in (("train", train), ("val", val)):
        images, annotations = [], []
        for index in range(count):
            name = f"{part}_{index}.png"
            pixels = random.integers(90, 130, (size[1], size[0], 3)).astype(np.uint8)
            images.append({"id": 10 * index + 5, "file_name": name, "width": size[0], "height": size[1]})
            for _ in range(0 if index == count - 1 else int(random.integers(1, 3))):
                _, (number, colour) = list(CLASSES.items())[int(random.integers(2))]
                width, height = (int(side) for side in random.integers(8, 20, 2))
                left, top = int(random.integers(0, size[0] - width)), int(random.integers(0, size[1] - height))
                pixels[top : top + height, left : left + width] = colour
                mask = np.zeros((size[1], size[0]), dtype=np.uint8)
                mask[top : top + height, left : left + width] = 1
                annotations.append({
                    "id": len(annotations) + 1, "image_id": 10 * index + 5, "category_id": number, "iscrowd": 0,
                    "bbox": [left, top, width, height], "area": width * height,
                    "segmentation": {"size": [size[1], size[0]], "counts": run_lengths(mask)},
                })  # fmt: skip
            Image.fromarray(pixels).save(folder / "images" / name)
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"{part}.json").write_text(json.dumps(content))
    return folder


def run_lengths(mask):
    """Run lengths column by column, beginning with zeros."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return runs if not flat[0] else [0, *runs]
