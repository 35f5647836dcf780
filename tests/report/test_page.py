"""Pages of parts: whole, alone, with every text as it is, in one style."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from tests.report.reading import ODD_NAMES, Page, check_alone, shown

from focalnets.report.colours import DARK, LIGHT
from focalnets.report.figure import new_figure
from focalnets.report.page import render_page, write_page
from focalnets.report.parts import (
    Bullets,
    Card,
    Chart,
    CodeBlock,
    Column,
    Curve,
    Details,
    Fact,
    Facts,
    Gallery,
    Matrix,
    Opening,
    Paragraph,
    Picture,
    Row,
    Section,
    Table,
    Templated,
    WithInterval,
)
from focalnets.report.templating import render_parts
from focalnets.report.words import Mark, plain_text

PIXELS = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)


def draw(theme):
    figure, axes = new_figure(size=(3.0, 2.0))
    axes.plot([0, 1], [0, 1], color=theme.blue, label="a $line$")
    axes.legend()
    return figure


def every_part(name):
    """One of each kind of part, each with the name in every place that takes text."""
    picture = Picture(PIXELS, name, [name, Mark(name, "soft")])
    marked = (name, *(Mark(name, kind) for kind in ("", "strong", "soft", "good", "bad", "code", "below")))
    columns = (Column(name), Column(name, "number", ".1%"), Column(name, "bar", ".1%"))
    rows = [
        Row((name, 0.5, 0.25)),
        Row((Mark(name), None, None), "strong"),
        Row((marked, WithInterval(0.5, 0.25, 0.75), WithInterval(2.0, 1.0, 3.0)), "soft"),
    ]
    return [
        Opening(name, marked, name, Card([picture, picture], [name])),
        Facts([Fact(name, marked)]),
        Paragraph(marked, "lead"),
        Bullets([name, marked]),
        CodeBlock(name),
        Table(columns, rows, name),
        Matrix([name, "other"], [[2, 0], [1, 3]]),
        Curve([(name, [0.1, 1.0]), ("second", [0.5])], 0.25, name, name),
        picture,
        Chart(draw, name, [name]),
        Gallery([Card([picture], [marked]), Card([picture, picture], [name], framed=True)], "small"),
        Details(name, [Paragraph(name)]),
    ]


@pytest.mark.parametrize("name", ODD_NAMES, ids=["markup", "formula", "CJK", "right-to-left", "long", "damaged"])
def test_every_part_shows_every_name_as_it_is(name):
    parts = every_part(name)
    page = check_alone(render_page(title=name, opening=parts, sections=[Section(name, parts)], footer=parts))
    # Titles, captions, marks and cells: 39 places a time, in the opening, the section and the footer.
    assert page.text.count(shown(name)) >= 3 * 39
    assert page.attributes.count(shown(name)) >= 3 * 8
    assert len(page.addresses) == 3 * (2 + 1 + 2 + 3)
    assert "49" not in page.text


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "page.html"
    sections = [Section("Shown", [Paragraph("text")]), Section("Left out", [])]
    assert write_page(path, title="A page", opening=[Opening("Heading")], sections=sections) == path
    page = Page(path.read_text(encoding="utf-8"))
    assert "Shown" in page.text
    assert "Left out" not in page.text
    assert "footer" not in page.tags
    with pytest.raises(ZeroDivisionError):
        write_page(path, title="", opening=[Chart(lambda theme: 1 / 0, "")], sections=[])
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
    assert "Shown" in path.read_text(encoding="utf-8")


def test_the_style_has_the_colours_of_both_themes_and_no_others():
    style = render_page(title="", opening=[], sections=[]).partition("<style>")[2].partition("</style>")[0]
    rest = style
    for theme in (LIGHT, DARK):
        for name in ("paper", "card", "ink", "soft", "line", "accent", "on_accent", "good", "bad", "track"):
            colour = getattr(theme, name)
            assert f"--{name.replace('_', '-')}: {colour};" in style
            rest = rest.replace(colour, "")
    assert "prefers-color-scheme: dark" in style
    assert not re.search(r"#[0-9a-f]{3,8}\b", rest)


def test_charts_come_in_two_themes_and_pictures_in_their_size():
    page = Page(render_parts([Chart(draw, "alt", ["caption"])]))
    dark, light = page.addresses
    assert dark != light
    assert page.tags.count("source") == 1
    assert "(prefers-color-scheme: dark)" in page.attributes
    ground = {}
    for theme, address in ((LIGHT, light), (DARK, dark)):
        ground[theme.name] = decoded(address).convert("RGB").getpixel((0, 0))
        assert ground[theme.name] == tuple(int(theme.card[place : place + 2], 16) for place in (1, 3, 5))
    small = Picture(Image.new("RGBA", (400, 100)), "", longest_px=40)
    assert decoded(small.address()).size == (40, 10)
    assert decoded(Picture(PIXELS, "", longest_px=4000).address()).size == (40, 30)
    assert Picture(np.zeros((1, 3000, 3), np.uint8), "", longest_px=10).image().size == (10, 1)


def decoded(address):
    import base64
    import io

    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_tables_write_numbers_as_their_columns_say():
    column = Column("recall", "bar", ".1%")
    assert column.write(0.5) == "50.0%"
    assert column.write(None) == "–"
    assert plain_text(column.write(WithInterval(0.5, 0.25, 1.0))) == "50.0%25.0% to 100.0%"
    assert [column.bar(cell) for cell in (0.5, 7.0, -1.0, float("nan"), None, "words")] == [
        0.5,
        1.0,
        0.0,
        0.0,
        0.0,
        0.0,
    ]
    assert Column("words").bar(0.5) is None
    assert Column("images", "number", ",d").write(np.int64(12345)) == "12,345"
    with pytest.raises(AssertionError, match="a cell for each column"):
        Table((column,), [Row((1.0, 2.0))])
    page = Page(render_parts([Table((Column("name"), column), [Row(("a", 0.25))], "caption")]))
    assert "width: 25.0%" in page.attributes
    assert "caption" in page.text


def test_tables_and_charts_have_a_box_in_which_they_scroll():
    many = tuple(Column(f"column {index}") for index in range(40))
    row = Row(tuple("n" * 200 for _ in many))
    parts = [
        Table(many, [row] * 50),
        Matrix(["n" * 200] * 30, [[1] * 30] * 30),
        Chart(draw, ""),
        Curve([], 0.5, "", ""),
    ]
    for part in parts:
        markup = render_parts([part])
        assert re.search(r'<figure class="box[ \w]*">\s*<div class="scroll', markup)
    assert "scroll tall" in render_parts(parts[:1])
    assert "scroll tall" not in render_parts([Table(many, [row])])


def test_rooms_bring_their_own_parts(monkeypatch):
    values = {"blocks": [], "first": 0, "scales": [{"name": "<b>", "colours": ["red"], "low": "l", "high": "h"}]}
    assert "&lt;b&gt;" in render_parts([Templated("visualize/blocks.html", values)])

    @dataclasses.dataclass(frozen=True)
    class Shout:
        template: ClassVar[str] = "report/paragraph.html"
        text: str
        kind: str = "note"

    assert render_parts([Shout("<hello>")]).strip() == '<p class="note">&lt;hello&gt;</p>'
