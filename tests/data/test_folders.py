"""Folders of classes: layouts, splits, mistakes, and the data set in worker processes."""

from __future__ import annotations

import json
import os
import pickle
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from focalnets.data.folders import ImageFolder, ImageFolders, open_evaluation_folder, open_image_folders
from focalnets.data.sources import read_split
from focalnets.data.transforms import evaluation_transform
from focalnets.errors import ConfigError, DataError, ImageError
from focalnets.models.config import Preprocessing


def make_images(root: Path, counts: dict[str, int]) -> Path:
    """``{"train/cat": 3}`` writes three tiny images into that folder."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.new("RGB", (6, 5), (index % 256, 0, 0)).save(root / folder / f"img{index}.png")
    return root


def relative(folders: ImageFolders) -> tuple[list[str], list[str]]:
    return tuple([p.relative_to(folders.root).as_posix() for p, _ in side] for side in (folders.train, folders.val))


@pytest.mark.parametrize("val_name", ["val", "validation", "valid", "test"])
def test_train_and_val_folders(tmp_path: Path, val_name: str) -> None:
    make_images(tmp_path, {"train/cat": 3, "train/ape": 2, f"{val_name}/cat": 1, f"{val_name}/ape": 2, "masks/cat": 1})
    folders = open_image_folders(tmp_path)
    assert folders.classes == ("ape", "cat")
    assert Counter(label for _, label in folders.train) == {0: 2, 1: 3}
    assert Counter(label for _, label in folders.val) == {0: 2, 1: 1}
    assert all(path.parent.name == folders.classes[label] for path, label in folders.train + folders.val)
    assert val_name in folders.split


def test_val_comes_before_test(tmp_path: Path) -> None:
    sides = {f"{side}/{name}": 1 for side in ("train", "val", "test") for name in "ab"}
    assert relative(open_image_folders(make_images(tmp_path, sides)))[1] == ["val/a/img0.png", "val/b/img0.png"]


def test_split_is_stratified_disjoint_and_complete(tmp_path: Path) -> None:
    make_images(tmp_path, {"a": 20, "b": 10, "c": 2, "d/deeper": 5})
    folders = open_image_folders(tmp_path, val_fraction=0.3)
    assert Counter(label for _, label in folders.val) == {0: 6, 1: 3, 2: 1, 3: 2}
    train, val = map(set, relative(folders))
    assert not train & val
    assert len(train | val) == 37
    assert "30%" in folders.split
    assert "seed 0" in folders.split


def test_only_train_folder_is_split(tmp_path: Path) -> None:
    folders = open_image_folders(make_images(tmp_path, {"train/a": 5, "train/b": 5}))
    assert (len(folders.train), len(folders.val)) == (8, 2)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folders = open_image_folders(make_images(tmp_path, {"plane": 5, "train": 5, "val": 5}))
    assert folders.classes == ("plane", "train", "val")


def test_split_does_not_depend_on_place_order_or_later_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"a": 30, "b": 30}
    first = relative(open_image_folders(make_images(tmp_path / "one", counts), seed=3))
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: sorted(scandir(path), key=lambda entry: entry.name, reverse=True))
    assert relative(open_image_folders(make_images(tmp_path / "two", counts), seed=3)) == first
    assert relative(open_image_folders(tmp_path / "one", seed=4)) != first
    grown = open_image_folders(make_images(tmp_path / "two", {"a": 32, "b": 32}), seed=3)
    assert len(set(first[1]) & set(relative(grown)[1])) >= len(first[1]) - 2


def test_known_split_never_changes(tmp_path: Path) -> None:
    # A run must be repeatable with a later version: these names were drawn once and written down.
    folders = open_image_folders(make_images(tmp_path, {"a": 6, "b": 6}), val_fraction=0.34, seed=0)
    assert relative(folders)[1] == ["a/img1.png", "a/img4.png", "b/img2.png", "b/img4.png"]


def test_write_and_read_split(tmp_path: Path) -> None:
    folders = open_image_folders(make_images(tmp_path / "images", {"ä": 6, "b": 6}), seed=1)
    path = folders.write_split(tmp_path / "run" / "split.json")
    assert read_split(path) == folders
    assert [file.name for file in path.parent.iterdir()] == ["split.json"]
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="12 images"):
        read_split(path)
    moved = read_split(path, root=tmp_path / "moved")
    assert relative(moved) == relative(folders)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other"}', '{"format": "focalnets image split"}'])
def test_read_no_split(tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(DataError, match="no split"):
        read_split(tmp_path / "split.json")


def test_read_split_with_bad_label(tmp_path: Path) -> None:
    path = open_image_folders(make_images(tmp_path / "i", {"a": 2, "b": 2})).write_split(tmp_path / "split.json")
    content = json.loads(path.read_text())
    content["train"][0][1] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="index"):
        read_split(path)


def test_read_missing_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no split file"):
        read_split(tmp_path / "split.json")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, ["no class folders", "<class>"]),
        ({".": 3}, ["no class folder", "<class>"]),
        ({"a": 3}, ["only the class folder 'a'"]),
        ({"a": 3, "b": 0, "c": 0}, ["without any image", "'b', 'c'"]),
        ({"a": 3, "b": 1}, ["'", "1 image", "at least 2"]),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "val/c": 1}, ["first has 'b'", "second has 'c'"]),
        ({"train/a": 1, "train/b": 1, "val/a": 1}, ["first has 'b'"]),
        ({"train/a": 3, "val/a": 1}, ["only the class folder 'a'"]),
        ({"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 0}, ["without any image", "'b'", "val"]),
    ],
)
def test_wrong_layouts(tmp_path: Path, counts: dict[str, int], words: list[str]) -> None:
    make_images(tmp_path, counts)
    with pytest.raises(DataError) as error:
        open_image_folders(tmp_path)
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert all(word in message for word in [str(tmp_path), *words]), message


def test_missing_folder_and_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, words in (("gone", "there is no folder"), ("file", "is a file")):
        for open_folder in (open_image_folders, open_evaluation_folder):
            with pytest.raises(DataError, match=words):
                open_folder(tmp_path / name)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_bad_fraction(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(ConfigError, match="val_fraction"):
        open_image_folders(tmp_path, val_fraction=fraction)


def test_many_class_names_are_abridged(tmp_path: Path) -> None:
    make_images(tmp_path, {f"c{index}": 0 for index in range(30)})
    with pytest.raises(DataError, match="and 22 more"):
        open_image_folders(tmp_path)


def test_evaluation_folder_maps_names(tmp_path: Path) -> None:
    make_images(tmp_path, {"dog": 2, "cat": 1})
    folder = open_evaluation_folder(tmp_path, ["bird", "dog", "fish", "cat"])
    assert sorted(label for _, label in folder.samples) == [1, 1, 3]
    assert folder.classes == ("bird", "dog", "fish", "cat")
    assert open_evaluation_folder(tmp_path).classes == ("cat", "dog")
    with pytest.raises(DataError, match=r"'dog'.*its 2 classes are 'bird', 'cat'"):
        open_evaluation_folder(tmp_path, ["bird", "cat"])


def test_evaluation_folder_finds_val(tmp_path: Path) -> None:
    make_images(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    folder = open_evaluation_folder(tmp_path, ["a", "b"])
    assert folder.root == tmp_path / "val"
    assert len(folder.samples) == 2


def test_evaluation_folder_with_val_alone(tmp_path: Path) -> None:
    make_images(tmp_path, {"val/a": 1, "val/b": 1})
    assert open_evaluation_folder(tmp_path).classes == ("a", "b")


def test_one_class_can_be_evaluated(tmp_path: Path) -> None:
    assert len(open_evaluation_folder(make_images(tmp_path, {"a": 3}), ["a", "b"]).samples) == 3


def test_items_and_labels(tmp_path: Path) -> None:
    folders = open_image_folders(make_images(tmp_path, {"a": 3, "b": 3}))
    plain = ImageFolder(folders.train, folders.classes)
    assert plain[0][0].size == (6, 5)
    dataset = ImageFolder(folders.train, folders.classes, evaluation_transform(Preprocessing(input_size_px=8)))
    image, label = dataset[len(dataset) - 1]
    assert (image.shape, image.dtype, label) == ((3, 8, 8), torch.float32, 1)


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    folders = open_image_folders(make_images(tmp_path, {"a": 2, "b": 2}))
    folders.train[1][0].write_bytes(b"no image")
    with pytest.raises(ImageError, match=folders.train[1][0].name):
        ImageFolder(folders.train, folders.classes)[1]


def test_pickles_and_loads_in_spawned_workers(tmp_path: Path) -> None:
    folders = open_image_folders(make_images(tmp_path, {"a": 3, "b": 3}))
    dataset = ImageFolder(folders.train, folders.classes, evaluation_transform(Preprocessing(input_size_px=8)))
    copy = pickle.loads(pickle.dumps(dataset))
    torch.testing.assert_close(copy[2][0], dataset[2][0], rtol=0, atol=0)
    loader = DataLoader(dataset, batch_size=4, num_workers=1, multiprocessing_context="spawn")
    images, labels = next(iter(loader))
    torch.testing.assert_close(images[3], dataset[3][0], rtol=0, atol=0)
    assert labels.tolist() == [0, 0, 1, 1]
