"""Generated scenes on disk with everything that is known of them, in COCO's formats and as class maps."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnets.data.annotated.scenes import class_map, scene_categories
from focalnets.data.scenes.generator import VAL_OFFSET, Scene, SceneGenerator
from focalnets.data.scenes.landscapes import LAND
from focalnets.data.scenes.writing import run_lengths
from focalnets.errors import DataError

__all__ = ["write_annotated_scenes"]

_FIRST_STUFF_NUMBER = 1_000


def write_annotated_scenes(
    generator: SceneGenerator,
    root: str | Path,
    *,
    train: int,
    val: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write generated scenes with boxes, masks, and the class and the object of each pixel.

    The layout is that of COCO: ``train/`` and ``val/`` hold the pictures, ``annotations/instances_train.json`` boxes
    and run lengths, ``annotations/panoptic_train.json`` and ``annotations/panoptic_train/`` the number of each pixel's
    object or stuff. ``semantic/`` holds ``classes.json`` and, in ``train/`` and ``val/``, ``images/`` beside ``masks/``
    with the class of each pixel.

    Args:
        generator: Draws the scenes.
        root: A folder that does not exist yet or is empty. It appears complete or not at all.
        train: Number of pictures to train with.
        val: Number of pictures held out.
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
            part = _Part(unfinished, side)
            for index in range(start, start + count):
                part.add(generator.scene(index), f"scene_{index:07d}")
                done += 1
                if progress is not None:
                    progress(done, train + val)
            part.finish()
        names = json.dumps(["none", *(category.name for category in scene_categories())])
        (unfinished / "semantic" / "classes.json").write_text(names, encoding="utf-8")
        if root.exists():
            root.rmdir()
        unfinished.rename(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return root


class _Part:
    """Collects what the files of one part hold."""

    def __init__(self, root: Path, side: str) -> None:
        self.root, self.side = root, side
        self.annotations = root / "annotations"
        self.numbers = self.annotations / f"panoptic_{side}"
        self.maps = root / "semantic" / side
        for folder in (root / side, self.numbers, self.maps / "images", self.maps / "masks"):
            folder.mkdir(parents=True, exist_ok=True)
        self.ids = {category.name: category.id for category in scene_categories()}
        self.images: list[dict[str, Any]] = []
        self.objects: list[dict[str, Any]] = []
        self.panoptic: list[dict[str, Any]] = []

    def add(self, scene: Scene, name: str) -> None:
        picture = self.root / self.side / f"{name}.png"
        Image.fromarray(scene.image).save(picture, compress_level=1)
        shutil.copyfile(picture, self.maps / "images" / picture.name)
        Image.fromarray(class_map(scene) + np.uint8(1)).save(self.maps / "masks" / picture.name)
        identity = len(self.images) + 1
        height, width = scene.image.shape[:2]
        self.images.append({"id": identity, "file_name": picture.name, "width": width, "height": height})
        numbers = scene.land.astype(np.int64) + _FIRST_STUFF_NUMBER
        infos = []
        for number, thing in enumerate(scene.objects, start=1):
            left, top, right, bottom = thing.box_xyxy
            facts = {
                "category_id": self.ids[thing.class_name],
                "bbox": [left, top, right - left, bottom - top],
                "area": int(thing.mask.sum()),
                "iscrowd": 0,
            }
            self.objects.append(
                {"id": len(self.objects) + 1, "image_id": identity, **facts, "segmentation": run_lengths(thing.mask)}
            )
            numbers[thing.mask] = number
            infos.append({"id": number, **facts})
        for place in np.unique(scene.land[numbers >= _FIRST_STUFF_NUMBER]).tolist():
            area = int((numbers == place + _FIRST_STUFF_NUMBER).sum())
            infos.append(
                {"id": place + _FIRST_STUFF_NUMBER, "category_id": self.ids[LAND[place]], "area": area, "iscrowd": 0}
            )
        colours = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=-1).astype(np.uint8)
        Image.fromarray(colours).save(self.numbers / picture.name)
        self.panoptic.append({"image_id": identity, "file_name": picture.name, "segments_info": infos})

    def finish(self) -> None:
        things = [_category(category) for category in scene_categories() if category.thing]
        everything = [{**_category(category), "isthing": int(category.thing)} for category in scene_categories()]
        self._write("instances", self.objects, things)
        self._write("panoptic", self.panoptic, everything)

    def _write(self, kind: str, annotations: Sequence[dict[str, Any]], categories: Sequence[dict[str, Any]]) -> None:
        content = {"images": self.images, "categories": categories, "annotations": annotations}
        text = json.dumps(content, separators=(",", ":"))
        (self.annotations / f"{kind}_{self.side}.json").write_text(text, encoding="utf-8")


def _category(category: Any) -> dict[str, Any]:
    return {"id": category.id, "name": category.name, "supercategory": category.supercategory}
