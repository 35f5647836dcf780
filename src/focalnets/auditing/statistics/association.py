"""Whether two properties of the same images go together.

Axes: R, C values of the two properties.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["chi_squared", "cramers_v", "cross_table", "permutation_p"]


def cross_table(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Count pairs of values, each given by its number from 0; (R, C) int64."""
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)


def chi_squared(table: np.ndarray) -> float:
    """Compute Pearson's chi-squared of counts (R, C) of which no row or column is empty."""
    total = table.sum()
    return float(total * ((table**2 / table.sum(1, keepdims=True) / table.sum(0)).sum() - 1))


def cramers_v(table: np.ndarray) -> float:
    """Compute Cramer's V without the bias that lets it grow with the number of values: 0 none, 1 complete.

    Args:
        table: Counts (R, C); empty rows and columns are left out.

    Source: Bergsma, A bias-correction for Cramer's V and Tschuprow's T, 2013.
    """
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    rows, columns = table.shape
    total = int(table.sum())
    if min(rows, columns) < 2 or total < 3:
        return 0.0
    freedom = (rows - 1) * (columns - 1) / (total - 1)
    association = max(0.0, chi_squared(table) / total - freedom)
    smaller = min(rows - (rows - 1) ** 2 / (total - 1), columns - (columns - 1) ** 2 / (total - 1)) - 1
    return min(1.0, math.sqrt(association / smaller)) if smaller > 0 else 0.0


def permutation_p(rows: np.ndarray, columns: np.ndarray, *, permutations: int, seed: int) -> float:
    """Test whether two properties are independent by chi-squared, shuffling one of them.

    Args:
        rows: Number from 0 of each image's value of the one, (N,).
        columns: The same of the other.
        permutations: How often to shuffle.
        seed: Of the shuffling.

    Returns:
        The p-value, never below 1 / (permutations + 1).

    Source: Phipson and Smyth, Permutation p-values should never be zero, 2010.
    """
    _, rows = np.unique(rows, return_inverse=True)
    _, columns = np.unique(columns, return_inverse=True)
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    observed = chi_squared(cross_table(rows, columns, shape)) * (1 - 1e-9)
    random = np.random.default_rng(seed)
    reached = sum(
        chi_squared(cross_table(rows, random.permutation(columns), shape)) >= observed for _ in range(permutations)
    )
    return (1 + reached) / (1 + permutations)
