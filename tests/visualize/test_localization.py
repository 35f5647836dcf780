"""Scores of maps against masks, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from focalnets.errors import ShapeError
from focalnets.visualize import energy_inside, pointing_game
from focalnets.visualize.localization import centre_map, peak


def test_pointing_game():
    heat, mask = np.zeros((6, 8)), np.zeros((6, 8), bool)
    heat[2, 5] = 1.0
    mask[2:4, 4:6] = True
    assert peak(heat) == (2, 5)
    assert pointing_game(heat, mask)
    heat[0, 0] = 2.0
    assert not pointing_game(heat, mask)
    assert not pointing_game(heat, mask, tolerance_px=4.4)
    assert pointing_game(heat, mask, tolerance_px=4.5)  # from (0, 0) to (2, 4)
    assert not pointing_game(heat, np.zeros((6, 8), bool), tolerance_px=100)


def test_a_constant_map_points_at_the_centre_and_gets_the_share_of_the_area():
    heat, mask = np.full((5, 5), 3.0), np.zeros((5, 5), bool)
    mask[2, 2] = True
    assert peak(heat) == (2, 2)
    assert pointing_game(heat, mask)
    assert energy_inside(heat, mask) == 1 / 25


def test_energy_is_the_share_above_the_smallest_value():
    heat, mask = np.array([[1.0, 2.0], [4.0, 1.0]]), np.array([[False, True], [False, False]])
    assert energy_inside(heat, mask) == 0.25
    assert energy_inside(heat + 7.0, mask) == 0.25
    assert energy_inside(5 * heat, mask) == 0.25


def test_the_blind_map_peaks_in_the_centre():
    blind = centre_map(7, 9)
    assert peak(blind) == (3, 4)
    assert blind[0, 0] == pytest.approx(0.0)
    assert centre_map(1, 1).shape == (1, 1)


def test_shapes_must_agree():
    with pytest.raises(ShapeError, match="boolean mask"):
        pointing_game(np.zeros((3, 3)), np.zeros((3, 4), bool))
    with pytest.raises(ShapeError, match="boolean mask"):
        energy_inside(np.zeros((3, 3)), np.zeros((3, 3)))
