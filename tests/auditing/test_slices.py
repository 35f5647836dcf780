"""Clusters of errors that nobody named, and labels that other images contradict."""

from __future__ import annotations

import numpy as np
import pytest

from focalnets.auditing.answers import Answers
from focalnets.auditing.labels import find_suspicious_labels, label_verdicts
from focalnets.auditing.slices import find_slices, slice_verdicts
from focalnets.auditing.statistics.discriminant import class_probabilities

SETTINGS = {"gap": 0.05, "alpha": 0.05, "least": 20}


def draw(seed, hidden_recall, images=1200):
    """Three classes; a tenth of the images lies apart in the space of embeddings and is recognised less often."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, images)
    hidden = random.random(images) < 0.1
    embeddings = random.normal(0, 1, (images, 12)).astype(np.float32)
    embeddings[np.arange(images), labels] += 5
    embeddings[hidden, 8] += 12
    right = random.random(images) < np.where(hidden, hidden_recall, 0.9)
    return hidden, Answers(
        classes=("cat", "dog", "owl"), indices=np.arange(images), labels=labels,
        predicted=np.where(right, labels, (labels + 1) % 3), confidences=np.full(images, 0.9), embeddings=embeddings,
    )  # fmt: skip


def test_a_hidden_group_of_errors_is_found():
    hidden, answers = draw(0, 0.3)
    slices = find_slices(answers, **SETTINGS)
    found = [each for each in slices if each.found]
    assert found
    for each in found:
        assert hidden[list(each.examples)].mean() > 0.9
        assert each.recall.gap.high < 0
    (verdict, *_) = slice_verdicts(slices, images=len(answers), looked=True)
    assert verdict.kind == "found"
    assert "which nobody named" in verdict.sentence


def test_where_there_is_none_little_is_found():
    alarms = sum(any(each.found for each in find_slices(draw(seed, 0.9)[1], **SETTINGS)) for seed in range(1, 25))
    assert alarms <= 4


def test_without_embeddings_or_errors_there_are_no_slices():
    _, answers = draw(0, 0.3)
    perfect = Answers(
        classes=answers.classes, indices=answers.indices, labels=answers.labels, predicted=answers.labels,
        confidences=answers.confidences, embeddings=answers.embeddings,
    )  # fmt: skip
    assert find_slices(perfect, **SETTINGS) == []
    assert slice_verdicts([], images=10, looked=False) == []
    assert slice_verdicts([], images=10, looked=True)[0].kind == "nothing"


def test_wrong_labels_are_named_first():
    random = np.random.default_rng(3)
    truth = random.integers(0, 3, 300)
    features = random.normal(0, 1, (300, 6))
    features[np.arange(300), truth] += 6
    labels = truth.copy()
    labels[:9] = (truth[:9] + 1) % 3
    found = find_suspicious_labels(
        features, labels, ("cat", "dog", "owl"), indices=range(300), names=[str(place) for place in range(300)]
    )
    assert {each.index for each in found.listed[:9]} == set(range(9))
    assert found.suspicious <= 12
    for each in found.listed[:9]:
        assert each.likelier == ("cat", "dog", "owl")[truth[each.index]]
    (verdict,) = label_verdicts(found)
    assert verdict.kind == "note"
    assert find_suspicious_labels(features[:8], labels[:8], "abc", indices=range(8), names=["x"] * 8) is None


def test_probabilities_are_of_other_folds_and_sum_to_one():
    random = np.random.default_rng(4)
    labels = random.integers(0, 4, 400)
    noise = class_probabilities(random.normal(0, 1, (400, 30)), labels, folds=5, seed=0)
    assert noise.sum(1) == pytest.approx(1.0)
    assert abs((noise.argmax(1) == labels).mean() - 0.25) < 0.08  # seen images would be far above
    constant = class_probabilities(np.ones((400, 3)), labels, folds=5, seed=0)
    assert np.isfinite(constant).all()
