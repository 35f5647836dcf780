"""Annotated images as tasks train on them: formats, parts, classes, splits that are found again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.data.annotated_files import box, coco, mask_folders, mask_image, photo

from focalnets.data.annotated.training import (
    open_annotated_evaluation,
    open_annotated_training,
    reopen_annotated_training,
    task_of_data,
)
from focalnets.data.scenes.generator import SceneGenerator
from focalnets.data.scenes.writing import write_folders
from focalnets.errors import ConfigError, DataError

SQUARE = [2, 1, 7, 1, 7, 5, 2, 5]
CATEGORIES = ((7, "cat", None), (3, "dog", None), (90, "fish", None))


def coco_places(root, *, names=("train.json", "val.json"), shapes=False, images=3):
    """A COCO file for each part, with gaps in the ids; the last image of each shows nothing."""
    for part, name in enumerate(names):
        entries, annotations = [], []
        for number in range(images):
            identity = 100 * part + number
            photo(root / "images" / f"{identity}.png", seed=identity)
            entries.append((identity, f"{identity}.png", 12, 8))
            if number < images - 1:
                annotation = {"image_id": identity, "category_id": (7, 90)[number % 2], "bbox": [2, 1, 5, 4]}
                annotations.append(annotation | ({"segmentation": [SQUARE]} if shapes else {}))
        coco(root / name, entries, annotations, CATEGORIES)
    return root


def test_coco_files_are_told_apart_and_keep_their_ids(tmp_path):
    place = coco_places(tmp_path, names=("train.json", "val.json", "test.json"))
    assert task_of_data(place) == "detect"
    data = open_annotated_training(place)
    assert data.labels == ("dog", "cat", "fish")
    assert [category.id for category in data.train.categories] == [3, 7, 90]
    assert (len(data.train), len(data.val)) == (3, 3)
    assert "COCO json: 3 + 3 images, 3 classes, 4 boxes" in data.description
    assert data.notes == ("3 images for testing are not used",)
    picture, annotated = data.train[1]
    assert picture.size == annotated.size == data.train.size_of(1) == (12, 8)
    assert annotated.labels.tolist() == [2]
    assert data.train[2][1].objects == []


def test_the_task_is_asked_for_where_it_is_open(tmp_path, coloured_images):
    place = coco_places(tmp_path, shapes=True)
    with pytest.raises(ConfigError, match=r"\(COCO json\) can train detect, instance and semantic; choose .* --task"):
        task_of_data(place)
    data = open_annotated_training(place, task="semantic")
    assert data.labels == ("background", "dog", "cat", "fish")
    assert (data.train[0][1].semantic == 2 * box(2, 1, 7, 5)).all()
    with pytest.raises(DataError, match="cannot train panoptic: it holds COCO json for detect, instance, semantic"):
        open_annotated_training(place, task="panoptic")
    assert task_of_data(coloured_images) == "classify"
    with pytest.raises(DataError, match="holds no annotations of objects or pixels"):
        open_annotated_training(coloured_images)


def test_splits_are_found_again(tmp_path):
    coco_places(tmp_path / "data", names=("all.json",), images=10)
    data = open_annotated_training(tmp_path / "data", val_fraction=0.3, seed=1)
    assert (len(data.train), len(data.val)) == (7, 3)
    data.write_split(tmp_path / "split.json")
    (tmp_path / "data").rename(tmp_path / "moved")
    again = reopen_annotated_training(tmp_path / "split.json", root=tmp_path / "moved")
    for side in ("train", "val"):
        first, second = getattr(data, side), getattr(again, side)
        assert [first.name_of(n) for n in range(len(first))] == [second.name_of(n) for n in range(len(second))]
    assert again.labels == data.labels
    assert again.fingerprint == data.fingerprint
    with pytest.raises(DataError, match="is no split written by write_split"):
        reopen_annotated_training(tmp_path / "moved" / "all.json")
    (tmp_path / "moved" / "images" / "3.png").unlink()
    with pytest.raises(DataError, match=r"3\.png"):
        reopen_annotated_training(tmp_path / "split.json", root=tmp_path / "moved")
    with pytest.raises(DataError, match="there is no split file"):
        reopen_annotated_training(tmp_path / "nothing.json")


def test_evaluation_counts_in_the_classes_of_the_network(tmp_path):
    place = coco_places(tmp_path)
    labels, images = open_annotated_evaluation(place, task="detect", labels=("bird", "Cat", "fish", "dog"))
    assert labels == ("bird", "Cat", "fish", "dog")
    assert [images[n][1].labels.tolist() for n in range(3)] == [[1], [2], []]
    assert [category.id for category in images.categories] == [None, 7, 90, 3]
    with pytest.raises(DataError, match="no class of the network: 'fish'"):
        open_annotated_evaluation(place, task="detect", labels=("cat", "dog"))


def test_class_maps(tmp_path):
    for part in ("train", "val"):
        for number in range(2):
            photo(tmp_path / part / "images" / f"{number}.jpg")
            mask_image(tmp_path / part / "masks" / f"{number}.png", 4 + box(0, 0, 3, 3, value=3) + box(4, 0, 6, 2))
    (tmp_path / "classes.json").write_text(json.dumps({"4": "sky", "7": "car", "5": "void", "200": "sea"}))
    assert task_of_data(tmp_path) == "semantic"
    data = open_annotated_training(tmp_path)
    assert data.labels == ("sky", "car", "sea")
    assert [category.id for category in data.train.categories] == [4, 7, 200]
    expected = box(0, 0, 3, 3) + box(4, 0, 6, 2, value=255)
    assert (data.train[0][1].semantic == expected).all()
    assert data.train[0][1].semantic.dtype == np.int64
    reduced = open_annotated_training(tmp_path, reduce_zero_label=True)
    assert reduced.labels == ("car", "sea")
    assert (reduced.train[0][1].semantic == np.where(expected == 1, 0, 255)).all()


def test_numbers_without_names_may_be_objects_or_classes(tmp_path):
    place = mask_folders(tmp_path, count=5)
    with pytest.raises(ConfigError, match="can train detect, instance and semantic"):
        task_of_data(place)
    objects = open_annotated_training(place, task="instance")
    assert objects.labels == ("object",)
    assert "5 objects" in objects.description
    classes = open_annotated_training(place, task="semantic")
    assert classes.labels == ("background", "1", "2", "3", "4", "5")


@pytest.mark.parametrize("task", ["detect", "instance", "semantic", "panoptic"])
def test_scenes(task):
    data = open_annotated_training("scenes:4", task=task, val_fraction=0.5)
    assert (len(data.train), len(data.val)) == (2, 2)
    _, scene = data.train[0]
    if task in ("semantic", "panoptic"):
        assert data.labels[-4:] == ("sky", "mountain", "ground", "water")
        assert {data.labels[label] for label in np.unique(scene.semantic)} >= {"sky", "ground"}
        for thing in scene.objects:
            assert (scene.semantic[thing.mask] == thing.label).all()
    else:
        assert "sky" not in data.labels
        assert scene.semantic is None
    assert task_is_open("scenes:4")


def test_folders_of_classes_beside_annotations_leave_the_task_open(tmp_path):
    place = write_folders(SceneGenerator(("kite", "rocket"), image_size_px=32), tmp_path / "s", train=4, val=2)
    with pytest.raises(ConfigError, match="can train classify, detect, instance and semantic; choose one with --task"):
        task_of_data(place)


def task_is_open(place):
    with pytest.raises(ConfigError, match="choose one with --task"):
        task_of_data(place)
    return True


def test_masks_that_are_links_in_a_circle_are_left_out(tmp_path):
    place = tmp_path / "data"
    for folder in ("images", "masks"):
        (place / folder).mkdir(parents=True)
    for number in range(6):
        photo(place / "images" / f"{number}.png", 32, 24)
        mask = np.zeros((24, 32), dtype=np.uint8)
        mask[4:12, 5 : 15 + number] = 1
        mask_image(place / "masks" / f"{number}.png", mask)
    (place / "masks" / "0.png").unlink()
    (place / "masks" / "0.png").symlink_to("0.png")
    data = open_annotated_training(place, task="instance", skip_unreadable=True)
    assert len(data.train) + len(data.val) == 5
