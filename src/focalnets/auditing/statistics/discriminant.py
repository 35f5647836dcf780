"""How far numbers that describe images tell their class, judged by images that the guess did not see.

Axes: N images, F features, K classes.
"""

from __future__ import annotations

import numpy as np

__all__ = ["class_probabilities"]

_SHRINKAGE = 0.1


def class_probabilities(features: np.ndarray, labels: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """Compute the probability of each class for each image from the images of the other folds.

    Linear discriminant analysis: every class has a mean of its own, all share one covariance, which is mixed with a
    tenth of a round one so that it can be inverted. A class that the other folds lack gets probability 0.

    Args:
        features: (N, F), finite.
        labels: Whole numbers from 0, (N,).
        folds: How many; each class is spread evenly over them.
        seed: Of the folds.

    Returns:
        (N, K) float64, K the largest label plus 1.

    Source: Fisher 1936; Friedman, Regularized discriminant analysis, 1989.
    """
    count, classes = len(labels), int(labels.max()) + 1
    scale = features.std(0)
    values = (features - features.mean(0))[:, scale > 0].astype(np.float64) / scale[scale > 0]
    random = np.random.default_rng(seed)
    fold = np.empty(count, dtype=int)
    order = np.lexsort((random.random(count), labels))
    fold[order] = np.arange(count) % folds
    probabilities = np.zeros((count, classes))
    for number in range(folds):
        held_out = fold == number
        probabilities[held_out] = _discriminate(values[~held_out], labels[~held_out], values[held_out], classes)
    return probabilities


def _discriminate(values: np.ndarray, labels: np.ndarray, others: np.ndarray, classes: int) -> np.ndarray:
    counts = np.bincount(labels, minlength=classes)
    sums = np.zeros((classes, values.shape[1]))
    np.add.at(sums, labels, values)
    means = sums / np.maximum(counts, 1)[:, None]
    within = values - means[labels]
    covariance = within.T @ within / max(1, len(values) - (counts > 0).sum())
    size = len(covariance)
    level = np.trace(covariance) / max(size, 1)
    covariance = (1 - _SHRINKAGE) * covariance + (_SHRINKAGE * level + 1e-9) * np.eye(size)
    weights = np.linalg.solve(covariance, means.T)
    logits = others @ weights - 0.5 * (means.T * weights).sum(0) + np.log(np.maximum(counts, 1) / len(values))
    logits[:, counts == 0] = -np.inf
    logits -= logits.max(1, keepdims=True)
    likelihood = np.exp(logits)
    return likelihood / likelihood.sum(1, keepdims=True)
