"""Curves of runs with many epochs, with one and with none."""

from __future__ import annotations

import pytest
from PIL import Image

from focalnets.report.colours import DARK
from focalnets.report.figure import themed
from focalnets.tasks.classify.task import Classify
from focalnets.training.curves import (
    CurvePanel,
    _runs_figure,
    curve_panels,
    curves_figure,
    draw_curves,
    draw_runs,
    run_panels,
)

CURVES = curve_panels(Classify.metric_labels)
RUN_CURVES = run_panels({"top1": Classify.metric_labels["top1"]})


def history(epochs, loss=2.0):
    return [
        {
            "epoch": epoch, "train_loss": loss / epoch, "val_loss": 1.1 * loss / epoch, "val_top1": 0.5,
            "val_top5": 0.75, "learning_rate": 1e-3, "images_per_s": 10.0,
        }
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip


def ticks_of(axes):
    low, high = axes.get_xlim()
    return [tick for tick in axes.get_xticks() if low <= tick <= high]


def test_one_epoch_has_one_tick_and_room_around_it():
    figure = curves_figure(history(1), CURVES)
    assert [axes.get_title() for axes in figure.axes] == [panel.title for panel in CURVES]
    for axes in figure.axes:
        assert ticks_of(axes) == [1]
        assert axes.get_xlim() == (0.5, 1.5)
        assert all(line.get_markersize() > 4 for line in axes.lines)
    loss, accuracy, rate = figure.axes
    assert loss.get_ylim() == pytest.approx((0.0, 1.15 * 2.2))
    assert accuracy.get_ylim() == (0.0, 1.03)
    assert rate.get_ylim() == pytest.approx((0.0, 1.15e-3))


@pytest.mark.parametrize("epochs", [2, 3, 30])
def test_epochs_are_whole_numbers(epochs):
    for axes in curves_figure(history(epochs), CURVES).axes:
        ticks = ticks_of(axes)
        assert all(tick == int(tick) for tick in ticks)
        assert len(ticks) >= min(epochs, 3)
        assert axes.get_xlim()[0] > 0.0 - epochs / 20


def test_metrics_are_an_argument_and_missing_columns_leave_no_empty_panel():
    panels = [
        CurvePanel("Mean average precision", {"map": "all", "map_small": "small"}, fraction=True),
        CurvePanel("Error [px]", {"rmse": ""}),
        CurvePanel("Never measured", {"nothing": "", "val_nan": ""}),
    ]
    rows = [{"epoch": 1, "map": None, "rmse": 3.0, "val_nan": float("nan")}, {"epoch": 2, "map": 0.25, "rmse": 2.0}]
    precision, error = curves_figure(rows, panels).axes
    assert [line.get_xydata().tolist() for line in precision.lines] == [[[2.0, 0.25]]]
    assert precision.get_legend() is None
    assert error.lines[0].get_ydata().tolist() == [3.0, 2.0]
    only = _runs_figure({"a": rows, "b": rows[:1]}, panels).axes
    assert [axes.get_title() for axes in only] == ["Mean average precision", "Error [px]"]


def test_runs_without_history_are_named_and_draw_nothing():
    figure = _runs_figure({"first": history(1), "_second $x$": history(3), "late": []}, RUN_CURVES)
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 2]
    names = [text.get_text().strip() for text in figure.axes[-1].get_legend().get_texts()]
    assert names == ["first", "_second $x$"]
    assert figure.get_supxlabel() == "without a finished epoch: late"


def test_many_runs_share_a_legend_below():
    figure = _runs_figure({f"run {index}": history(2, 1 + index) for index in range(20)}, RUN_CURVES)
    assert len(figure.legends[0].get_texts()) == 15
    assert figure.get_supxlabel() == "and 5 runs more"
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 20


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_files(tmp_path, epochs):
    draw_curves(history(epochs), tmp_path / "curves.png", CURVES)
    draw_runs({"a": history(epochs), "b": []}, tmp_path / "runs.png", RUN_CURVES)
    draw_runs({}, tmp_path / "none.png", RUN_CURVES)
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert min(picture.size) > 30
    with themed(DARK):
        assert curves_figure(history(epochs), CURVES, DARK).axes
