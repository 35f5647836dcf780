"""Places with folders of images and masks."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
from PIL import Image

TASK = None
PHOTO = "images/a.png"
WIDTH, HEIGHT = 12, 8
NAMES = ["background", "cat", "dog"]


def _png(values, mode=None, kind="PNG", **options):
    data = io.BytesIO()
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(data, kind, **options)
    return data.getvalue()


def _numbers(dtype=np.uint8, value=1):
    numbers = np.zeros((HEIGHT, WIDTH), dtype)
    numbers[2:5, 3:8] = value
    return numbers


def _classes(content=None, name="classes.json", mask=None):
    text = content if isinstance(content, str | bytes) else json.dumps(NAMES if content is None else content)
    return {"masks/a.png": _png(_numbers()) if mask is None else mask, name: text}


def _colours(table="name,r,g,b\nsky,0,0,0\ncat,255,0,0\n", value=(255, 0, 0)):
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[2:5, 3:8] = value
    return {"masks/a.png": _png(colours), "class_dict.csv": table}


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _claims(width, height, depth=8, colour=0):
    """A PNG whose header says a size and whose pixels do not follow."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + _chunk(b"IEND", b"")
    )


def odd_files():
    """Names of the places with their files and what is said of them; None where they read."""
    good = _png(_numbers())
    listed = "must hold a list of names"
    numbered = "must give each class a number from 0"
    rgb = "must give colours as three numbers"
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    rising, black = np.arange(90_000).astype(np.uint16).reshape(300, 300), np.zeros((300, 300, 3), np.uint8)
    return {
        # Masks.
        "no mask": (_classes() | {"masks/b.png": good, "masks/a.png": "<missing>"}, "1 of the 1 images .* no mask"),
        "mask empty": (_classes(mask=b""), "is empty"),
        "mask half": (_classes(mask=good[:60]), "damaged|no image"),
        "mask text": (_classes(mask=b"hello"), "no image"),
        "mask zeros": (_classes(mask=b"\0" * 90), "no image"),
        "mask with broken pixels": (_classes(mask=good[:50] + bytes(20) + good[70:]), "damaged|no image"),
        "mask a JPEG": (_classes(mask=_png(_numbers(), kind="JPEG")), "is a JPEG"),
        "mask of another size": (_classes(mask=_png(np.zeros((9, 12), np.uint8))), "has 12 x 9 pixels but .* 12 x 8"),
        "mask turned": (_classes(mask=_png(np.zeros((12, 8), np.uint8))), "has 8 x 12 pixels but .* 12 x 8"),
        "mask that swells": (_classes(mask=_claims(60_000, 60_000)), "60000 x 60000"),
        "mask of the right size without pixels": (_classes(mask=_claims(12, 8, 16, 6)), "damaged"),
        "mask of colours without a table": (_classes(mask=_png(_numbers(), "RGB")), "holds colours; say which class"),
        "mask of fractions": (
            {**_classes(mask="<missing>"), "masks/a.tif": _png(_numbers(np.float32), kind="TIFF")}, "holds fractions"
        ),
        "a folder called mask": (_classes(mask="<missing>") | {"masks/a.png/b.md": ""}, "no annotations|no mask"),
        "objects without end": (
            {"images/a.png": _png(black), "masks/a.png": _png(noise)}, "more than 65536"
        ),
        "numbers without end": (
            {"images/a.png": _png(black), "masks/a.png": _png(rising)}, "masks of the 65535 objects in 'a.png' take"
        ),
        "one of two masks missing": ({"images/b.png": None, "masks/a.png": good}, "1 of the 2 images .* no mask"),
        # Tables in json.
        "json empty": (_classes(""), "is no json"),
        "json half": (_classes('["a", "b'), "is no json"),
        "json deep": (_classes("[" * 100_000), "is no json"),
        "json binary": (_classes(b"\xff\xfe\x00"), "cannot be read"),
        "json a number": (_classes("5"), listed),
        "json a text": (_classes('"cat"'), listed),
        "json null": (_classes("null"), listed),
        "json an empty list": (_classes([]), listed),
        "json an empty object": (_classes({}), listed),
        "json of numbers": (_classes([1, 2]), listed),
        "json of lists": (_classes([["a"]]), listed),
        "json of names and numbers": (_classes(["a", 1]), listed),
        "json names by words": (_classes({"a": "b"}), listed),
        "json names by halves": (_classes({"0.5": "b"}), listed),
        "json names by negative numbers": (_classes({"-1": "b"}), listed),
        "json names by large numbers": (_classes({"65536": "b"}), numbered),
        "json names by very large numbers": (_classes({"9" * 400: "b"}), listed),
        "json a name twice": (_classes([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "gives number 1 to two"),
        "json empty names": (_classes([""]), numbered),
        "json names of blanks": (_classes(["  "]), numbered),
        "json entries without names": (_classes([{"id": 1}]), numbered),
        "json entries with negative ids": (_classes([{"id": -1, "name": "a"}]), numbered),
        "json entries with ids of text": (_classes([{"id": "x", "name": "a"}]), numbered),
        "json entries with true ids": (_classes([{"id": True, "name": "a"}]), numbered),
        "json entries with names of numbers": (_classes([{"id": 1, "name": 5}]), numbered),
        "json very many names": (_classes([str(n) for n in range(5000)]), "names 5000 classes"),
        "json colours of two": (_classes([{"name": "a", "color": [1, 2]}]), rgb),
        "json colours too large": (_classes([{"name": "a", "color": [1, 2, 256]}]), rgb),
        "json colours negative": (_classes([{"name": "a", "color": [1, 2, -1]}]), rgb),
        "json colours of halves": (_classes([{"name": "a", "color": [1, 2, 0.5]}]), rgb),
        "json colours of words": (_classes([{"name": "a", "color": "red"}]), rgb),
        "json colours of letters": (_classes([{"name": "a", "color": "#zzzzzz"}]), rgb),
        "json too many classes": (_classes([f"c{n}" for n in range(300)]), "300 classes of pixels, more than"),
        "json a large file": (_classes(" " * 4_000_001), "more than the limit of 4 MB"),
        # Tables of other kinds.
        "yaml broken": (_classes("a: [", "classes.yaml"), "is no yaml"),
        "yaml that laughs": (_classes("a: &a [x]\nb: *a\n", "classes.yaml"), "repeats parts of itself"),
        "yaml that makes objects": (_classes("!!python/object/apply:os.system [x]", "classes.yaml"), "is no yaml"),
        "yaml a number": (_classes("5", "classes.yaml"), listed),
        "csv empty": (_colours(""), "must have a column name"),
        "csv without heading": (_colours("sky,0,0,0\n"), "must have a column name"),
        "csv without colours": (_colours("name,x\nsky,1\n"), "must have a column name"),
        "csv with short lines": (_colours("name,r,g,b\nsky,0\n"), "has a line of 2 cells; expected 4"),
        "csv with words for colours": (_colours("name,r,g,b\nsky,a,b,c\n"), rgb),
        "csv with large colours": (_colours("name,r,g,b\nsky,0,0,999\n"), rgb),
        "csv with empty names": (_colours("name,r,g,b\n,0,0,0\n"), numbered),
        "csv with words for numbers": (_colours("name,id\nsky,x\n"), numbered),
        "csv of zeros": (_colours(b"\0" * 50), "must have a column name|no table|cannot"),
        "csv without a class": (_colours("name,r,g,b\n"), "names 0 classes"),
        "csv with an endless cell": (_colours("name,r,g,b\n" + "x" * 200_000 + ",0,0,0\n"), "is no CSV"),
        "text empty": (_classes("", "classes.txt"), "names 0 classes"),
        "text binary": (_classes(b"\xff\xfe", "classes.txt"), "cannot be read"),
        "label map with a word for a colour": (_classes("sky:red::\n", "labelmap.txt"), rgb),
        "label map with two numbers": (_classes("sky:1,2::\n", "labelmap.txt"), rgb),
        # Odd, but sensible: these are read.
        "as it should be": (_classes(), None),
        "colours": (_colours(), None),
        "unknown colours": (_colours(value=(9, 9, 9)), None),
        "numbers beyond the names": (_classes(["a"], mask=_png(_numbers(value=250))), None),
        "numbers of 16 bits": (_classes({"0": "a", "60000": "b"}, mask=_png(_numbers(np.uint16, 60_000))), None),
        "numbers and names": (_classes({"sky": 0, "cat": 1}), None),
        "entries": (_classes([{"id": 0, "name": "a"}, {"id": 1, "name": "b", "color": "#ff8800"}]), None),
        "a palette": (_classes(mask=_png(_numbers(), "P")), None),
        "bits": (_classes(mask=_png(_numbers() > 0)), None),
        "transparency": (_classes(mask=_png(_numbers(), "LA")), None),
        "no table": ({"masks/a.png": good}, None),
        "no table, 255 for objects": ({"masks/a.png": _png(_numbers(value=255))}, None),
        "nothing in the mask": ({"masks/a.png": _png(_numbers(value=0))}, None),
        "all of it": ({"masks/a.png": _png(np.ones((HEIGHT, WIDTH), np.uint8))}, None),
        "a mask an object": ({"masks/a_0.png": good, "masks/a_1.png": good}, None),
        "a folder of masks": ({"masks/a/x.png": good, "masks/a/y.png": good}, None),
        "label map": (_classes("# label:color\nbackground:0,0,0::\ncat:1,2,3::\n", "labelmap.txt"), None),
        "names with a byte order mark": (_classes("\ufeff" + json.dumps(NAMES)), None),
    }  # fmt: skip
