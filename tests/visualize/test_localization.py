"""Scores of maps against masks, by hand and against slow definitions, and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from focalnets.errors import ShapeError
from focalnets.intervals import bootstrap, estimates
from focalnets.visualize import energy_inside, pixel_auc, pointing_game
from focalnets.visualize.localization.scores import AREA_FRACTIONS, centre_map, grown_mask, overlap_by_area, peak


def blob(height=6, width=8):
    mask = np.zeros((height, width), bool)
    mask[2:4, 4:6] = True
    return mask


def test_pointing_game():
    heat, mask = np.zeros((6, 8)), blob()
    heat[2, 5] = 1.0
    assert peak(heat) == (2, 5)
    assert pointing_game(heat, mask) == 1
    heat[0, 0] = 2.0
    assert pointing_game(heat, mask) == 0
    assert pointing_game(heat, grown_mask(mask, 4.4)) == 0
    assert pointing_game(heat, grown_mask(mask, 4.5)) == 1  # from (0, 0) to (2, 4)
    assert pointing_game(heat, grown_mask(np.zeros((6, 8), bool), 100)) == 0


def test_equal_maxima_count_alike():
    heat, mask = np.zeros((6, 8)), blob()
    heat[2, 4:8] = 3.0
    assert pointing_game(heat, mask) == 0.5
    both = np.stack([heat, np.ones((6, 8))])
    assert pointing_game(both, mask).tolist() == [0.5, 4 / 48]


def test_a_constant_map_gets_chance_everywhere():
    heat, mask = np.full((5, 5), 3.0), np.zeros((5, 5), bool)
    mask[2, 2] = True
    assert peak(heat) == (2, 2)
    assert pointing_game(heat, mask) == energy_inside(heat, mask) == 1 / 25
    assert pixel_auc(heat, mask) == 0.5
    assert overlap_by_area(heat, mask) == pytest.approx(np.full(len(AREA_FRACTIONS), 1 / 25))


def test_energy_is_the_share_above_the_smallest_value():
    heat, mask = np.array([[1.0, 2.0], [4.0, 1.0]]), np.array([[False, True], [False, False]])
    assert energy_inside(heat, mask) == 0.25
    assert energy_inside(heat + 7.0, mask) == 0.25
    assert energy_inside(5 * heat, mask) == 0.25


@pytest.mark.parametrize("levels", [2, 7, 1000])
def test_auc_and_overlap_are_those_of_their_definitions(levels):
    random = np.random.default_rng(levels)
    for _ in range(5):
        heat = random.integers(0, levels, (2, 3, 9, 7)).astype(np.float32)
        mask = random.random((9, 7)) < 0.3
        mask[0, 0], mask[0, 1] = True, False
        auc, shares = pixel_auc(heat, mask), (0.01, 0.2, 0.5, 1.0)
        overlap = overlap_by_area(heat, mask, shares)
        assert auc.shape == (2, 3)
        assert overlap.shape == (2, 3, 4)
        for place in np.ndindex(2, 3):
            on, beside = heat[place][mask][:, None], heat[place][~mask]
            assert auc[place] == pytest.approx(np.mean((on > beside) + 0.5 * (on == beside)))
            for number, share in enumerate(shares):
                threshold = np.sort(heat[place].ravel())[::-1][int(np.ceil(share * 63)) - 1]
                found = heat[place] >= threshold
                assert overlap[place][number] == pytest.approx((found & mask).sum() / (found | mask).sum())


def test_a_map_that_is_the_mask_is_perfect():
    mask = blob()
    heat = mask.astype(np.float32)
    assert pointing_game(heat, mask) == energy_inside(heat, mask) == pixel_auc(heat, mask) == 1
    assert pixel_auc(-heat, mask) == 0
    assert overlap_by_area(heat, mask).max() == 1


def test_masks_grow_by_round_distances():
    random = np.random.default_rng(0)
    mask = random.random((13, 11)) < 0.05
    rows, columns = np.nonzero(mask)
    for distance in (0.0, 0.9, 1.0, 1.5, 3.7):
        y, x = np.mgrid[0:13, 0:11]
        nearest = np.hypot(y[..., None] - rows, x[..., None] - columns).min(-1)
        assert (grown_mask(mask, distance) == (nearest <= distance)).all()


def test_the_blind_map_peaks_in_the_centre():
    blind = centre_map(7, 9)
    assert peak(blind) == (3, 4)
    assert blind[3, 4] == 1
    assert blind[0, 4] == pytest.approx(np.exp(-0.5 * (3 / (7 / 4)) ** 2))
    assert (blind == blind[::-1, ::-1]).all()
    assert centre_map(1, 1).shape == (1, 1)


def test_shapes_must_agree():
    for score in (pointing_game, energy_inside, pixel_auc, overlap_by_area):
        with pytest.raises(ShapeError, match="boolean mask"):
            score(np.zeros((3, 3)), np.zeros((3, 4), bool))
        with pytest.raises(ShapeError, match="boolean mask"):
            score(np.zeros((3, 3)), np.zeros((3, 3)))


def test_bootstrap_intervals_have_the_width_of_theory():
    random = np.random.default_rng(0)
    scores = random.normal(0.4, 0.1, (400, 2, 3))
    means, best = bootstrap(scores, np.zeros((400, 2, 5)), resamples=3000, seed=1)
    assert means.shape == (3000, 2, 3)
    assert (best == 0).all()
    (estimate,) = estimates(scores.mean(0)[:1, 0], means[:, :1, 0])
    assert estimate.value == scores[:, 0, 0].mean()
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * 0.1 / 20, rel=0.1)


def test_bootstrap_repeats_and_shares_its_drawings():
    random = np.random.default_rng(0)
    scores, curves = random.random((30, 1, 2)), random.random((30, 1, 4))
    scores[..., 1] = scores[..., 0] + 0.25
    first, second, other = (bootstrap(scores, curves, resamples=150, seed=seed) for seed in (5, 5, 6))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
    assert not (first[0] == other[0]).all()
    assert first[0][..., 1] - first[0][..., 0] == pytest.approx(np.full((150, 1), 0.25))
    assert (first[1] >= curves.mean(0).max() - 0.2).all()


def test_one_image_has_no_spread():
    means, best = bootstrap(np.full((1, 2, 1), 0.3), np.full((1, 2, 3), 0.6), resamples=10, seed=0)
    assert (means == 0.3).all()
    assert (best == 0.6).all()
