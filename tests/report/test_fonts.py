"""Every letter is drawn in a font that has it; where none is installed, one sentence says so, and nothing else does."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from matplotlib.font_manager import findSystemFonts, fontManager
from PIL import Image

from focalnets.report import fonts
from focalnets.report.caption import with_caption
from focalnets.report.colours import LIGHT
from focalnets.report.figure import chart_png, new_figure, shortened, write_chart
from focalnets.report.fonts import FAMILY, Line, families_for, printable, width_in_letters
from focalnets.report.sheet import Page, Panel

HAN, ARABIC, DEVANAGARI, EMOJI = "猫と犬 한국어", "قطة كبيرة", "बिल्ली", "🦊🐈 cat"
NAMES = {"han": HAN, "arabic": ARABIC, "devanagari": DEVANAGARI, "emoji": EMOJI}
HAS_HAN = any("CJK" in name for name in fontManager.get_font_names()) or any(
    "CJK" in path for path in findSystemFonts()
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """What was found and said before belongs to other tests."""
    monkeypatch.setattr(fonts, "_missing", {})
    fonts._face_of.cache_clear()
    yield
    fonts._face_of.cache_clear()


@pytest.fixture
def no_fonts(monkeypatch):
    """As on a machine without any font but that of matplotlib."""
    monkeypatch.setattr(fonts, "_installed_faces", tuple)
    monkeypatch.setattr(fonts, "_new_faces", tuple)


def page(name):
    sheet = Page(aspect=1.0, title=name, notes=name)
    sheet.add_large([Panel(np.zeros((8, 8, 3), np.uint8), name)], [(name, 0.7)])
    return sheet.figure()


def chart(name):
    def draw(_theme):
        figure, axes = new_figure(size=(3.0, 2.0))
        axes.set_yticks([0, 1], [name, "$x"])
        axes.set_title(name, weight="bold")
        axes.plot([0, 1], label=name)
        axes.legend()
        return figure

    return draw


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_figures_never_warn(name, tmp_path, caplog, recwarn):
    with caplog.at_level(logging.WARNING):
        write_chart(chart(name), tmp_path / "chart.png")
        chart_png(chart(name), LIGHT)
        for kind in ("png", "pdf", "svg"):
            figure = page(name)
            with fonts.fitting_fonts(figure):
                figure.savefig(tmp_path / f"page.{kind}")
        with_caption(Image.new("RGB", (200, 100)), name)
    assert not recwarn.list
    assert {record.name for record in caplog.records} <= {"focalnets"}
    assert len(caplog.records) <= 1


@pytest.mark.usefixtures("no_fonts")
def test_missing_scripts_are_named_once(tmp_path, caplog, recwarn):
    with caplog.at_level(logging.WARNING):
        for name in (*NAMES.values(), *NAMES.values()):
            families_for(name)
        write_chart(chart(HAN), tmp_path / "chart.png")
        Line(EMOJI, 12)
    assert [record.name for record in caplog.records] == ["focalnets"] * 3
    first, second, third = (record.getMessage() for record in caplog.records)
    assert "(Chinese characters, Japanese, Korean)" in first
    assert "fonts-noto-cjk" in first
    assert "(Devanagari)" in second
    assert "(emoji and other signs)" in third
    assert not recwarn.list
    assert families_for(ARABIC) == (FAMILY,)  # has these itself


@pytest.mark.usefixtures("no_fonts")
def test_without_a_font_all_kinds_of_drawing_go_on(tmp_path):
    write_chart(chart(HAN + DEVANAGARI + EMOJI), tmp_path / "chart.png")
    drawn = np.asarray(with_caption(Image.new("RGB", (200, 100)), DEVANAGARI))
    assert (drawn[100:] != drawn[-1, -1]).any()


@pytest.mark.skipif(not HAS_HAN, reason="no font with Chinese characters is installed")
def test_letters_come_from_an_installed_font(caplog):
    with caplog.at_level(logging.WARNING):
        families = families_for(f"cat {HAN}")
    assert families[0] == FAMILY
    assert len(families) >= 2
    assert not caplog.records
    pictures = []
    for letters in ("猫", "犬"):
        picture = Image.new("L", (40, 40))
        Line(letters, 24).draw(picture, 4, 30, 255)
        pictures.append(np.asarray(picture))
    # Boxes would be alike.
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.skipif(not HAS_HAN, reason="no font with Chinese characters is installed")
def test_fonts_installed_after_the_list_was_made_are_found(monkeypatch):
    monkeypatch.setattr(fontManager, "ttflist", [entry for entry in fontManager.ttflist if "CJK" not in entry.name])
    for cached in (fonts._installed_faces, fonts._new_faces):
        cached.cache_clear()
    try:
        assert len(families_for("猫")) == 2
        assert any("CJK" in entry.name for entry in fontManager.ttflist)
    finally:
        for cached in (fonts._installed_faces, fonts._new_faces):
            cached.cache_clear()


def test_placeholders_and_fonts_of_formulas_are_not_taken():
    for face in (*fonts._installed_faces(), *fonts._new_faces()):
        assert not face.family.startswith(("Last Resort", "cm", "STIX"))


def test_a_damaged_font_is_passed_over(tmp_path, monkeypatch, caplog):
    file = tmp_path / "bad.ttf"
    file.write_bytes(b"\x00\x01\x00\x00 no font")
    monkeypatch.setattr(fonts, "_installed_faces", lambda: (fonts._Face("Bad", str(file), 0),))
    monkeypatch.setattr(fonts, "_new_faces", tuple)
    assert families_for("猫") == (FAMILY,)


def test_wide_letters_count_twice_and_accents_not_at_all():
    assert width_in_letters("cat") == 3
    assert width_in_letters("猫と犬") == 6
    assert width_in_letters("e\u0301") == 1
    assert shortened("猫" * 40, 24) == "猫" * 6 + "…" + "猫" * 5
    assert shortened("a" * 40, 24) == "a" * 12 + "…" + "a" * 11
    assert width_in_letters(shortened("ab猫" * 40, 25)) <= 25


def test_marks_without_a_form_are_left_out():
    assert printable("ok\u200d\u202e\ufe0f\u00ad") == "ok"
    assert printable("a\x00b\ud800") == "a\ufffdb\ufffd"


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (24, 24), (40_000, 1), (1, 40_000), (4000, 3000)])
def test_a_caption_has_a_bounded_canvas(size):
    page = with_caption(Image.new("RGB", size), "a name of some length 87.3%")
    assert max(page.size) <= 8192 + 128
    assert page.width * page.height <= 20_000_000
    assert page.width >= min(size[0], 8192)
    drawn = np.asarray(page)[-max(12, page.height - min(size[1], 8192)) :]
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 2
