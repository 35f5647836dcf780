"""Directional bias amplification against another implementation, and on answers of known tie."""

from __future__ import annotations

import numpy as np
import pytest

from focalnets.auditing import amplification
from focalnets.auditing.amplification import amplification_verdicts, directional_amplification, find_amplification
from focalnets.auditing.statistics.association import cross_table


def draw(random, images=600):
    attribute = random.integers(0, 2, images)
    labels = np.where(random.random(images) < 0.4, attribute, random.integers(0, 3, images))
    return attribute, labels


def test_the_figures_of_another_implementation():
    pytest.importorskip("sklearn")
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("bias_amplification.metrics.CoOccurMetrics")
    random = np.random.default_rng(0)
    attribute, labels = draw(random)
    said = np.where(random.random(600) < 0.2, attribute, labels)
    shape = (2, 3)
    true, answered = cross_table(attribute, labels, shape), cross_table(attribute, said, shape)
    one_hot = [torch.eye(count, dtype=torch.float64)[torch.from_numpy(values)] for values, count in
               ((attribute, 2), (labels, 3), (said, 3))]  # fmt: skip
    expected, _ = metrics.DBA().computeBiasAmp(*one_hot)
    assert float(directional_amplification(true, true, answered)) == pytest.approx(float(expected), abs=1e-9)
    expected, _ = metrics.DBA().computeBiasAmp(one_hot[1], one_hot[0], one_hot[0].flip(1))
    flipped = cross_table(labels, 1 - attribute, (3, 2))
    assert float(directional_amplification(true.T, true.T, flipped)) == pytest.approx(float(expected), abs=1e-9)


def measure(attribute, labels, said, **more):
    attributes = {"place": [("garden", "street")[value] for value in attribute], **more}
    return find_amplification(labels, said, attributes, training=None, gap=0.05, alpha=0.05, least=30)


def test_answers_that_follow_the_attribute_are_found_and_independent_errors_are_not():
    random = np.random.default_rng(1)
    attribute, labels = draw(random)
    (tied,) = measure(attribute, labels, np.where(random.random(600) < 0.3, attribute, labels))
    assert tied.found
    assert tied.moved.low > 0.05
    (verdict,) = amplification_verdicts([tied])
    assert verdict.kind == "found"
    (loose,) = measure(attribute, labels, np.where(random.random(600) < 0.3, random.integers(0, 3, 600), labels))
    assert not loose.found
    (exact,) = measure(attribute, labels, labels)
    assert exact.value.value == 0.0


def test_a_column_of_predicted_attributes_gives_the_other_direction():
    random = np.random.default_rng(2)
    attribute, labels = draw(random)
    predicted = np.where(labels == 0, 0, np.where(labels == 1, 1, attribute))
    columns = {"predicted_place": [("garden", "street")[value] for value in predicted]}
    found = measure(attribute, labels, labels, **columns)
    assert [each.direction for each in found] == ["A->T", "T->A"]
    assert found[1].found


def test_values_of_few_images_are_left_out():
    attribute, labels = draw(np.random.default_rng(4))
    attribute[20:] = 0
    assert measure(attribute, labels, labels) == []


def test_data_to_train_says_what_goes_together():
    attribute, labels = draw(np.random.default_rng(3))
    said = np.where(attribute == 0, 2, labels)
    names = [("garden", "street")[value] for value in attribute]
    there = labels, {"place": names}
    turned = labels, {"place": [("street", "garden")[value] for value in attribute]}
    one, other = (
        find_amplification(labels, said, {"place": names}, training=each, gap=0.05, alpha=0.05, least=30)[0].value.value
        for each in (there, turned)
    )
    assert one == pytest.approx(-other)


def test_the_bootstrap_is_the_same_however_little_is_held_at_once(monkeypatch):
    random = np.random.default_rng(5)
    attribute, labels = draw(random)
    said = np.where(random.random(600) < 0.3, attribute, labels)
    whole = measure(attribute, labels, said)
    monkeypatch.setattr(amplification, "_FIGURES_AT_ONCE", 70)
    assert measure(attribute, labels, said) == whole
