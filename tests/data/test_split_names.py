"""Parts of a data set by any usual name: used, told as not used, or refused, but never taken for classes in silence."""

from __future__ import annotations

import os
import tarfile

import pytest
from PIL import Image

from focalnets.cli.main import main
from focalnets.data.folders import folder_of_classes
from focalnets.data.shards.writing import write_shards
from focalnets.data.sources import open_evaluation_images, open_images
from focalnets.data.split_names import role_of_name, role_of_shard
from focalnets.errors import DataError


def make(root, **counts):
    """``make(root, **{"train/a": 3})`` writes three pictures into that folder."""
    for number, (folder, count) in enumerate(counts.items()):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.new("RGB", (6, 5), (index, number, 0)).save(root / folder / f"{index}.png")
    return root


def parts(*names, count=2):
    return {f"{name}/{label}": count for name in names for label in ("a", "b")}


@pytest.mark.parametrize(
    ("names", "role"),
    [
        (("train", "Train", "TRAINING", "train_set", "trainset", "Training Set", "train2017", "train-data"), "train"),
        (("val", "VALID", "Validation", "dev", "eval", "val_set", "validset", "Val2017", "hold_out"), "val"),
        (("test", "Testing", "test_set", "TestSet", "test-images"), "test"),
        (("trainer", "valley", "a", "testament", "device", "2017", "", "cat"), None),
    ],
)
def test_names(names, role):
    assert {role_of_name(name) for name in names} == {role}


def test_names_of_shards():
    assert role_of_shard("Training_set-000000.tar") == role_of_shard("imagenet-train-0001.tar") == "train"
    assert role_of_shard("validation-000.tar") == role_of_shard("val.tar") == "val"
    assert role_of_shard("test01.tar") == "test"
    assert role_of_shard("valley-000.tar") is role_of_shard("images-000000.tar") is None


@pytest.mark.parametrize(
    ("train", "held_out"),
    [("Training", "Testing"), ("Train", "Test"), ("train_set", "test_set"), ("TRAIN", "VALID"), ("train", "dev"),
     ("train", "Val"), ("train", "eval"), ("Training Set", "Validation Set")],
)  # fmt: skip
def test_folders_of_any_usual_name(tmp_path, train, held_out, capsys):
    make(tmp_path / "data", **parts(train, held_out))
    found = open_images(tmp_path / "data")
    assert found.classes == ("a", "b")
    assert {file.parent.parent.name for file, _ in found.train} == {train}
    assert {file.parent.parent.name for file, _ in found.val} == {held_out}
    assert open_evaluation_images(tmp_path / "data", ["a", "b"]).root.name == held_out
    assert folder_of_classes(tmp_path / "data").name == train
    assert found.notes == ()
    assert main(["shard", str(tmp_path / "data"), str(tmp_path / "shards")]) == 0
    again = open_images(tmp_path / "shards")
    assert (len(again.train), len(again.val), again.classes) == (4, 4, ("a", "b"))


def test_test_beside_val_and_other_folders_are_told(tmp_path, capsys):
    make(tmp_path, **parts("train", "val", "Test", "valid"), masks=1)
    found = open_images(tmp_path)
    assert {file.parent.parent.name for file, _ in found.val} == {"val"}
    assert len(found.notes) == 1
    assert "'masks', 'Test', 'valid'" in found.notes[0]
    assert "'masks', 'Test', 'valid'" in open_evaluation_images(tmp_path).notes[0]
    assert main(["check", str(tmp_path)]) == 0
    assert "not used: 'masks', 'Test', 'valid'" in capsys.readouterr().out


def test_train_alone_is_measured_on_where_nothing_is_held_out(tmp_path):
    make(tmp_path, **parts("Training"), extra=1)
    assert open_evaluation_images(tmp_path, ["a", "b"]).root.name == "Training"
    assert "'extra'" in open_images(tmp_path).notes[0]


def test_images_beside_the_class_folders_are_told(tmp_path):
    found = open_images(make(tmp_path, a=3, b=3, **{".": 2}))
    assert "2, e.g. '0.png'" in found.notes[0]


@pytest.mark.parametrize(
    "counts",
    [
        {"a/train": 2, "a/test": 2, "b/train": 2, "b/test": 2},
        {"a/Val": 2, "b/Val": 2},
        {"one/a": 2, "one/b": 2, "two/a": 2, "two/b": 2},
        {"val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2},
        {"train": 2, "test": 2},
        {"train/a": 2, "train/b": 2, "Training/a": 2, "Training/b": 2},
    ],
)
def test_what_looks_like_splits_is_no_class(tmp_path, counts, capsys):
    make(tmp_path, **counts)
    with pytest.raises(DataError, match=r"splits|same sub-folders|several folders") as error:
        open_images(tmp_path)
    assert str(error.value).endswith(".")
    for command in ("check", "shard"):
        assert main([command, str(tmp_path), *(["out"] if command == "shard" else [])]) == 2


def test_classes_may_have_sub_folders(tmp_path):
    assert open_images(make(tmp_path / "one", **{"a/images": 2, "b/images": 2})).classes == ("a", "b")
    assert open_images(make(tmp_path / "two", **{"a/x": 2, "b": 3})).classes == ("a", "b")
    assert open_images(make(tmp_path / "three", a=1, b=1, **{"a/x": 2, "a/y": 1, "b/x": 2, "b/y": 1})).classes == (
        "a",
        "b",
    )


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_one_folder_as_both_parts_is_refused(tmp_path):
    make(tmp_path, **parts("train"))
    (tmp_path / "val").symlink_to(tmp_path / "train")
    with pytest.raises(DataError, match="same folder"):
        open_images(tmp_path)


def table(root, *lines):
    (root / "data.csv").write_text("\n".join(("path,label,split", *lines)))
    return root / "data.csv"


def test_words_in_tables(tmp_path):
    make(tmp_path, a=6, b=6)
    words = ("Training", "TRAIN", "Valid", "validation", "Testing", "test_set")
    path = table(tmp_path, *(f"{name}/{n}.png,{name},{word}" for name in "ab" for n, word in enumerate(words)))
    found = open_images(path)
    assert [file.name for file, _ in found.train] == ["0.png", "1.png"] * 2
    assert [file.name for file, _ in found.val] == ["2.png", "3.png"] * 2
    assert found.notes == ("lines marked test, which are not used: 4",)
    assert len(open_evaluation_images(path).samples) == 4
    path = table(tmp_path, *(f"{name}/{n}.png,{name},{w}" for name in "ab" for n, w in enumerate(("Train", "Test"))))
    assert [file.name for file, _ in open_images(path).val] == ["1.png"] * 2


def test_words_in_names_of_shards(tmp_path):
    make(tmp_path / "data", **parts("train", "val"))
    found = open_images(tmp_path / "data")
    folder = tmp_path / "shards"
    write_shards({"train": found.train, "val": found.val}, found.classes, folder, name_of=found.name_of, split="x")
    (folder / "index.json").unlink()
    (folder / "val-000000.tar").rename(folder / "Testing-000000.tar")
    (folder / "train-000000.tar").rename(folder / "pets_TRAIN_000000.tar")
    again = open_images(folder)
    assert (len(again.train), len(again.val), again.notes) == (4, 4, ())
    (folder / "valid-000000.tar").write_bytes((folder / "pets_TRAIN_000000.tar").read_bytes())
    again = open_images(folder)
    assert {file.shard.name for file, _ in again.val} == {"valid-000000.tar"}
    assert "'Testing-000000.tar'" in again.notes[0]


@pytest.mark.parametrize("other", ["./a/0.png", "a/../a/0.png", "b/link.png", "linked/0.png"])
def test_one_file_under_two_names_in_a_table(tmp_path, other):
    make(tmp_path, a=3, b=3)
    (tmp_path / "b" / "link.png").symlink_to(tmp_path / "a" / "0.png")
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    lines = [f"{name}/{n}.png,{name}" for name in "ab" for n in range(3)]
    for label, words in (("b", "'a' instead of 'b'"), ("a", "keep one")):
        (tmp_path / "data.csv").write_text("\n".join(("path,label", *lines, f"{other},{label}")))
        with pytest.raises(DataError, match=f"line 8 .*of line 2, where it is written 'a/0.png',.*{words}"):
            open_images(tmp_path / "data.csv")


def test_names_too_long_in_a_table(tmp_path):
    (tmp_path / "data.csv").write_text(f"path,label\n{'a' * 400},red\n")
    with pytest.raises(DataError, match="there is no file"):
        open_images(tmp_path / "data.csv")


@pytest.fixture
def written(tmp_path):
    """Shards, and what writes others into their folder."""
    found = open_images(make(tmp_path / "data", a=4, b=4))

    def write(seed=0, **options):
        sides = {"train": found.train, "val": found.val}
        options = {"name_of": found.name_of, "split": found.split, "seed": seed, **options}
        return write_shards(sides, found.classes, tmp_path / "shards", **options)

    write()
    return tmp_path / "shards", write


def test_overwriting_leaves_what_others_wrote(written):
    folder, write = written
    (folder / "holiday.tar").write_bytes(b"mine")
    write(seed=1, samples_per_shard=2, overwrite=True)
    assert (folder / "holiday.tar").read_bytes() == b"mine"
    write(seed=2, overwrite=True)
    assert sorted(file.name for file in folder.glob("*.tar")) == ["holiday.tar", "train-000000.tar", "val-000000.tar"]


@pytest.mark.parametrize("name", ["index.json", "unfinished.jsonl", "train-000001.tar"])
@pytest.mark.parametrize("content", [b"mine", b"{}", b"[1]", b"\xff"])
def test_files_of_others_are_never_replaced(written, name, content):
    folder, write = written
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=f"'{name}', which focalnets shard did not write"):
        write(seed=1, samples_per_shard=2, overwrite=True)
    assert (folder / name).read_bytes() == content
    assert tarfile.is_tarfile(folder / "train-000000.tar")


def test_an_index_that_names_other_files_removes_none(written):
    folder, write = written
    (folder.parent / "mine.tar").write_bytes(b"mine")
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(text.replace('"val-000000.tar"', '"../mine.tar"'))
    with pytest.raises(DataError, match="did not write"):
        write(seed=1, overwrite=True)
    assert (folder.parent / "mine.tar").read_bytes() == b"mine"


def test_a_folder_of_tars_without_an_index_is_refused(written):
    folder, write = written
    (folder / "index.json").unlink()
    with pytest.raises(DataError, match=r"'train-000000\.tar', which focalnets shard did not write"):
        write(overwrite=True)
