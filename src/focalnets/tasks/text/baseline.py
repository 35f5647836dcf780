"""A bag of word n-grams with logistic regression, beside which a network must stand.

Axes: N texts.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from focalnets.data.text.words import WORD_PATTERN
from focalnets.errors import DataError, MissingPackageError

__all__ = ["BAG_OF_N_GRAMS", "fit_and_predict"]

BAG_OF_N_GRAMS = "a bag of word n-grams"
"""What the method is called."""

_REGULARIZATION = 10.0
"""Inverse strength of the penalty on weights; for rows of length 1 less penalty than scikit-learn's 1 is usual."""


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
            raise DataError("the texts have no words.") from error
        model.fit(rows, np.asarray(labels))
        return np.asarray(model.predict(vectorizer.transform(others)))
