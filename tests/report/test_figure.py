"""Charts in the colours of a theme, with sane axes also where there is little to draw."""

from __future__ import annotations

import matplotlib
import pytest
from tests.report.reading import ODD_NAMES

from focalnets.report.colours import DARK, LIGHT
from focalnets.report.figure import (
    chart_png,
    fraction_map,
    ink_on,
    log_axis,
    new_figure,
    save_chart,
    shortened,
    themed,
    whole_number_axis,
    write_chart,
)


def test_settings_of_the_caller_are_put_back(tmp_path):
    before = dict(matplotlib.rcParams)
    with themed(DARK):
        assert matplotlib.rcParams["axes.facecolor"] == DARK.card
    write_chart(lambda theme: new_figure(size=(2.0, 1.0))[0], tmp_path / "chart.png")
    assert dict(matplotlib.rcParams) == before


def test_letters_of_all_languages_and_formulas_are_drawn_as_they_are(tmp_path):
    def draw(theme):
        figure, axes = new_figure(size=(4.0, 3.0))
        axes.set_yticks(range(len(ODD_NAMES)), [shortened(name) for name in ODD_NAMES])
        axes.set_title("$not a formula")
        return figure

    write_chart(draw, tmp_path / "chart.png")
    content, width_px = chart_png(draw, DARK)
    assert content.startswith(b"\x89PNG")
    assert 200 < width_px < 600


def test_charts_are_written_whole_or_not_at_all(tmp_path):
    figure, _ = new_figure(size=(2.0, 1.0))
    save_chart(figure, tmp_path / "new" / "chart.png")
    with pytest.raises(ZeroDivisionError):
        write_chart(lambda theme: 1 / 0, tmp_path / "new" / "other.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["chart.png"]


@pytest.mark.parametrize(
    ("values", "limits"), [([1], (0.5, 1.5)), ([7, 7], (6.5, 7.5)), ([1, 2], (0.96, 2.04)), ([], (-0.04, 1.04))]
)
def test_counting_axes(values, limits):
    figure, axes = new_figure(size=(2.0, 1.0))
    whole_number_axis(axes, values)
    figure.canvas.draw()
    assert axes.get_xlim() == pytest.approx(limits)
    ticks = [tick for tick in axes.get_xticks() if limits[0] <= tick <= limits[1]]
    assert ticks == sorted(set(values)) or not values
    assert all(tick == int(tick) for tick in ticks)


def test_logarithmic_axes_have_plain_numbers():
    figure, axes = new_figure(size=(3.0, 2.0))
    axes.set_yscale("log")
    axes.set_ylim(0.02, 0.2)
    log_axis(axes.yaxis)
    figure.canvas.draw()
    assert {"0.02", "0.05", "0.1"} <= {label.get_text() for label in axes.get_yticklabels()}


def test_letters_are_seen_on_every_colour():
    for theme in (LIGHT, DARK):
        colours = fraction_map(theme)
        inks = [ink_on(colours(place)) for place in (0.0, 1.0)]
        assert inks == (["black", "white"] if theme == LIGHT else ["white", "black"])
