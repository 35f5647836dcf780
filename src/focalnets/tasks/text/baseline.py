"""A bag of word n-grams with logistic regression, beside which a network must stand.

Axes: N texts, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from focalnets.data.text.labelled import LabelledTexts
from focalnets.data.text.words import WORD_PATTERN
from focalnets.errors import DataError, MissingPackageError
from focalnets.intervals import f1_scores, paired_shares
from focalnets.tasks.classify.classified import Answer
from focalnets.tasks.sequences.results import Baseline, rarer_class

__all__ = ["BAG_OF_N_GRAMS", "fit_and_predict", "measure_baseline"]

BAG_OF_N_GRAMS = "a bag of word n-grams"
"""What the method is called."""

_REGULARIZATION = 10.0
"""Inverse strength of the penalty on weights; for rows of length 1 less penalty than scikit-learn's 1 is usual."""


def measure_baseline(
    learnt_from: LabelledTexts, texts: Sequence[str], answers: Sequence[Answer], classes: int
) -> Baseline:
    """Fit the method on the texts of a training and compare it with a network on others.

    Args:
        learnt_from: What the network was trained on.
        texts: What both are measured on.
        answers: What the network says of them, with their labels.
        classes: How many there are.

    Raises:
        MissingPackageError: If scikit-learn is not installed.
        DataError: If the texts have no words.
    """
    named = fit_and_predict(learnt_from.texts, learnt_from.class_of, texts)
    labels = np.array([answer.label for answer in answers])
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, named), 1)
    *f1, macro = f1_scores(counts, resamples=1)
    assert macro is not None, "at least one text"
    rarer = rarer_class(counts)
    score = None if rarer is None else f1[rarer]
    network = np.array([answer.predicted for answer in answers]) == labels
    gap = paired_shares(network, named == labels)
    accuracy = float((named == labels).mean())
    return Baseline(
        method=BAG_OF_N_GRAMS,
        accuracy=accuracy,
        macro_f1=macro.value,
        rarer_f1=None if score is None else score.value,
        difference=gap,
        verdict=_verdict(accuracy, macro.value, gap),
    )


def fit_and_predict(texts: Sequence[str], labels: Sequence[int], others: Sequence[str]) -> np.ndarray:
    """Learn labels from texts, and name those of others: (N,) whole numbers.

    Single words and pairs of neighbours are weighted by how rare they are (TF-IDF); on them stands a logistic
    regression.

    Raises:
        MissingPackageError: If scikit-learn is not installed.
        DataError: If the texts have no words.

    Source: Wang and Manning, Baselines and bigrams, ACL 2012, for how well pairs of words do.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingPackageError(
            "A bag of word n-grams beside the network needs scikit-learn: pip install 'focalnets[text]'."
        ) from error
    vectorizer = TfidfVectorizer(token_pattern=WORD_PATTERN, ngram_range=(1, 2), sublinear_tf=True)
    model: Any = LogisticRegression(C=_REGULARIZATION, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights that a thousand steps leave unsettled serve as well
        try:
            rows = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise DataError(f"{BAG_OF_N_GRAMS} was not measured: the texts have no words.") from error
        model.fit(rows, np.asarray(labels))
        return np.asarray(model.predict(vectorizer.transform(others)))


def _verdict(accuracy: float, macro_f1: float, gap: Any) -> str:
    """Say which of the two to take; ``gap`` is the network's accuracy less that of the method."""
    shown = f"{BAG_OF_N_GRAMS} with logistic regression reaches {accuracy:.2%} (macro F1 {macro_f1:.2%})"
    points = f"{100 * abs(gap.value):.1f} points"
    interval = f"95 % interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
    if gap.high < 0:
        return (
            f"{shown}, {points} more than the network ({interval}): it is better here, take it in place of the network"
        )
    if gap.low > 0:
        return f"{shown}, {points} less than the network ({interval})"
    return f"{shown}: not told apart from the network (difference {100 * gap.value:+.1f} points, {interval})"
