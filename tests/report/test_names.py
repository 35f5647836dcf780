"""Files are called by their names, wherever they lie."""

from __future__ import annotations

import pytest

from focalnets.report.names import list_some, shown_command, without_folders


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/home/x/data/val", "val"),
        ("/home/x/data/val/", "val"),
        ("/home/a b/my data/val", "val"),
        ("~/data/val", "val"),
        ("~someone/data/val", "val"),
        (r"C:\Users\x\val", "val"),
        (r"\\server\share\val", "val"),
        ("file:///srv/val", "val"),
        (
            "/usr/lib/site-packages/focalnets/model.safetensors, descended from timm/focalnet_tiny.ms_in1k",
            "model.safetensors, descended from timm/focalnet_tiny.ms_in1k",
        ),
        ("best.safetensors, descended from /home/a b/old.pth", "best.safetensors, descended from old.pth"),
        ("the image '/home/x y/a b.jpg' cannot be read", "the image 'a b.jpg' cannot be read"),
        ("trained on /home/x/photos (80 % of each class)", "trained on photos (80 % of each class)"),
        ("/home/x/photos (every fifth held out)", "photos (every fifth held out)"),
        ("see /a/b.log; /a/c.log, and (/a/d.log)", "see b.log; c.log, and (d.log)"),
        ("/home/x/a.jpg is empty", "a.jpg is empty"),
    ],
)
def test_absolute_paths_lose_their_folders(text, words):
    assert without_folders(text) == words
    assert without_folders(words) == words


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "data/val", "../data/val", "timm/focalnet_tiny_srf.ms_in1k", "12 images/s and/or 3 km/h",
        "https://example.org/shards/train-{0000..0009}.tar", "hf://someone/data", "photo</p>.jpg", "1 / 2", "a: b",
    ],
)  # fmt: skip
def test_other_texts_stay(text):
    assert without_folders(text) == text


def test_commands():
    command = "focalnets compare --train '/home/a b/photos' --output=/tmp/x/out --sizes 224 --rows my_rows.py"
    assert shown_command(command) == "focalnets compare --train photos --output=out --sizes 224 --rows my_rows.py"
    assert shown_command("focalnets predict 'never closed /home/x/a.jpg") == "focalnets predict 'never closed a.jpg"


def test_some_of_many():
    assert list_some(["a", "b"]) == "a, b"
    assert list_some([*"abcde"]) == "a, b, c, d, e"
    assert list_some([str(index) for index in range(2000)], 2) == "0, 1 and 1,998 more"
