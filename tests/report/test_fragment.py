"""Parts for notebooks: one piece of markup that brings everything with it."""

from __future__ import annotations

import numpy as np
from tests.report.reading import ODD_NAMES, check_alone, shown

from focalnets.report.figure import new_figure
from focalnets.report.fragment import render_chart, render_fragment, render_picture, render_table
from focalnets.report.parts import Column, Fact, Facts, Row, WithInterval
from focalnets.report.words import Mark


def test_tables():
    columns = ["class", Column("confidence", "bar", ".1%"), Column("recall", "number", ".2f")]
    rows = [*([name, 0.5, None] for name in ODD_NAMES), Row(("last", 1.0, WithInterval(0.5, 0.4, 0.6)), "strong")]
    text = render_table(columns, rows, ("caption of ", Mark("<b>")))
    page = check_alone(text)
    assert all(shown(name) in page.text for name in ODD_NAMES)
    assert "caption of <b>" in page.text
    assert page.tags.count("tr") == 1 + len(ODD_NAMES) + 1
    assert page.tags.count("style") == 1
    assert "body" not in page.tags
    assert "--jp-layout-color0" in text
    assert text.startswith("<div ")


def test_pictures_and_charts():
    page = check_alone(render_picture(np.zeros((900, 1000, 3), np.uint8), "a <picture>", "its caption"))
    assert page.tags.count("img") == 1
    assert "a <picture>" in page.attributes
    assert "its caption" in page.text
    page = check_alone(render_chart(lambda theme: new_figure(size=(2.0, 1.0))[0], "a chart"))
    assert len(page.addresses) == 2
    page = check_alone(render_fragment([Facts([Fact("1", "figure")])]))
    assert "figure" in page.text
