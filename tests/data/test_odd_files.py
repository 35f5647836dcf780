"""Files with odd names, endings and places: read, named as passed over, or refused in a sentence."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from focalnets.cli.main import main
from focalnets.data.finding import PassedOver, find_images
from focalnets.data.image_formats import format_of_bytes
from focalnets.data.images import decode_image, encoded_image_size, read_image
from focalnets.data.sources import open_images
from focalnets.errors import DataError, ImageError
from focalnets.files import csv_text, json_text, user_path, write_text

NO_TEXT = os.fsdecode(b"caf\xe9")
NEEDS_BYTES = pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are text there")


def save(path, colour=(200, 30, 30), image_format="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 16), colour).save(path, format=image_format)
    return path


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF"])
def test_images_without_an_ending_are_found(tmp_path, image_format):
    file = save(tmp_path / "photo", image_format=image_format)
    assert format_of_bytes(file.read_bytes()[:64]) == image_format
    (tmp_path / "README").write_text("BMW\nP3 is a car\n" * 9)
    (tmp_path / "LICENSE").write_text("P")
    passed = PassedOver()
    assert find_images([tmp_path], passed_over=passed) == [file]
    assert passed.endings == {"": 2}
    assert read_image(file).size == (20, 16)
    assert find_images([f"{tmp_path}/ph*"]) == [file]


@pytest.mark.parametrize("text", [b"", b"P", b"P3 is", b"BM", b"BMW and others are cars, which", b"GIF", b"\xff\xd8",
                                  b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", b"\0\0\0\x18ftypqt  "])  # fmt: skip
def test_what_is_no_image_is_not_taken_for_one(text):
    assert format_of_bytes(text) is None


def test_jpe_is_found(tmp_path):
    file = save(tmp_path / "a.JPE", image_format="JPEG")
    assert find_images([tmp_path]) == [file]


@pytest.mark.parametrize("junk", ["@eaDir", ".thumbnails", "#recycle", "__MACOSX", ".@__thumb", "$RECYCLE.BIN",
                                  "lost+found", ".hidden"])  # fmt: skip
def test_folders_of_thumbnails_are_no_data(tmp_path, junk, capsys):
    for name in ("red", "blue"):
        for number in range(4):
            save(tmp_path / name / f"{number}.jpg", (number * 9, 80, 99))
        save(tmp_path / name / junk / "0.jpg")
        save(tmp_path / name / junk / "deep" / "0.jpg")
    save(tmp_path / junk / "red" / "0.jpg")
    (tmp_path / "red" / "notes.TXT").write_text("x")
    (tmp_path / "red" / "._0.jpg").write_bytes(b"x")
    found = open_images(tmp_path)
    assert found.classes == ("blue", "red")
    assert len(found.train) + len(found.val) == 8
    (note,) = found.notes
    assert f"'{junk}' (3 times)" in note
    assert "1 .txt" in note
    assert "1 hidden" in note
    assert main(["check", str(tmp_path)]) == 0
    assert note in capsys.readouterr().out
    assert main(["check", str(tmp_path), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [note]
    if not junk.startswith("."):
        assert len(find_images([f"{tmp_path}/**/*.jpg"])) == 8
    assert len(find_images([tmp_path / junk])) == 1, "who names it wants it"


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


def test_what_needs_a_package_says_which(tmp_path, monkeypatch):
    from focalnets.data import image_formats

    monkeypatch.setattr(image_formats, "_register_plugins", lambda: None)
    monkeypatch.setattr(Image, "OPEN", {name: Image.OPEN[name] for name in Image.OPEN if name not in ("HEIF", "JXL")})
    for content, words in ((HEIC, "HEIC or HEIF"), (b"\xff\x0a" + bytes(40), "JPEG XL")):
        with pytest.raises(ImageError, match=rf"'x' is {words}.*pip install 'focalnets\[images\]'\.$"):
            decode_image(content, name="'x'")
    (tmp_path / "a.HEIC").write_bytes(HEIC)
    assert find_images([tmp_path]) == [tmp_path / "a.HEIC"]


@pytest.mark.parametrize(
    ("package", "image_format", "options"),
    [("pillow_heif", "HEIF", {"quality": 95}), ("pillow_jxl", "JXL", {"lossless": True})],
)
def test_further_formats(package, image_format, options):
    pytest.importorskip(package)
    from focalnets.data.image_formats import _register_plugins

    _register_plugins()
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([x * 4, y * 5, 255 - x * 3], -1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, image_format, **options)
    assert np.abs(np.asarray(decode_image(file.getvalue())).astype(int) - pixels).max() < 8
    assert encoded_image_size(file.getvalue()) == (64, 48)
    with pytest.raises(ImageError, match="64 x 48"):
        decode_image(file.getvalue(), max_pixels=64 * 48 - 1)


def test_the_size_of_jpeg_xl_is_in_its_header():
    from focalnets.data.jxl_header import jxl_size

    def header(*fields):
        bits = start = 0
        for value, count in fields:
            bits |= value << start
            start += count
        return b"\xff\x0a" + bits.to_bytes(16, "little")

    small = header((1, 1), (5, 5), (0, 3), (7, 5))
    large = header((0, 1), (2, 2), (99_999, 18), (0, 3), (3, 2), (1_000_000, 30))
    wide = header((0, 1), (1, 2), (1079, 13), (5, 3))
    assert jxl_size(io.BytesIO(small)) == (64, 48)
    assert jxl_size(io.BytesIO(large)) == (1_000_001, 100_000)
    assert jxl_size(io.BytesIO(wide)) == (1920, 1080)
    box = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x14ftypjxl \0\0\0\0jxl "
    assert jxl_size(io.BytesIO(box + b"\0\0\0\x1ajxlc" + small)) == (64, 48)
    assert jxl_size(io.BytesIO(box + b"\0\0\0\x1ejxlp\0\0\0\0" + small)) == (64, 48)
    for broken in (box, box + bytes(20), b"", b"\xff\x0b" + bytes(9)):
        with pytest.raises(SyntaxError):
            jxl_size(io.BytesIO(broken))


@pytest.mark.parametrize("name", ["~name.png", "~$photo.png", "~nobody.png", "~"])
def test_names_that_begin_with_a_tilde(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    save(Path(name))
    assert find_images([name]) == [Path(name)]


def test_home_is_meant_by_the_tilde_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~") == Path("/home/me")
    assert user_path("~/a/b") == Path("/home/me/a/b")
    for text in ("~root/a", "~a", "a/~", "./a", "/~"):
        assert user_path(text) == Path(text)
    (tmp_path / "~").mkdir()
    save(tmp_path / "~" / "a.png")
    assert user_path("~/a.png") == Path("~/a.png")
    assert user_path("~/b.png") == Path("/home/me/b.png")


def test_nothing_else_asks_for_homes():
    import focalnets

    root = Path(focalnets.__file__).parent
    asking = [file for file in root.rglob("*.py") if "expanduser" in file.read_text(encoding="utf-8")]
    assert asking == [root / "files.py"]


def test_texts_hold_names_that_are_no_text(tmp_path):
    assert json.loads(json_text({NO_TEXT: ["ä"]})) == {NO_TEXT: ["ä"]}
    json_text([NO_TEXT, "猫"]).encode()
    assert json_text(["猫"], ascii_only=True).isascii()
    assert csv_text(["name"], [[NO_TEXT]]) == "name\ncaf\\udce9\n"
    write_text(tmp_path / "a.txt", NO_TEXT)
    assert (tmp_path / "a.txt").read_bytes() == b"caf\\udce9"


@NEEDS_BYTES
def test_names_that_are_no_text(tmp_path, capsys):
    for name in (NO_TEXT, "dog"):
        for number in range(4):
            save(tmp_path / "data" / name / f"{NO_TEXT}{number}.png", (number * 9, 80, 99))
    data = str(tmp_path / "data")
    assert main(["check", data, "--json", str(tmp_path / "a.json"), "--csv", str(tmp_path / "a.csv")]) == 0
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["classes"] == [NO_TEXT, "dog"]
    rows = csv.DictReader((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines())
    assert any("caf\\udce9" in row["example"] for row in rows)
    assert main(["shard", data, str(tmp_path / "shards")]) == 0
    (tmp_path / "data" / "table.csv").write_bytes(b"path,label\n" + b"caf\xe9/x.png,a\n")
    assert main(["check", str(tmp_path / "data" / "table.csv")]) == 2
    folders, shards = open_images(data), open_images(tmp_path / "shards")
    assert shards.classes == folders.classes == (NO_TEXT, "dog")
    assert folders.write_split(tmp_path / "split.json").exists()
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "gone" / NO_TEXT)]) == 2
    assert "caf\\udce9" in capsys.readouterr().err


@NEEDS_BYTES
def test_members_whose_names_are_no_text(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for number in range(4):
            image = io.BytesIO()
            Image.new("RGB", (4, 4), (number, 0, 0)).save(image, "PNG")
            for ending, data in (("png", image.getvalue()), ("cls", str(number % 2).encode())):
                member = tarfile.TarInfo(f"{NO_TEXT}{number}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    found = open_images(tmp_path / "a.tar", val_fraction=0.5)
    assert len(found.train) == len(found.val) == 2
    assert main(["check", str(tmp_path / "a.tar"), "--json", str(tmp_path / "a.json")]) == 0
    found.write_split(tmp_path / "split.json")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_of_the_output(tmp_path, monkeypatch, encoding):
    for name in ("猫", "größe"):
        for number in range(4):
            save(tmp_path / "data" / name / f"写真{number}.png", (number * 9, 80, 99))
    for options in ([], ["--json", "-"], ["--csv", "-"]):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        assert main(["check", str(tmp_path / "data"), *options]) == 0
        out.flush()
        text = out.buffer.getvalue().decode(encoding)
        if options[:1] == ["--json"]:
            assert json.loads(text)["classes"] == ["größe", "猫"]
        assert main(["check", "猫"]) == 2


@pytest.mark.parametrize("command", ["check", "predict", "shard"])
def test_names_longer_than_the_system_allows(tmp_path, capsys, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([command, "a" * 5000, *(["out"] if command == "shard" else [])]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert "aaaa" in shown


def test_outputs_that_cannot_be(tmp_path, capsys):
    for name in ("red", "blue"):
        for number in range(3):
            save(tmp_path / "data" / name / f"{number}.png")
    data = str(tmp_path / "data")
    (tmp_path / "file").write_text("mine")
    for words in (
        ["check", data, "--json", str(tmp_path / "file" / "b.json")],
        ["check", data, "--json", str(tmp_path / ("a" * 300))],
        ["check", data, "--csv", data],
        ["shard", data, str(tmp_path / "file")],
        ["shard", data, str(tmp_path / "file" / "deep" / "er")],
        ["shard", data, str(tmp_path / ("a" * 300))],
        ["demo", "--output", str(tmp_path / "file" / "deep")],
    ):
        assert main(words) == 2
        shown = capsys.readouterr().err
        assert shown.startswith("error: ")
        assert shown.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_one_file_that_fails_is_not_the_end(tmp_path, monkeypatch, capsys):
    good, bad = save(tmp_path / "a.png"), save(tmp_path / "b.png")
    opened = Path.open

    class Failing(io.BytesIO):
        def read(self, *count):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "open", lambda self, *a, **k: Failing() if self == bad else opened(self, *a, **k))
    with pytest.raises(ImageError, match=r"b\.png' cannot be read .Input/output"):
        read_image(bad)
    assert main(["predict", str(tmp_path), "--json", "-"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert [entry["path"] for entry in result["predictions"]] == [str(good)]
    assert [entry["path"] for entry in result["failures"]] == [str(bad)]


def test_a_folder_that_cannot_be_read_is_not_the_end(tmp_path, monkeypatch, capsys):
    good, _ = save(tmp_path / "a.png"), save(tmp_path / "gone" / "b.png")
    scandir = os.scandir

    def vanish(path):
        if Path(path).name == "gone":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanish)
    with pytest.raises(DataError, match="gone' cannot be read"):
        find_images([tmp_path])
    unreadable: list = []
    assert find_images([tmp_path], unreadable=unreadable) == [good]
    assert [folder for folder, _ in unreadable] == [tmp_path / "gone"]
    assert main(["predict", str(tmp_path), "--json", "-"]) == 1
    assert len(json.loads(capsys.readouterr().out)["failures"]) == 1
    for name in ("red", "blue"):
        save(tmp_path / "data" / name / "a.png")
        save(tmp_path / "data" / name / "b.png")
    shutil.copytree(tmp_path / "data" / "red", tmp_path / "data" / "red" / "gone")
    with pytest.raises(DataError, match="gone' cannot be read"):
        open_images(tmp_path / "data")
