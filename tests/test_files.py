"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from focalnets.files import replacing, write_json, write_text


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
