"""Figures hold what they should, for pictures of any proportions, and reach the disk whole."""

from __future__ import annotations

import resource
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.visualize import explain_figure, look_inside, overlay
from focalnets.visualize.draw import draw_outline, mark_point, robust_limits, save_figure, styled


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = {"depths": (1, 1, 1), "embed_dim": 8, "focal_levels": (2, 2, 2), "focal_windows": (3, 3, 3)}
    return FocalNet(FocalNetConfig(**settings, num_classes=4))


@pytest.mark.parametrize("size", [(64, 48), (33, 127), (300, 20), (7, 9), (1, 60)])
def test_a_page_for_any_proportions(model, size, tmp_path):
    width, height = size
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    inside, probabilities = look_inside(model, torch.randn(1, 3, height, width))
    names = [("a $cost_of^names", 0.5), ("<b>\n", 0.3), ("é" * 200, 0.2)]
    figure = explain_figure(picture, inside, predictions=names, title="t" * 300, notes="n" * 600)
    # Two large panels and a scale; three stages with scales; three levels with one scale; three bars.
    assert len(figure.axes) == 3 + 6 + 4 + 3
    path = save_figure(figure, tmp_path / "page.png")
    assert [file.name for file in tmp_path.iterdir()] == ["page.png"]
    with Image.open(path) as page:
        page.load()
        assert page.width >= 800
        assert page.width * page.height < 30_000_000
    assert probabilities.shape == (1, 4)


def test_large_pictures_stay_sharp(model):
    inside, _ = look_inside(model, torch.randn(1, 3, 32, 48))
    picture = Image.new("RGB", (1200, 800))
    figure = explain_figure(picture, inside)
    drawn = figure.axes[0].get_position().width * figure.get_figwidth() * figure.dpi
    assert drawn >= 1100
    assert len(figure.axes) == 3 + 6 + 4


def test_drawing_leaves_pyplot_alone(model):
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_figure_that_cannot_be_written_leaves_nothing(model, tmp_path, monkeypatch):
    inside, _ = look_inside(model, torch.randn(1, 3, 16, 16))
    figure = explain_figure(Image.new("RGB", (16, 16)), inside)

    def fail(file, **_options):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="No space"):
        save_figure(figure, tmp_path / "page.png")
    assert list(tmp_path.iterdir()) == []


def test_an_overlay_keeps_size_and_shows_the_map():
    picture = np.full((20, 30, 3), 128, np.uint8)
    heat = np.zeros((2, 3), np.float32)
    heat[:, 2] = 1.0
    drawn = overlay(picture, heat, limits=(0, 1))
    assert drawn.shape == (20, 30, 3)
    assert drawn[10, 28].sum() > drawn[10, 1].sum() + 100
    constant = overlay(picture, np.ones((5, 5), np.float32))
    assert np.ptp(constant, axis=(0, 1)).max() == 0


def test_robust_limits_ignore_outliers():
    values = np.linspace(0, 1, 1001)
    values[0] = 1e6
    low, high = robust_limits(values)
    assert 0 < low < 0.05
    assert 0.95 < high < 1.0
    assert robust_limits(np.zeros(5)) == (-0.5, 0.5)


def test_outlines_and_marks_leave_the_object_and_the_original_alone():
    picture = np.full((20, 20, 3), 100, np.uint8)
    mask = np.zeros((10, 10), bool)
    mask[4:6, 4:6] = True
    drawn = draw_outline(picture, mask, width_px=1)
    assert (drawn[8:12, 8:12] == 100).all()
    assert (drawn[7, 8:12] == 255).all()
    assert (drawn[6, 8:12] == 0).all()
    marked = mark_point(picture, 10.0, 10.0, radius_px=4)
    assert (marked[9:11, 9:11] == 255).all()
    assert (picture == 100).all()


def test_styles_show_map_and_picture_as_they_say():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    heat = np.linspace(0, 1, 600).reshape(20, 30)
    alone = styled(picture, heat, "heatmap")
    assert np.array_equal(alone, styled(255 - picture, heat, "heatmap"))
    pair = styled(picture, heat, "side-by-side")
    assert np.array_equal(pair[:, :30], picture)
    assert np.array_equal(pair[:, 30:], overlay(picture, heat))
    assert np.array_equal(styled(picture, heat, "overlay"), overlay(picture, heat))
    with pytest.raises(ConfigError, match="style must be one of overlay, heatmap, side-by-side"):
        styled(picture, heat, "negative")


def test_side_by_side_pages_have_one_large_panel(model):
    inside, _ = look_inside(model, torch.randn(1, 3, 32, 48))
    figure = explain_figure(Image.new("RGB", (60, 40)), inside, style="side-by-side")
    assert len(figure.axes) == 2 + 6 + 4
    assert figure.axes[0].get_images()[0].get_array().shape == (40, 120, 3)


def test_figures_are_saved_as_what_their_name_says(model, tmp_path):
    inside, _ = look_inside(model, torch.randn(1, 3, 16, 16))
    figure = explain_figure(Image.new("RGB", (16, 16)), inside)
    for kind, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        assert save_figure(figure, tmp_path / f"page.{kind}").read_bytes().startswith(start)
    with pytest.raises(ConfigError, match=r"end in \.png, \.pdf, \.svg, got"):
        save_figure(figure, tmp_path / "page.gif")
    assert not (tmp_path / "page.gif").exists()


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_a_figure_on_a_full_disk_leaves_what_was_there(tmp_path, kind):
    figure, file = Figure((2, 2)), tmp_path / f"a.{kind}"
    figure.add_subplot().plot([0, 1])
    file.write_bytes(b"earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))  # Python ignores the signal: writing fails.
    try:
        with pytest.raises(OSError, match="too large"):
            save_figure(figure, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [each.name for each in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == b"earlier"
