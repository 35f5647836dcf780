"""Odd tables and shards: encodings, quotes, separators, columns, members, sizes, links, cuts and claims."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import lzma
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.campaigns.json_changes import changed_json
from tests.campaigns.odd_images import changed, encoded, picture

IMAGES = [f"{name}{number}.png" for name in ("cat", "dog") for number in range(4)]


def write_images(folder: Path) -> None:
    for number, name in enumerate(IMAGES):
        (folder / name).write_bytes(encoded(picture(size=(33, 33), seed=number), "PNG"))


def _good(separator: str = ",", header: str = "path,label", split: bool = False, end: str = "\n") -> str:
    lines = [header.replace(",", separator) + (f"{separator}split" if split else "")]
    lines += [
        separator.join([name, name[:3], *(["val" if number % 4 == 3 else "train"] if split else [])])
        for number, name in enumerate(IMAGES)
    ]
    return end.join(lines) + end


def _tables() -> dict[str, bytes]:
    good = _good()
    rows = good.splitlines()
    odd: dict[str, str | bytes] = {
        "good": good, "with a split": _good(split=True), "semicolons": _good(";"), "tabs": _good("\t"),
        "bars": _good("|"), "colons": _good(":"), "spaces": _good(" "),
        "carriage returns": _good(end="\r\n"), "old Mac": _good(end="\r"), "no end": good.rstrip(),
        "empty lines": good.replace("\n", "\n\n\n"), "lines of spaces": good.replace("\n", "\n  \n"),
        "lines of separators": good.replace("\n", "\n,\n"),
        "byte order mark": b"\xef\xbb\xbf" + good.encode(), "UTF-16": good.encode("utf-16"),
        "UTF-16 without mark": good.encode("utf-16-le"), "UTF-32": good.encode("utf-32"),
        "Latin-1": good.replace("cat\n", "ch\xe4t\n").encode("latin-1"), "UTF-7": good.replace("cat\n", "+AOQ-\n"),
        "cp1252": good.replace("cat\n", "\u2019\n").encode("cp1252"),
        "zero bytes": good.replace("cat\n", "c\0t\n"), "zeros only": bytes(4000),
        "noise": random.Random(0).randbytes(2000), "nothing": b"", "a line end": b"\n",
        "a byte order mark alone": b"\xef\xbb\xbf", "a header alone": "path,label\n",
        "a header without end": "path,label", "spaces alone": "   \n  \n", "a separator alone": ",\n",
        "no header": "\n".join(rows[1:]), "header twice": "\n".join([rows[0], *rows]),
        "capitals": _good(header="PATH,Label"), "spaces around": _good(header=" path , label "),
        "other names": _good(header="filename,class"), "quotes in header": _good(header='"path","label"'),
        "unknown columns": _good(header="a,b"), "one column": "path\ncat0.png\n", "no path": "name,label\na,b\n",
        "no label": "path,name\ncat0.png,b\n",
        "two paths": "path,file,label\ncat0.png,cat0.png,cat\n",
        "path twice": "path,path,label\ncat0.png,cat0.png,cat\n", "two labels": "path,label,class\ncat0.png,cat,cat\n",
        "an empty name": "path,label,\ncat0.png,cat,\n", "10,000 columns": ",".join(["path", "label", *map(str,
        range(10_000))]) + "\n",
        "too few cells": "\n".join([*rows[:3], "cat2.png", *rows[4:]]), "too many cells": "\n".join([*rows[:3],
        "cat2.png,cat,more", *rows[4:]]), "an empty path": "\n".join([*rows, ",cat"]),
        "an empty label": "\n".join([*rows, "cat0.png,"]), "a label of spaces": "\n".join([*rows[:-1], "dog3.png,  "]),
        "a quote that does not end": good.replace("cat0.png", '"cat0.png'), "a quote inside": good.replace("cat0.png",
        'cat"0.png'), "doubled quotes": good.replace("cat0.png", '"cat""0.png"'),
        "quotes and more": good.replace("cat0.png", '"cat0.png"x'), "single quotes": good.replace("cat0.png",
        "'cat0.png'"), "a quoted line end": good.replace("cat0.png", '"cat0\n.png"'),
        "all quoted": "\n".join(",".join(f'"{cell}"' for cell in row.split(",")) for row in rows),
        "backslashes": good.replace("cat0", "\\cat0"), "a quote at the end": good + '"',
        "a missing file": good.replace("cat0", "cat9"), "a file twice": "\n".join([*rows, rows[1]]),
        "a file twice, otherwise written": "\n".join([*rows, "./cat0.png,cat"]),
        "a file with two labels": "\n".join([*rows, "cat0.png,dog"]), "a folder": good.replace("cat0.png", "."),
        "above": good.replace("cat0.png", "../cat0.png"), "absolute": good.replace("cat0.png", "/etc/passwd"),
        "a device": good.replace("cat0.png", "/dev/zero"), "home": good.replace("cat0.png", "~/cat0.png"),
        "an address": good.replace("cat0.png", "https://example.org/a.png"), "a pipe": good.replace("cat0.png",
        "pipe:ls"),
        "a long path": good.replace("cat0.png", "x" * 5000), "a long folder": good.replace("cat0.png", "x/" * 3000),
        "a long label": good.replace("cat\n", "x" * 200_000 + "\n"), "a cell of 10 MB": good.replace("cat\n",
        "x" * 10_000_000 + "\n"), "letters of commands": good.replace("cat\n", "\x1b[31m\n"),
        "letters turned": good.replace("cat\n", "\u202ecat\n"), "line separators": good.replace("cat\n", "a\u2028b\n"),
        "other line ends": good.replace("cat\n", "a\x0bb\x0cc\x85d\n"), "formulas": good.replace("cat\n", "=1+1\n"),
        "numbers": good.replace("cat\n", "0\n").replace("dog\n", "1\n"), "numbers with zeros": good.replace("cat\n",
        "007\n").replace("dog\n", "7\n"), "labels alike": good.replace("cat\n", "Dog\n"),
        "a label with a slash": good.replace("cat\n", "a/b\n"), "dots as label": good.replace("cat\n", "..\n"),
        "one class": good.replace("dog\n", "cat\n"), "each its own class": "\n".join([rows[0],
        *(f"{name},{name}" for name in IMAGES)]), "one image": "\n".join(rows[:2]),
        "two images": "path,label\ncat0.png,cat\ndog0.png,dog\n",
        "an odd split": _good(split=True).replace("val", "perhaps"), "only val": _good(split=True).replace("train",
        "val"), "only train": _good(split=True).replace("val", "train"),
        "no val of a class": _good(split=True).replace("dog,val", "dog,train"),
        "test as well": _good(split=True).replace("cat3.png,cat,val", "cat3.png,cat,test"),
        "an empty split": _good(split=True).replace("val", ""), "splits in capitals": _good(split=True).replace("val",
        " VAL ").replace("train", "Training"), "two splits": "path,label,split,set\ncat0.png,cat,train,train\n",
        "a comment": f"# images\n{good}", "a title": f"sep=;\n{_good(';')}", "JSON": '[{"path": "cat0.png"}]',
        "a web page": "<html></html>", "a program": b"\x7fELF", "an archive": b"PK\x03\x04",
        "Excel": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "mixed separators": good.replace("cat,", "cat;"),
        "decimal commas": good.replace("cat\n", '"1,5"\n'), "surrogates": good.encode().replace(b"cat0.png",
        b"\xed\xb0\x80.png"), "overlong letters": good.encode().replace(b"cat0.png", b"\xc0\xae.png"),
        "100,000 lines": "path,label\n" + "cat0.png,cat\n" * 100_000,
    }  # fmt: skip
    return {
        name: text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for name, text in odd.items()
    }


Members = list[tuple[str, bytes, dict[str, Any]]]


def _members() -> Members:
    found: Members = []
    for number, name in enumerate(IMAGES):
        found.append((f"{number:04}.png", encoded(picture(size=(33, 33), seed=number), "PNG"), {}))
        found.append((f"{number:04}.cls", name[:3].encode(), {}))
    return found


def _tar(members: Members, **options: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as tar:
        for name, data, changes in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in changes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def _and(name: str, data: bytes = b"", **changes: Any) -> Callable[[], bytes]:
    return lambda: _tar([*_members(), (name, data, changes)])


def _labels(content: bytes, ending: str = "cls") -> Callable[[], bytes]:
    return lambda: _tar(
        [
            (
                name.replace(".cls", f".{ending}"),
                content if name == "0000.cls" else data if ending == "cls" else b'{"label": 1}',
                {},
            )
            for name, data, _ in [each for each in _members() if each[0].endswith(".cls")]
        ]
        + [each for each in _members() if each[0].endswith(".png")]
    )


def _patched(offset: int, content: bytes, *, sum_too: bool = True) -> Callable[[], bytes]:
    """The good file with some bytes of its first header changed."""

    def build() -> bytes:
        data = bytearray(_tar(_members(), format=tarfile.USTAR_FORMAT))
        data[offset : offset + len(content)] = content
        if sum_too:
            data[148:156] = b" " * 8
            data[148:156] = b"%06o\0 " % sum(data[:512])
        return bytes(data)

    return build


def _shards() -> dict[str, Callable[[], bytes]]:
    good = functools.partial(_tar, _members())
    return {
        "good": good, "in the form of GNU": lambda: _tar(_members(), format=tarfile.GNU_FORMAT),
        "in the form of 1988": lambda: _tar(_members(), format=tarfile.USTAR_FORMAT), "nothing": lambda: b"",
        "an empty archive": lambda: _tar([]), "zeros": lambda: bytes(10_240),
        "noise": lambda: random.Random(1).randbytes(9000), "a text": lambda: b"no archive\n",
        "gzip": lambda: gzip.compress(good()), "bzip2": lambda: bz2.compress(good()),
        "xz": lambda: lzma.compress(good()), "zip": lambda: b"PK\x03\x04" + bytes(600),
        "above": _and("../evil.png", b"x"), "above, inside": _and("a/../../evil.png", b"x"),
        "absolute": _and("/etc/evil.png", b"x"), "a backslash": _and("..\\evil.png", b"x"), "dots": _and("..", b"x"),
        "a dot": _and(".", b"x"), "no name": _and("", b"x"), "a line end": _and("a\nb.png", b"x"),
        "commands": _and("\x1b[31m.png", b"x"), "no text": _and(os.fsdecode(b"\xff\xfe.png"), b"x"),
        "a long name": _and("x" * 5000 + ".png", b"x"), "a long folder": _and("x/" * 3000 + "a.png", b"x"),
        "turned letters": _and("\u202egnp.png", b"x"), "many dots": _and("a.b.c.d.png", b"x"),
        "only an ending": _and(".png", b"x"),
        "a link": _and("9.png", type=tarfile.SYMTYPE, linkname="0000.png"), "a link outside": _and("9.png",
        type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a link to itself": _and("9.png", type=tarfile.SYMTYPE,
        linkname="9.png"), "a hard link": _and("9.png", type=tarfile.LNKTYPE, linkname="0000.png"),
        "a hard link to nothing": _and("9.png", type=tarfile.LNKTYPE, linkname="nothing.png"), "a device": _and("9.png",
        type=tarfile.CHRTYPE, devmajor=1, devminor=5), "a disk": _and("9.png", type=tarfile.BLKTYPE),
        "a pipe": _and("9.png", type=tarfile.FIFOTYPE), "a folder": _and("9.png", type=tarfile.DIRTYPE),
        "a continued file": _and("9.png", type=tarfile.CONTTYPE), "an unknown kind": _and("9.png", b"x", type=b"Q"),
        "a sparse file": _and("9.png", type=tarfile.GNUTYPE_SPARSE),
        "a link as class": _and("0000.json", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a pickle": _and("0000.pkl",
        b"\x80\x04."), "a program": _and("0000.py", b"raise SystemExit"), "an image without class": _and("9.png",
        encoded(picture(), "PNG")), "a class without image": _and("9.cls", b"cat"),
        "two images of a key": _and("0000.jpg", b"x"), "a member twice": _and("0000.png", b"x"),
        "an empty image": lambda: _tar([*_members(), ("9.png", b"", {}), ("9.cls", b"cat", {})]),
        "no images": lambda: _tar([each for each in _members() if not each[0].endswith(".png")]),
        "no classes": lambda: _tar([each for each in _members() if each[0].endswith(".png")]),
        "images first": lambda: _tar(sorted(_members(), key=lambda each: each[0][-1])),
        "in folders": lambda: _tar([(f"a/b/{name}", data, {}) for name, data, _ in _members()]),
        "10,000 empty members": lambda: _tar([*_members(), *((f"n{number}.txt", b"", {}) for number in range(10_000))]),
        **{f"a class that is {name}": _labels(content) for name, content in {"empty": b"", "spaces": b"  ",
        "a number": b"3", "0": b"0", "-1": b"-1", "1e9": b"1e9", "10^6": b"1000000", "10^5000": b"9" * 5000,
        "large": b"x" * 2_000_000, "no text": b"\xff\xfe", "UTF-16": "cat".encode("utf-16"), "a line end": b"cat\n",
        "two lines": b"cat\ndog", "zeros": b"c\0t", "commands": b"\x1b[31m", "other digits": "٣".encode(),
        "a square": "²".encode(), "half": b"0.5", "JSON": b'{"label": 1}'}.items()},
        **{f"JSON that is {name}": _labels(content, "json") for name, content in {"good": b'{"label": 0}',
        "a name": b'{"class_name": "cat"}', "a number": b"1", "a list": b"[]", "cut": b'{"label":',
        "NaN": b'{"label": NaN}', "infinite": b'{"label": 1e999}', "a fraction": b'{"label": 0.5}',
        "true": b'{"label": true}', "null": b'{"label": null}', "deep": b'{"label":' + b"[" * 100_000,
        "10^5000": b'{"label": ' + b"9" * 5000 + b"}", "10^400": b'{"label": 1' + b"0" * 400 + b"}",
        "without label": b'{"a": 1}', "doubled": b'{"label": 1, "label": 2}', "a list as label": b'{"label": [1]}',
        "a surrogate": b'{"label": "\\ud800"}', "with a mark": b'\xef\xbb\xbf{"label": 1}'}.items()},
        "a size of 8 GB": _patched(124, b"77777777777\0"), "a size of 2^63": _patched(124,
        b"\x80\0\0\0\x7f" + b"\xff" * 7), "a negative size": _patched(124, b"\xff" * 12),
        "a size of letters": _patched(124, b"abcdefghijk\0"), "a size of spaces": _patched(124, b" " * 12),
        "a wrong sum": _patched(0, b"x", sum_too=False), "a sum of letters": _patched(148, b"abcdefgh", sum_too=False),
        "another magic": _patched(257, b"xxxxx"), "a long prefix": _patched(345, b"../" * 50),
        "time beyond": _patched(136, b"\xff" * 12), "mode of letters": _patched(100, b"zzzzzzz\0"),
        "an odd PAX header": lambda: _pax(b"9999999999 path=x\n"),
        "a PAX header without number": lambda: _pax(b"path=x\n"),
        "a PAX header that is cut": lambda: _pax(b"30 path=x\n"),
        "a PAX size": lambda: _pax(b"25 size=99999999999999999\n"[:26]),
        "a PAX size of letters": lambda: _pax(b"12 size=abc\n"), "a negative PAX size": lambda: _pax(b"11 size=-9\n"),
        "a PAX path above": lambda: _pax(b"20 path=../../a.png\n"), "a PAX header of zero": lambda: _pax(b"0 a=b\n"),
        "a PAX charset": lambda: _pax(b"24 hdrcharset=UNKNOWN-1\n"),
        "a PAX header of 10^5 digits": lambda: _pax(b"9" * 100_000 + b" a=b\n"),
        "a PAX sparse map": lambda: _pax(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"),
        "a PAX sparse size": lambda: _pax(b"29 GNU.sparse.size=999999999\n27 GNU.sparse.map=0,x,2,3\n"),
        "a long name that is cut": lambda: _gnu_long(b"x" * 100, 5_000_000),
        "a long name of 1 GB": lambda: _gnu_long(b"x" * 100, 2**30),
        "a long name without end": lambda: _gnu_long(b"x" * 512, 512),
        "cut by a third": lambda: good()[: len(good()) // 3], "cut in a header": lambda: good()[:700],
        "cut at a block": lambda: good()[: 512 * 9], "without its end": lambda: good().rstrip(b"\0"),
        "with more behind": lambda: good() + b"more" * 500, "two in one": lambda: good() + good(),
        "a hole": lambda: good()[:1024] + good()[1536:],
    }  # fmt: skip


def _raw(kind: bytes, size: int, content: bytes) -> bytes:
    member = tarfile.TarInfo("x")
    member.size = size
    member.type = kind
    return member.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


def _pax(content: bytes) -> bytes:
    return _raw(tarfile.XHDTYPE, len(content), content) + _tar(_members(), format=tarfile.USTAR_FORMAT)


def _gnu_long(content: bytes, size: int) -> bytes:
    return _raw(tarfile.GNUTYPE_LONGNAME, size, content) + _tar(_members(), format=tarfile.USTAR_FORMAT)


TABLES = _tables()
SHARDS = _shards()
_TABLE_NAMES, _SHARD_NAMES = list(TABLES), list(SHARDS)
NAMED_CASES = len(TABLES) + len(SHARDS)


def make_table_or_shard(number: int, folder: Path, draw: random.Random, index: dict[str, Any]) -> tuple[Path, str]:
    """Make the table or shards of a number in a folder with images; returns what to open, and what it is.

    Args:
        number: Of the case.
        folder: Where it is made.
        draw: The source of chance.
        index: Of good shards, which are copied with a changed index.
    """
    if number < len(TABLES):
        name = _TABLE_NAMES[number]
        return _write(folder / "odd.csv", TABLES[name]), f"table, {name}"
    number -= len(TABLES)
    if number < len(SHARDS):
        name = _SHARD_NAMES[number]
        return _write(folder / "odd.tar", SHARDS[name]()), f"shard, {name}"
    kind = draw.choice(("table", "shard", "index", "index", "progress"))
    if kind == "table":
        content, words = changed(_good(draw.choice(",;\t"), split=draw.random() < 0.5).encode(), draw)
        return _write(folder / "odd.csv", content), f"table, {words}"
    if kind == "shard":
        form = draw.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
        content, words = changed(_tar(_members(), format=form), draw)
        return _write(folder / "odd.tar", content), f"shard, {words}"
    place = folder / "shards"
    place.mkdir()
    _write(place / "images-000000.tar", index["tar"])
    if kind == "index":
        _write(place / "index.json", changed_json(index["content"], draw))
        return place, "index changed"
    lines = [json.dumps({"identity": "x", "planned": ["images-000000.tar"]}), json.dumps(index["content"]["shards"][0])]
    content, words = changed("\n".join(lines).encode(), draw)
    _write(place / "unfinished.jsonl", content)
    return place, f"notes of a stopped run, {words}"


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
