"""CSV tables: the same images as from a folder, and one sentence with the line for each mistake."""

from __future__ import annotations

import pytest

from focalnets.data.sources import open_evaluation_images, open_images, read_split
from focalnets.data.tables import table_rows
from focalnets.errors import DataError


def write_table(root, text, encoding="utf-8"):
    path = root / "data.csv"
    path.write_bytes(text.encode(encoding))
    return path


def lines_of(root, header="path,label"):
    names = [
        file.relative_to(root).as_posix() for file in sorted(root.rglob("*.png"), key=lambda f: (f.parent, int(f.stem)))
    ]
    return [header, *(f"{name},{name.partition('/')[0]}" for name in names)]


@pytest.fixture
def images(write_coloured_images, tmp_path):
    return write_coloured_images(tmp_path / "images", 5)


def test_a_table_without_splits_holds_out_what_the_folder_would(images):
    table = write_table(images, "\n".join(lines_of(images)))
    folders, found = open_images(images, seed=3), open_images(table, seed=3)
    assert (found.train, found.val, found.classes) == (folders.train, folders.val, folders.classes)
    assert open_evaluation_images(table).samples == open_evaluation_images(images).samples


@pytest.mark.parametrize(("separator", "start"), [(",", ""), (";", "﻿"), ("\t", "")])
def test_other_names_separators_and_marks(images, separator, start):
    rows = [("Filename", "Split", "Class"), ("red/0.png", "train", "a, b"), ("red/1.png", "Train", "c"), ("", "", "")]
    rows += [("red/2.png", "val", "c"), (str(images / "red" / "3.png"), "test", "c")]
    text = "\r\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows)
    found = open_images(write_table(images, start + text))
    assert found.classes == ("a, b", "c")
    assert [(file.name, label) for file, label in found.train] == [("0.png", 0), ("1.png", 1)]
    assert [(file.name, label) for file, label in found.val] == [("2.png", 1)]
    assert len(open_evaluation_images(images / "data.csv", ["c", "x"]).samples) == 1


def test_a_split_of_a_table_can_be_written_and_read(images, tmp_path):
    table = write_table(images, "\n".join([*lines_of(images), f"{images.parent / 'far.png'},red"]))
    (images.parent / "far.png").write_bytes((images / "red" / "0.png").read_bytes())
    found = open_images(table)
    again = read_split(found.write_split(tmp_path / "split.json"))
    assert (again.train, again.val, again.kind) == (found.train, found.val, "csv")
    moved = images.rename(tmp_path / "moved")
    again = read_split(tmp_path / "split.json", root=moved / "data.csv")
    assert {file.parent.parent for file, _ in again.train} <= {moved, images.parent.parent, images.parent}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("path,label\n", "names no image"),
        ("path,size\nred/0.png,3\n", "line 1.*no column for the label.*'path', 'size'.*class"),
        ("path,file,label\n", "line 1.*2 columns that could be the path"),
        ("path,label\nred/0.png,red\nred/9.png,red\n", "line 3.*'red/9.png'.*no file"),
        ("path,label\nred/0.png, \n", "line 2.*empty label"),
        ("path,label\n,red\n", "line 2.*empty path"),
        ("path,label\nred/0.png,red\n\nred/0.png,red\n", "line 4.*repeats 'red/0.png' of line 2;"),
        ("path,label\nred/0.png,red\nred/0.png,blue\n", "line 3.*'red' instead of 'blue'"),
        ("path,label\nred/0.png,red,x\n", "line 2.*3 columns, expected 2"),
        ("path,label,split\nred/0.png,red,left\n", "line 2.*'left'.*train, val"),
        ("path,label,split\nred/0.png,red,val\n", "no line as train"),
        ("path,label,split\nred/0.png,red,train\nblue/0.png,blue,val\n", "does not train: 'blue'"),
        ("path,label\nred/0.png,red\nred/1.png,red\n", "only the class 'red'"),
        ("path,label\nred/0.png,red\nblue/1.png,blue\n", "1 image"),
        ('path,label\n"red/0.png,red\n', "no CSV|columns"),
        ("path,label\nred/0.png,r\0\n", "line 2.*zero byte"),
    ],
)
def test_mistakes_are_one_sentence(images, text, words):
    with pytest.raises(DataError, match=words) as error:
        open_images(write_table(images, text))
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named_with_its_line(images, encoding):
    with pytest.raises(DataError, match=r"line [12] of .*UTF-8"):
        open_images(write_table(images, "path,label\nred/ä.png,grün\n", encoding))


def test_a_missing_file_and_a_folder(images):
    with pytest.raises(DataError, match="there is no CSV file"):
        open_images(images / "gone.csv")
    (images / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        open_images(images / "folder.csv")
    with pytest.raises(DataError, match="no class of the network: 'green', 'red'"):
        open_evaluation_images(write_table(images, "\n".join(lines_of(images))), ["blue"])


def test_a_cell_may_be_long(tmp_path):
    (tmp_path / "long.csv").write_text(f"text,label\n{'a' * 200_000},x\n")
    rows = list(table_rows(tmp_path / "long.csv", "text,label"))
    assert [len(cells[0]) for _, cells in rows] == [4, 200_000]


def test_lines_without_anything_are_left_out_or_kept(tmp_path):
    (tmp_path / "gaps.csv").write_text("\na,b\n1,2\n\n,\n3,4\n")
    rows = table_rows(tmp_path / "gaps.csv", "a,b", keep_empty=True)
    assert [cells for _, cells in rows] == [[], ["a", "b"], ["1", "2"], ["", ""], ["", ""], ["3", "4"]]
    (tmp_path / "gaps.csv").write_text("a,b\n1,2\n\n,\n3,4\n")
    assert [line for line, _ in table_rows(tmp_path / "gaps.csv", "a,b")] == [1, 2, 5]
