"""Exact tests, and what many of them together may claim.

Axes: K strata, e.g. classes, N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import gammaln
from scipy.stats import binomtest

__all__ = ["holm", "mcnemar", "mcnemar_of", "stratified_fisher"]

Alternative = Literal["two-sided", "less", "greater"]

_ROUNDING = 1e-7
"""Outcomes whose probabilities differ by no more than this share count as equally likely, as scipy does."""


def stratified_fisher(
    successes: np.ndarray,
    trials: np.ndarray,
    all_successes: np.ndarray,
    all_trials: np.ndarray,
    alternative: Alternative = "two-sided",
) -> float:
    """Test whether successes within strata are spread evenly over a group and the rest.

    Within each stratum the number of successes of the group is hypergeometric if belonging to the group does not
    matter; the test takes their sum. For one stratum it is Fisher's exact test.

    Args:
        successes: Of the group in each stratum, (K,) whole numbers.
        trials: Images of the group in each stratum, (K,) whole numbers.
        all_successes: Of the group and the rest together, (K,) whole numbers.
        all_trials: Images of both, (K,) whole numbers.
        alternative: ``less`` asks whether the group has fewer than its share, ``greater`` whether it has more.

    Returns:
        The p-value: how likely are sums as small, or as large, as the one observed; two-sided those that are no
        likelier.

    Source: Cox, The regression analysis of binary sequences, 1958 (exact conditional test of 2 x 2 x K tables).
    """
    chances, least = np.ones(1), 0
    for number, right, everyone in zip(trials.tolist(), all_successes.tolist(), all_trials.tolist(), strict=True):
        if not number:
            continue
        first, last = max(0, number + right - everyone), min(number, right)
        chances = np.convolve(chances, _hypergeometric(np.arange(first, last + 1), number, right, everyone))
        least += first
    place = int(successes.sum()) - least
    if alternative == "two-sided":
        counted = chances <= chances[place] * (1 + _ROUNDING)
    else:
        outcomes = np.arange(len(chances))
        counted = outcomes <= place if alternative == "less" else outcomes >= place
    return min(1.0, float(chances[counted].sum() / chances.sum()))


def mcnemar(first_only: int, second_only: int) -> float:
    """Test whether two answers to the same images are right equally often, from those that only one gets right.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions or percentages, 1947;
    exact by the binomial distribution.
    """
    images = first_only + second_only
    return float(binomtest(first_only, images, 0.5).pvalue) if images else 1.0


def mcnemar_of(first: np.ndarray, second: np.ndarray) -> float:
    """Test whether two things hold equally often for the same images, booleans (N,) each; see :func:`mcnemar`."""
    return mcnemar(int((first & ~second).sum()), int((second & ~first).sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that with chance alpha at most any of the true null hypotheses falls below alpha.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(value) for value in adjusted]


def _hypergeometric(outcomes: np.ndarray, trials: int, successes: int, everyone: int) -> np.ndarray:
    """Compute how likely so many of ``trials`` are successes, where ``successes`` of everyone are."""

    def log_choose(total: np.ndarray | int, chosen: np.ndarray | int) -> np.ndarray:
        rest = np.subtract(total, chosen)
        return gammaln(np.add(total, 1)) - gammaln(np.add(chosen, 1)) - gammaln(rest + 1)

    return np.exp(
        log_choose(successes, outcomes)
        + log_choose(everyone - successes, trials - outcomes)
        - log_choose(everyone, trials)
    )
