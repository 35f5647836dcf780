"""Places in YOLO's layout."""

from __future__ import annotations

GOOD_YAML = "path: .\ntrain: images\nval: images\nnames: [cat, dog]\n"
BOX = "0 0.5 0.5 0.5 0.5"
LINE = r"Line 1 of .* is not as YOLO has it \(.*"
TASK = "detect"
PHOTO = "images/a.png"


def _labels(text, yaml=GOOD_YAML):
    return {"data.yaml": yaml, "labels/a.txt": text}


def _yaml(text):
    return _labels(BOX, text)


def odd_files():
    """Names of the places with their files and what is said of them; None where they read."""
    number = "needs a whole|must be a whole number from 0 to 1"
    return {
        # Lines.
        "class alone": (_labels("0"), LINE + "at least 3 corners"),
        "a word": (_labels("cat 0.5 0.5 0.5 0.5"), LINE + number),
        "class negative": (_labels("-1 0.5 0.5 0.5 0.5"), LINE + number),
        "class too large": (_labels("2 0.5 0.5 0.5 0.5"), LINE + number),
        "class 2^64": (_labels(f"{2**64} 0.5 0.5 0.5 0.5"), LINE + number),
        "class of 5000 digits": (_labels("9" * 5000 + " 0.5 0.5 0.5 0.5"), LINE + number),
        "class a half": (_labels("0.5 0.5 0.5 0.5 0.5"), LINE + number),
        "class NaN": (_labels("nan 0.5 0.5 0.5 0.5"), LINE + number),
        "class with an underscore": (_labels("0_0 0.5 0.5 0.5 0.5"), LINE + number),
        "class in other digits": (_labels("\u0660 0.5 0.5 0.5 0.5"), LINE + number),
        "three numbers": (_labels("0 0.5 0.5 0.5"), LINE + "it has 3 numbers"),
        "five numbers": (_labels("0 0.5 0.5 0.5 0.5 0.9"), LINE + "it has 5 numbers"),
        "seven numbers": (_labels("0 " + "0.5 " * 7), LINE + "it has 7 numbers"),
        "NaN": (_labels("0 nan 0.5 0.5 0.5"), LINE + "'nan' is no finite number"),
        "infinite": (_labels("0 0.5 inf 0.5 0.5"), LINE + "'inf' is no finite number"),
        "infinite backwards": (_labels("0 0.5 0.5 -infinity 0.5"), LINE + "is no finite number"),
        "1e400": (_labels("0 1e400 0.5 0.5 0.5"), LINE + "is no finite number"),
        "1e308": (_labels("0 1e308 1e308 1e308 1e308"), LINE + "no finite|fractions"),
        "text among numbers": (_labels("0 0.5 x 0.5 0.5"), LINE + "'x' is no finite number"),
        "commas": (_labels("0,0.5,0.5,0.5,0.5"), "no annotations|" + LINE),
        "commas behind numbers": (_labels("0 0,5 0,5 0,5 0,5"), LINE + "is no finite number"),
        "hexadecimal": (_labels("0 0x1p-1 0.5 0.5 0.5"), LINE + "is no finite number"),
        "a long word": (_labels("0 " + "x" * 100_000 + " 0.5 0.5 0.5"), LINE + "is no finite number"),
        "pixels": (_labels("0 320 240 100 80"), LINE + "are these pixels"),
        "far outside": (_labels("0 1.9 0.5 0.2 0.2"), LINE + "are these pixels"),
        "width negative": (_labels("0 0.5 0.5 -0.2 0.2"), LINE + "must be 0 or more"),
        "polygon of pixels": (_labels("0 1 1 100 1 100 100"), LINE + "are these pixels"),
        "polygon of two corners": (_labels("0 0.1 0.1 0.9"), LINE + "at least 3 corners"),
        "polygon NaN": (_labels("0 0.1 0.1 nan 0.1 0.5 0.5"), LINE + "is no finite number"),
        "binary": ({**_labels(""), "labels/a.txt": bytes(range(256))}, "cannot be read|is not as YOLO"),
        "no UTF-8": ({**_labels(""), "labels/a.txt": b"\xff\xfe0\x00 "}, "cannot be read|is not as YOLO"),
        "zeros": ({**_labels(""), "labels/a.txt": b"\0" * 100}, "is not as YOLO has it"),
        "a picture": ({**_labels(""), "labels/a.txt": b"\x89PNG\r\n\x1a\n" + bytes(50)}, "cannot be read"),
        "very many lines": (_labels((BOX + "\n") * 100_001), "more than the limit of 100,000 objects"),
        "a large file": (_labels(" " * 16_000_001), "more than the limit of 16 MB"),
        "the second line": (_labels(BOX + "\n0 0.5 0.5"), "Line 2 of"),
        # Yaml files.
        "yaml empty": (_yaml(""), None),
        "yaml a list": (_yaml("- names: [a]\n- train: images\n"), None),
        "yaml broken": (_yaml("names: [a\ntrain: images\n"), "is no yaml"),
        "yaml tabs": (_yaml("names:\n\t- a\ntrain: images\n"), "is no yaml"),
        "yaml that makes objects": (_yaml("names: !!python/object/apply:os.getcwd []\ntrain: images\n"), "is no yaml"),
        "yaml that laughs": (
            _yaml("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nnames: *c\ntrain: images\n"), "repeats parts of"
        ),
        "yaml deep": (_yaml("train: images\nnames: " + "[" * 3000 + "]" * 3000), "is no yaml|must hold names"),
        "names missing": (_yaml("train: images\nnc: two\n"), "must hold names"),
        "names a number": (_yaml("train: images\nnames: 5\n"), "must hold names"),
        "names empty": (_yaml("train: images\nnames: []\n"), "must hold names"),
        "names of lists": (_yaml("train: images\nnames: [[a]]\n"), "must hold names"),
        "names by words": (_yaml("train: images\nnames: {a: b}\n"), "must hold names"),
        "names by negative numbers": (_yaml("train: images\nnames: {-1: b}\n"), "must hold names"),
        "names by large numbers": (_yaml("train: images\nnames: {99999999999: b}\n"), "must hold names"),
        "names of truth": (_yaml("train: images\nnames: [yes, no]\n"), "must hold names"),
        "names in a file that is missing": (_yaml("train: images\nnames: coco.names\n"), "must hold names"),
        "another number of names": (_yaml("train: images\nnc: 3\nnames: [a, b]\n"), "says nc: 3 but gives 2"),
        "nc negative": (_yaml("train: images\nnc: -4\n"), "must hold names"),
        "nc very large": (_yaml("train: images\nnc: 99999999999\n"), "must hold names"),
        "train missing": (_yaml("names: [a, b]\ntest: images\n"), "names no images to train with"),
        "train empty": (_yaml("names: [a, b]\ntrain:\nval: ''\n"), "names no images to train with"),
        "train a number": (_yaml("names: [a, b]\ntrain: 5\n"), "must give train as a folder"),
        "train of numbers": (_yaml("names: [a, b]\ntrain: [5]\n"), "must give train as a folder"),
        "train with a zero": (_yaml('names: [a, b]\ntrain: "im\\0ages"\n'), "must give train as a folder"),
        "train elsewhere": (_yaml("names: [a, b]\ntrain: pictures\n"), "names 'pictures', which is not in"),
        "train too long": (_yaml(f"names: [a, b]\ntrain: {'x' * 5000}\n"), "which is not in"),
        "train an empty folder": ({**_yaml("names: [a, b]\ntrain: empty\n"), "empty/x.md": ""}, "holds no image"),
        "train a picture": (_yaml("names: [a, b]\ntrain: images/a.png\n"), "expected a folder of images or a txt"),
        "list with a missing image": (
            {**_yaml("names: [a, b]\ntrain: list.txt\n"), "list.txt": "images/b.png\n"}, "lists the image 'images/b"
        ),
        "list empty": ({**_yaml("names: [a, b]\ntrain: list.txt\n"), "list.txt": "\n\n"}, "lists no image"),
        "list of zeros": ({**_yaml("names: [a, b]\ntrain: list.txt\n"), "list.txt": b"\0\0"}, "lists the image"),
        "list a folder": ({**_yaml("names: [a, b]\ntrain: l.txt\n"), "l.txt/x.md": ""}, "holds no image"),
        "path a number": (_yaml("path: 5\ntrain: images\nnames: [a, b]\n"), "must give the path"),
        "path elsewhere": (_yaml("path: /nowhere\ntrain: pictures\nnames: [a, b]\n"), "which is not in"),
        "key points a word": (_yaml("train: images\nnames: [a]\nkpt_shape: x\n"), "kpt_shape as two numbers"),
        "key points negative": (_yaml("train: images\nnames: [a]\nkpt_shape: [-1, 3]\n"), "kpt_shape as two numbers"),
        "two yaml files": ({**_yaml(GOOD_YAML), "other.yaml": GOOD_YAML}, "holds several yaml files"),
        # Odd, but sensible: these are read.
        "as it should be": (_labels(BOX), None),
        "empty": (_labels(""), None),
        "blank lines": (_labels("\n \n" + BOX + "\n\n"), None),
        "no labels": ({"data.yaml": GOOD_YAML}, None),
        "a byte order mark": (_labels("\ufeff" + BOX), None),
        "Windows lines": (_labels(BOX + "\r\n" + BOX), None),
        "class as a float": (_labels("1.0 0.5 0.5 0.5 0.5"), None),
        "a box beside the image": (_labels("0 1.2 0.5 0.1 0.1"), None),
        "a box of no area": (_labels("0 0.5 0.5 0 0"), None),
        "polygon": (_labels("0 0.1 0.1 0.9 0.1 0.5 0.9"), None),
        "polygon that crosses itself": (_labels("0 0.1 0.1 0.9 0.9 0.9 0.1 0.1 0.9"), None),
        "polygon of many corners": (_labels("0 " + "0.1 0.1 0.9 0.1 0.5 0.9 " * 5000), None),
        "key points": (_labels(BOX + " 0.5 0.5 2", GOOD_YAML + "kpt_shape: [1, 3]\n"), None),
        "names by number": (_yaml("train: images\nnames: {0: cat, 5: dog}\n"), None),
        "names of numbers": (_yaml("train: images\nnames: [1, 2]\n"), None),
        "number of classes alone": (_yaml("train: images\nnc: 2\n"), None),
        "path with dots": (_yaml("train: ./images/../images\nnames: [a]\n"), None),
        "dots before a folder": (_yaml("train: ../images\nnames: [a]\n"), None),
        "no yaml": ({"labels/a.txt": BOX, "classes.txt": "cat\n"}, None),
        "no yaml and no names": ({"labels/a.txt": "3 0.5 0.5 0.5 0.5"}, None),
    }  # fmt: skip
