"""The page with the slider holds every block, and nothing from elsewhere."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re

import pytest
import torch
from PIL import Image
from tests.report.reading import without_pictures

from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.visualize import look_inside
from focalnets.visualize.block_page import write_block_page


class Reader(html.parser.HTMLParser):
    """Collects addresses, text and scripts."""

    def __init__(self):
        super().__init__()
        self.addresses, self.text, self.scripts, self.open = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        (self.scripts if "script" in self.open else self.text).append(data)


@pytest.fixture
def page(tmp_path):
    torch.manual_seed(0)
    settings = {"depths": (1, 2, 1), "embed_dim": 8, "focal_levels": (2, 1, 0), "focal_windows": (3, 3, 3)}
    model = FocalNet(FocalNetConfig(**settings, num_classes=2))
    inside, _ = look_inside(model, torch.randn(1, 3, 40, 56))
    path = tmp_path / "page.html"
    write_block_page(
        path,
        Image.new("RGB", (1800, 1300), "orange"),
        inside,
        predictions=[("</script><script>alert(1)</script>", 0.75), ("cat & dog", 0.25)],
        title="<b>bold</b>",
        notes="photo</p>.jpg by /home/x/runs/photos",
    )
    return path.read_text(encoding="utf-8")


def test_nothing_comes_from_elsewhere(page):
    reader = Reader()
    reader.feed(page)
    assert len(reader.addresses) == 3
    assert all(address.startswith("data:image/jpeg;base64,") for address in reader.addresses)
    assert "://" not in page
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|<link|<iframe", page)


def test_text_from_outside_stays_text(page):
    reader = Reader()
    reader.feed(page)
    text = "".join(reader.text)
    assert "</script><script>alert(1)</script>" in text
    assert "<b>bold</b>" in text
    assert "photo</p>.jpg by photos" in text
    assert "/home" not in without_pictures(page)
    assert len(reader.scripts) == 2
    assert not any("alert" in script for script in reader.scripts)


def test_every_block_and_level_is_there(page):
    reader = Reader()
    reader.feed(page)
    blocks = json.loads(reader.scripts[0])
    assert [block["name"][:3] for block in blocks] == ["0.0", "1.0", "1.1", "2.0"]
    assert [len(block["maps"]) for block in blocks] == [4, 3, 3, 2]
    assert re.search(r"id='block' type='range' min='0' max='3' value='2'", page)
    for block in blocks:
        for drawn in block["maps"]:
            picture = Image.open(io.BytesIO(base64.b64decode(drawn["picture"].split(",")[1])))
            assert picture.size == (384, 277)
    assert blocks[0]["maps"][1]["name"].startswith("Gate of level 1")
    assert blocks[3]["maps"][1]["name"] == "Gate of global: everything"
