"""``focalnets demo --quick`` from nothing to the report, and the commands that it prints."""

from __future__ import annotations

import html.parser
import json
import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from focalnets.cli.main import main
from focalnets.demo.classification.charts import confusion_table, learning_curve
from focalnets.demo.classification.scenes import Windows, draw_scenes, scene_numbers
from focalnets.demo.classification.settings import full, quick
from focalnets.report.templating import render_parts


class Resources(html.parser.HTMLParser):
    """Collects what a page loads and links to, and checks that tags are closed."""

    EMPTY = ("meta", "img", "line", "circle", "rect", "polyline", "br")

    def __init__(self):
        super().__init__()
        self.addresses, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo <of> & things") / "out"
    assert main(["demo", "--quick", "--output", str(folder), "--json", str(folder.parent / "result.json")]) == 0
    return folder


def test_the_result_as_json(demo):
    result = json.loads((demo.parent / "result.json").read_text(encoding="utf-8"))
    assert result["report"] == str(demo / "report.html")
    assert result["images"] == quick().test_scenes
    assert 0 <= result["top1_interval"][0] <= result["top1"] <= result["top1_interval"][1] <= 1


def test_the_report_is_whole_and_needs_nothing_else(demo):
    report = (demo / "report.html").read_text(encoding="utf-8")
    assert len(report) < 5_000_000
    page = Resources()
    page.feed(report)
    page.close()
    assert page.open == []
    assert len(page.addresses) >= 2 + 8 + 2 * quick().gallery + 1
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"@import|url\(|<script", report)
    words = " ".join(page.text)
    assert "new scenes named rightly" in words
    assert "nan" not in words.split()


def test_the_commands_of_the_report_work_in_its_folder(demo, monkeypatch, capsys):
    monkeypatch.chdir(demo)
    text = (demo / "report.html").read_text(encoding="utf-8")
    commands = html.unescape(re.search(r"<pre>(.*?)</pre>", text, re.DOTALL)[1]).splitlines()
    assert len(commands) == 3
    for command in commands[:2]:
        assert main(shlex.split(command)[1:]) == 0
    assert len(list((demo / "pictures").iterdir())) == quick().gallery
    assert len(list((demo / "explained").iterdir())) == 1
    assert str(demo) not in text
    capsys.readouterr()


def test_a_second_demonstration_replaces_the_first(demo, capsys):
    (demo / "pictures" / "kite_5.png").write_bytes(b"left over")
    assert main(["demo", "--quick", "--output", str(demo)]) == 0
    shown = capsys.readouterr().out
    assert "held-out accuracy" in shown
    assert "guessing gets 12.5%" in shown
    assert not (demo / "pictures" / "kite_5.png").exists()


def test_the_output_must_not_be_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--output", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [full(), quick()])
def test_no_scene_is_in_two_sets(settings):
    sets = [set(numbers) for numbers in scene_numbers(settings)]
    assert (
        len(set.union(*sets))
        == sum(map(len, sets))
        == settings.train_scenes + settings.choice_scenes + settings.test_scenes
    )
    assert settings.lessons[-1].window_px == settings.input_px


@pytest.mark.parametrize("window_px", [6, 24, 48])
def test_windows_hold_the_target(window_px):
    scenes = draw_scenes(quick(), range(16), shrink=True, on_progress=lambda done: None)
    for random in (False, True):
        windows = Windows(scenes, window_px, random=random)
        torch.manual_seed(0)
        for scene, (picture, label) in zip(scenes, (windows[index] for index in range(len(windows))), strict=True):
            assert picture.size == (window_px, window_px)
            assert label == scene.label
    left, top, right, bottom = scenes[0].box_xyxy
    if window_px >= 24:
        shown = np.asarray(Windows(scenes, window_px, random=False)[0][0])
        target = scenes[0].picture[top:bottom, left:right]
        views = np.lib.stride_tricks.sliding_window_view(shown, target.shape)[..., 0, :, :, :]
        assert (views == target).all((-1, -2, -3)).any()
    assert isinstance(windows[0][0], Image.Image)


def test_charts_escape_names():
    curve = render_parts([learning_curve([("<b>", [0.1, 1.0]), ("two", [0.5])], 0.5)])
    table = render_parts([confusion_table(["<i>", "b"], [[0, 2], [0, 0]])])
    assert "<b>" not in curve
    assert "&lt;b&gt;" in curve
    assert "<i>" not in table
    page = Resources()
    page.feed(curve + table)
    page.close()
    assert page.open == []
