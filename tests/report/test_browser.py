"""Pages in a real browser, as narrow as a phone: nothing is wider than the window, boxes scroll inside themselves."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest
import torch
from PIL import Image
from tests.report.reading import ODD_NAMES
from tests.report.test_page import every_part

from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.report.page import render_page
from focalnets.report.parts import CodeBlock, Column, Matrix, Row, Section, Table
from focalnets.visualize import look_inside
from focalnets.visualize.block_page import write_block_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

MEASURE = """
<script>
addEventListener("load", () => {
  const root = document.documentElement;
  const wide = [...document.querySelectorAll("body *")].filter(element => {
    for (let parent = element.parentElement; parent; parent = parent.parentElement)
      if (["auto", "scroll", "hidden"].includes(getComputedStyle(parent).overflowX)) return false;
    return element.getBoundingClientRect().right > innerWidth + 0.5;
  });
  parent.postMessage(JSON.stringify({
    window: innerWidth, page: root.scrollWidth, wide: wide.map(element => element.outerHTML.slice(0, 200)),
    paper: getComputedStyle(document.body).backgroundColor,
    scrolling: [...document.querySelectorAll(".scroll")].filter(box => box.scrollWidth > box.clientWidth).length,
  }), "*");
});
</script></body>
"""

FRAME = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<script>
addEventListener("message", event => {{ document.getElementById("found").textContent = event.data; }});
</script>
<output id="found"></output><iframe style="width: {width_px}px; height: 844px; border: 0" srcdoc="{page}"></iframe>
"""


def opened(text, folder, *, width_px=390, dark=False):
    """What a browser finds in a page of a width; in a frame, for windows have a least width."""
    page = folder / "frame.html"
    measured = html.escape(text.replace("</body>", MEASURE))
    page.write_text(FRAME.format(width_px=width_px, page=measured), encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}",
        "--window-size=1400,1000", "--virtual-time-budget=20000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    return json.loads(html.unescape(re.search(r'<output id="found">(.*?)</output>', done.stdout, re.DOTALL)[1]))


def crowded_page():
    """Every part with every name, wide tables and long words."""
    many = tuple(Column(f"column {index}", "number", ".3f") for index in range(30))
    parts = [part for name in ODD_NAMES for part in every_part(name)]
    parts.append(Table((Column("class"), *many), [Row(("n" * 200, *(0.5 for _ in many)))] * 60))
    parts.append(Matrix(["name of a class " * 8] * 20, [[1] * 20] * 20))
    parts.append(CodeBlock("focalnets predict " + "x" * 300))
    return render_page(title="Page", opening=parts[:2], sections=[Section("x" * 200, parts[2:])], footer=parts[:3])


@pytest.mark.parametrize("width_px", [390, 768, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_window(tmp_path, width_px, dark):
    found = opened(crowded_page(), tmp_path, width_px=width_px, dark=dark)
    assert found["window"] == width_px
    assert found["page"] <= width_px
    assert found["wide"] == []
    assert found["scrolling"] >= 2
    assert found["paper"] == ("rgb(20, 22, 27)" if dark else "rgb(251, 250, 248)")


def test_the_page_of_blocks(tmp_path):
    torch.manual_seed(0)
    settings = {"depths": (1, 2), "embed_dim": 8, "focal_levels": (2, 1), "focal_windows": (3, 3)}
    inside, _ = look_inside(FocalNet(FocalNetConfig(**settings, num_classes=2)), torch.randn(1, 3, 32, 64))
    predictions = [("n" * 200, 0.75), ("<b>", 0.25)]
    photo = Image.new("RGB", (640, 320), "orange")
    write_block_page(
        tmp_path / "blocks.html",
        photo,
        inside,
        predictions=predictions,
        title="n" * 200,
        notes="long " * 60 + "n" * 200,
    )
    found = opened((tmp_path / "blocks.html").read_text(encoding="utf-8"), tmp_path)
    assert (found["page"], found["wide"]) == (390, [])
