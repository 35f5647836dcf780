"""Generated scenes on disk: folders of classes, category masks and COCO annotations."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnets.data.scenes.generator import DISTRACTOR_CLASSES, VAL_OFFSET, Scene, SceneGenerator
from focalnets.errors import DataError

__all__ = ["run_lengths", "write_folders"]


def write_folders(
    generator: SceneGenerator,
    root: str | Path,
    *,
    train: int,
    val: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write generated scenes as folders of classes, with masks and boxes beside them.

    The layout is ``train/<class>/<name>.png`` and ``val/<class>/<name>.png``; ``masks/`` repeats it with the
    category of every pixel as a palette image, 0 where there is none; ``annotations_train.json`` and
    ``annotations_val.json`` hold every object in COCO format, boxes as x, y, width, height and masks as
    uncompressed run lengths.

    Args:
        generator: Draws the scenes.
        root: A folder that does not exist yet or is empty. It appears complete or not at all.
        train: Number of pictures to train with: scenes 0 to ``train - 1``.
        val: Number of pictures held out: scenes from 1,000,000 on.
        progress: Called with the pictures written so far and their total.

    Returns:
        The folder.

    Raises:
        DataError: If the folder exists and is not empty.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"'{root}' exists already and is not empty; name a new folder or remove it first.")
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = root.with_name(f".{root.name}.{os.getpid()}.unfinished")
    try:
        done = 0
        for side, start, count in (("train", 0, train), ("val", VAL_OFFSET, val)):
            annotations = _Annotations(generator)
            for name in generator.classes:
                for folder in (unfinished / side / name, unfinished / "masks" / side / name):
                    folder.mkdir(parents=True, exist_ok=True)
            for index in range(start, start + count):
                scene = generator.scene(index)
                relative = Path(side) / generator.classes[scene.label] / f"scene_{index:07d}.png"
                Image.fromarray(scene.image).save(unfinished / relative, compress_level=1)
                annotations.mask_image(scene).save(unfinished / "masks" / relative)
                annotations.add(scene, relative)
                done += 1
                if progress is not None:
                    progress(done, train + val)
            text = json.dumps(annotations.as_coco(), separators=(",", ":"))
            (unfinished / f"annotations_{side}.json").write_text(text, encoding="utf-8")
        if root.exists():
            root.rmdir()
        unfinished.rename(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return root


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths of a mask (H, W) bool: counts of 0s and 1s in turn, down the columns."""
    flat = np.asarray(mask, dtype=bool).T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


class _Annotations:
    """Collects what COCO's object detection files hold."""

    def __init__(self, generator: SceneGenerator) -> None:
        names = (*generator.classes, *DISTRACTOR_CLASSES)
        self.description = repr(generator)
        self.category_ids = {name: number for number, name in enumerate(names, start=1)}
        self.categories = [
            {
                "id": number,
                "name": name,
                "supercategory": "target" if name in generator.classes else "distractor",
            }
            for name, number in self.category_ids.items()
        ]
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, scene: Scene, relative: Path) -> None:
        image_id = len(self.images) + 1
        height, width = scene.image.shape[:2]
        self.images.append({"id": image_id, "file_name": relative.as_posix(), "width": width, "height": height})
        for thing in scene.objects:
            left, top, right, bottom = thing.box_xyxy
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": image_id,
                    "category_id": self.category_ids[thing.class_name],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(thing.mask.sum()),
                    "iscrowd": 0,
                    "segmentation": run_lengths(thing.mask),
                }
            )

    def as_coco(self) -> dict[str, Any]:
        return {
            "info": {"description": self.description},
            "images": self.images,
            "categories": self.categories,
            "annotations": self.annotations,
        }

    def mask_image(self, scene: Scene) -> Image.Image:
        """Category of each pixel, mode P; its colours only help the eye."""
        categories = np.zeros(scene.image.shape[:2], dtype=np.uint8)
        for thing in scene.objects:
            categories[thing.mask] = self.category_ids[thing.class_name]
        image = Image.fromarray(categories)
        image.putpalette(_palette(len(self.category_ids)))
        return image


def _palette(categories: int) -> Sequence[int]:
    hues = np.arange(categories) * 0.618 % 1.0
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hues[:, None] + [0.0, 1 / 3, 2 / 3]))
    return [0, 0, 0, *(60 + 195 * wheel).astype(int).ravel().tolist()]
