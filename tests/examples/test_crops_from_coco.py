"""The example that makes a data set of crops, run as its docstring says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "examples" / "crops_from_coco.py"


@pytest.fixture
def coco(tmp_path):
    Image.new("RGB", (100, 80), (10, 200, 30)).save(tmp_path / "a.jpg")
    boxes = [(1, [10, 10, 60, 50]), (2, [0, 0, 50, 70]), (2, [90, 70, 5, 5])]
    annotations = [
        {"id": number, "image_id": 7, "category_id": category, "bbox": box, "iscrowd": 0}
        for number, (category, box) in enumerate(boxes)
    ]
    categories = [
        {"id": 1, "name": "dog", "supercategory": "animal"},
        {"id": 2, "name": "cake", "supercategory": "food"},
    ]
    content = {"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": annotations, "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path


def cut(folder, *classes):
    command = [sys.executable, SCRIPT, folder, folder / "instances.json", folder / "objects", "--classes", *classes]
    return subprocess.run(command, capture_output=True, text=True)


def test_objects_become_square_crops_by_class(coco):
    done = cut(coco, "animal", "cake")
    assert done.returncode == 0, done.stderr
    assert [path.parent.name for path in sorted((coco / "objects").rglob("*.jpg"))] == ["animal", "cake"]
    with Image.open(coco / "objects" / "animal" / "a-0.jpg") as crop:
        assert crop.size == (66, 66)
    with Image.open(coco / "objects" / "cake" / "a-1.jpg") as crop:
        assert crop.size == (64, 74)  # ends at the edge


def test_unknown_class_is_named_with_those_there_are(coco):
    done = cut(coco, "unicorn")
    assert done.returncode != 0
    assert "no class unicorn; it has animal, cake, dog, food" in done.stderr
    assert not (coco / "objects").exists()
