"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from focalnets.files import (
    list_of,
    listed,
    parse_json,
    read_json,
    replacing,
    try_file,
    try_folder,
    write_json,
    write_text,
)


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_and_nothing_stays_beside_it(tmp_path, durable):
    path = tmp_path / "new" / "text.txt"
    write_text(path, "old", durable=durable)
    with replacing(path, durable=durable) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError("half done"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_a_failure_leaves_the_old_file_alone(tmp_path, failure):
    path = tmp_path / "text.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "content.json"
    write_json(path, {"name": "old"})
    write = Path.write_text

    def fill_up(self, text, **options):
        write(self, text[:3], **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_text", fill_up)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"name": "new"})
    assert json.loads(path.read_text()) == {"name": "old"}
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_that_do_not_reach_the_disk_replace_nothing(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output"):
        write_text(tmp_path / "text.txt", "new", durable=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_flushed_does_not_fail_the_write(tmp_path, monkeypatch):
    flush = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_text(tmp_path / "text.txt", "new", durable=True)
    assert (tmp_path / "text.txt").read_text() == "new"


def test_json_is_strict_and_keeps_letters(tmp_path):
    path = tmp_path / "content.json"
    write_json(path, {"name": "žluťoučký 猫"})
    assert "žluťoučký 猫" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "žluťoučký 猫"}


def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path):
    write_text(os.devnull, "gone")
    assert not Path(os.devnull).is_file()
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "text")


def test_trying_leaves_nothing_and_changes_nothing(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    for place in ("old.txt", "new.txt", "one/two/new.txt", f"{'x' * 255}"):
        try_file(tmp_path / place)
    try_folder(tmp_path / "one" / "two", ["a.txt", "deeper/b.txt"])
    try_folder(tmp_path, ["old.txt"])
    try_file(os.devnull)
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("folder", errno.EISDIR),
        ("file/new.txt", errno.ENOTDIR),
        ("file/one/new.txt", errno.ENOTDIR),
        ("x" * 256, errno.ENAMETOOLONG),
        ("a\0b", errno.EINVAL),
    ],
)
def test_trying_fails_as_writing_would(tmp_path, place, number):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:
        try_file(tmp_path / place)
    assert caught.value.errno == number
    with pytest.raises(OSError):
        try_folder(tmp_path, ["fine.txt", place] if place == "folder" else ["fine.txt", f"{place}/more"])
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}


def test_trying_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(NotADirectoryError):
        try_folder(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def finish_badly(path, temporary_error, wrap=None):
    with replacing(path) as temporary:
        try:
            if temporary_error is not None:
                raise temporary_error(temporary)
        finally:
            if wrap is not None:
                raise wrap("the archive was left unfinished")


@pytest.mark.parametrize("wrap", [None, RuntimeError, ValueError])
def test_errors_name_the_file_and_not_the_temporary_one(tmp_path, wrap):
    path, full = tmp_path / "text.txt", (errno.ENOSPC, os.strerror(errno.ENOSPC))
    for error in (lambda temporary: OSError(*full, f"file:{temporary}"), lambda temporary: OSError(*full)):
        with pytest.raises(OSError, match=r"No space left.*/text\.txt'"):
            finish_badly(path, error, wrap)
    if wrap is not None:
        with pytest.raises(wrap, match="unfinished"):
            finish_badly(path, None, wrap)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("{", "Expecting"),
        ("NaN", "no number of JSON"),
        ("[Infinity]", "no number of JSON"),
        ("1e999", "beyond the range of numbers"),
        ('{"a": -1e400}', "beyond the range of numbers"),
        ("9223372036854775808", "beyond the range of whole numbers"),
        ("-9223372036854775808", "beyond the range of whole numbers"),
        ("9" * 5000, "beyond the range of whole numbers"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff", "can't decode"),
    ],
)
def test_json_of_unknown_origin_holds_what_can_be_worked_with(text, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        parse_json(text)
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=words):
        read_json(tmp_path / "a.json")


def test_json_is_read_as_it_is(tmp_path):
    content = {"a": [1, -2.5e300, "12345678901234567890", None, True], "b": 9223372036854775807}
    (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8-sig")
    assert read_json(tmp_path / "a.json") == content


def test_a_text_is_no_list_of_its_letters():
    assert listed("abc") == ["abc"]
    assert listed(Path("abc")) == [Path("abc")]
    assert listed(3) == [3]
    assert listed(("a", "b")) == ["a", "b"]
    assert list_of(str, ["a"]) == ["a"]
    for kind, value in ((str, "abc"), (str, [1]), (int, [True]), (int, [1.0]), (int, None), (dict, {"a": 1})):
        with pytest.raises(TypeError, match="expected a list"):
            list_of(kind, value)
