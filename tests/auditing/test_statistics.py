"""Intervals and tests against published figures, scipy, and draws of known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, contingency, fisher_exact

from focalnets.auditing.statistics.association import cramers_v, permutation_p
from focalnets.auditing.statistics.power import detectable_gap
from focalnets.auditing.statistics.tests import holm, mcnemar, stratified_fisher
from focalnets.intervals import difference, paired_difference


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(counts, low, high):
    found = difference(*counts)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_the_paired_interval_covers_the_truth_and_mirrors():
    random = np.random.default_rng(0)
    shares = np.array([0.6, 0.15, 0.05, 0.2])
    covered = 0
    for counts in random.multinomial(120, shares, size=1000):
        found = paired_difference(*map(int, counts))
        covered += found.low <= 0.1 <= found.high
    assert 0.93 <= covered / 1000 <= 0.98
    one, other = paired_difference(30, 9, 2, 9), paired_difference(30, 2, 9, 9)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert paired_difference(20, 0, 0, 0).value == 0.0


def test_one_stratum_is_fishers_exact_test():
    random = np.random.default_rng(1)
    for _ in range(200):
        own, others = random.integers(1, 40, 2)
        right, other_right = random.integers(0, own + 1), random.integers(0, others + 1)
        expected = fisher_exact([[right, own - right], [other_right, others - other_right]]).pvalue
        arrays = (np.array([each]) for each in (right, own, right + other_right, own + others))
        arrays = [*arrays]
        assert stratified_fisher(*arrays) == pytest.approx(expected, abs=1e-9)
        for side in ("less", "greater"):
            expected = fisher_exact([[right, own - right], [other_right, others - other_right]], side).pvalue
            assert stratified_fisher(*arrays, side) == pytest.approx(expected, abs=1e-9)


def test_classes_that_differ_are_no_difference_of_the_group():
    """Simpson's paradox: the group has most of a hard class, and is like the rest within both."""
    own, others = np.array([90, 10]), np.array([10, 90])
    right, other_right = np.array([45, 9]), np.array([5, 81])
    assert stratified_fisher(right, own, right + other_right, own + others) > 0.8
    assert fisher_exact([[54, 46], [86, 14]]).pvalue < 1e-5


def test_mcnemar_and_holm():
    assert mcnemar(9, 1) == pytest.approx(2 * binom.cdf(1, 10, 0.5))
    assert mcnemar(0, 0) == 1.0
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_cramers_v_is_free_of_bias():
    random = np.random.default_rng(2)
    raw, corrected = [], []
    for _ in range(200):
        table = np.bincount(random.integers(0, 80, 400), minlength=80).reshape(8, 10)
        raw.append(contingency.association(table, method="cramer"))
        corrected.append(cramers_v(table))
    assert np.mean(raw) > 0.12
    assert np.mean(corrected) < 0.04
    assert cramers_v(np.diag([50, 50, 50])) == pytest.approx(1.0)
    assert cramers_v(np.array([[5, 0], [7, 0]])) == 0.0


def test_permutation_p_finds_what_is_there_and_rarely_what_is_not():
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, 200)
    linked = np.where(random.random(200) < 0.4, labels, random.integers(0, 4, 200))
    assert permutation_p(linked, labels, permutations=199, seed=0) == pytest.approx(1 / 200)
    values = [permutation_p(random.integers(0, 3, 60), random.integers(0, 4, 60), permutations=99, seed=0)
              for _ in range(60)]  # fmt: skip
    assert np.mean(np.array(values) <= 0.05) <= 0.15
    assert 0.35 < np.mean(values) < 0.65


def test_the_detectable_gap_is_found_in_four_of_five():
    gap = detectable_gap(150, 0.9, 1000, alpha=0.05, least=0.0)
    random = np.random.default_rng(4)
    found = 0
    for _ in range(400):
        right, other_right = random.binomial(150, 0.9 - gap), random.binomial(1000, 0.9)
        found += fisher_exact([[right, 150 - right], [other_right, 1000 - other_right]], "less").pvalue < 0.05
    assert 0.72 <= found / 400 <= 0.88
    assert detectable_gap(3, 0.2, 100, alpha=0.001, least=0.05) is None
    assert detectable_gap(10_000, 0.9, 10_000, alpha=0.05, least=0.05) > 0.05
