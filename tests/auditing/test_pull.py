"""Pull of an answerer whose reliance on the background is known."""

from __future__ import annotations

import numpy as np
import pytest

from focalnets.auditing.statistics.pull import measure_pull

CLASSES, MISTAKES = 8, 0.1


def simulate(reliance, repetitions, pairs=400, seed=0):
    """Ask about objects before two backgrounds: with chance ``reliance`` the answer is the one of the background."""
    random = np.random.default_rng(seed)

    def answer(of_background):
        relies = random.random(pairs) < reliance
        by_mistake = (random.random(pairs) < MISTAKES) & (random.integers(0, CLASSES, pairs) == 0)
        return np.where(relies, of_background, by_mistake)

    return [measure_pull(answer(True), answer(False)) for _ in range(repetitions)]


@pytest.mark.parametrize(("reliance", "seed"), [(0.0, 1), (0.1, 2), (0.5, 3)])
def test_known_reliance_is_measured_without_bias_and_covered(reliance, seed):
    pulls = simulate(reliance, 400, seed=seed)
    assert abs(np.mean([pull.value.value for pull in pulls]) - reliance) <= 0.005
    covered = np.mean([pull.value.low <= reliance <= pull.value.high for pull in pulls])
    assert 0.92 <= covered <= 0.985  # 93 to 97 % in 10,000 repetitions; this is 400
    found = np.mean([pull.found(gap=0.05, alpha=0.05) for pull in pulls])
    assert found <= 0.05 if reliance == 0.0 else found >= 0.95


def test_a_background_that_pushes_away_is_not_found():
    given, elsewhere = np.zeros(100, bool), np.ones(100, bool)
    pull = measure_pull(given, elsewhere)
    assert pull.value.value == -1.0
    assert not pull.found(gap=0.05, alpha=0.05)
